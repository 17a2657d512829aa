/**
 * What the edge's worker and an agent tell each other about a sprite's URL, one JSON object a line each way, in the body of one
 * `POST .../url` and of its answer. Who opened it may connect into the sprite's network until it is told to end.
 */

/** Has the sprite awake and its service listening; it stays awake for some seconds after the answer. */
interface UrlAsk {
  ask: number;
  timeout_ms: number;
}

/** Sent now and then while there is any: requests that wait for their answer, and connections with traffic. */
interface UrlBusy {
  requests: number;
  connections: number;
}

export type UrlLine = UrlAsk | UrlBusy;

export interface UrlAnswer {
  ask: number;
  port: number;
  /** The container's first process, as `ProcessIdentity`: whose network is meant. */
  first: { pid: number; startTime: string };
}

export interface UrlRefusal {
  ask: number;
  error: string;
  message: string;
}

/** Every connection into the sprite is to be closed: `paused` keeps the lease, `ended` ends it once they are. */
export interface UrlEnd {
  end: "paused" | "ended";
  reason: string;
}

export const urlLineBytesMax = 4_096;
/** Where a sprite's web server listens when no service says where it does. */
export const urlPortDefault = 8_080;

/** The edge's maxima, each with its reason. */

import type { ResponseLimits } from "../base/http/response-reader.ts";

/** RFC 1035, without the final dot. */
export const hostNameLengthMax = 253;

/** Of a request to a sprite: what usual servers take at most. The API behind the same port takes more. */
export const requestHeadBytesMax = 64 * 1024;
/** Of a response; where its chunks end means nothing. */
export const responseLimits: ResponseLimits = {
  headMax: 128 * 1024,
  lineMax: 8 * 1024,
  trailersMax: 16 * 1024,
  interimMax: 16,
  wholeChunkMax: 0,
};

/** Open connections, of all clients and of one address (of IPv6, one /64): behind a proxy many people share one. */
export const connectionsMax = 20_000;
export const connectionsPerAddressMax = 2_000;
/** Requests and WebSockets of one sprite at once; each holds a connection inside. */
export const exchangesPerSpriteMax = 1_000;
/** Streams of one HTTP/2 connection. */
export const streamsPerConnectionMax = 128;
/** Streams that a client opens and takes back at once, in a burst and a second (CVE-2023-44487). */
export const streamResetBurst = 500;
export const streamResetRate = 50;
/** Memory of one HTTP/2 session, MiB. */
export const sessionMemoryMbMax = 8;

export const handshakeTimeoutMs = 15_000;
/** From a connection's first byte, or a kept one's next, to the end of the headers. */
export const headersTimeoutMs = 20_000;
export const keepAliveTimeoutMs = 75_000;
/** From a connection's last byte to the kernel's first question whether its client is still there. */
export const tcpKeepAliveDelayMs = 60_000;
/** A body of which nothing more comes while the sprite would take it. */
export const bodyIdleMsMax = 120_000;
/** An answer of which nothing more comes, or that its client does not take. Streams of events send something more often. */
export const exchangeIdleMsMax = 3_600_000;
/** How late the end of a time limit on headers may be noticed. */
export const headersCheckMs = 5_000;

/** A request waits so long for its sprite to run and its service to listen (issue 5); then it may come again. */
export const wakeHoldMsMax = 60_000;
export const wakeRetryAfterSeconds = 5;

/** A sprite that was made ready is so for at least this long: its agent keeps it awake for three times as long. */
export const readyForMs = 1_000;
/** How often the agent is told of traffic. */
export const busyNoteMs = 1_000;
/** Bytes in that time that make a connection's traffic more than the pings that keep it open. */
export const connectionBytesMin = 64;

/** Kept connections of one sprite, and for how long: less than usual servers keep theirs (Node: 5 s). */
export const idleConnectionsMax = 64;
export const idleConnectionMsMax = 4_000;
/** A sprite that nobody asks for is forgotten after this. */
export const trafficIdleMsMax = 60_000;

/** In which `stop` ends what is still open. */
export const stopGraceMs = 1_000;
/** From our goodbye to the client's. */
export const webSocketCloseMsMax = 2_000;
/** How long a client may go on with a body that nobody wants any more. */
export const refusedBodyMsMax = 5_000;
/** A handshake of a WebSocket is answered by then. */
export const handshakeAnswerMsMax = 120_000;

/** The plain HTTP port has short answers and nothing to upload. */
export const plainRequestTimeoutMs = 10_000;
export const plainConnectionsMax = 1_000;
export const plainTargetLengthMax = 8_000;

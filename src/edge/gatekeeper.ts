/** Who may open a sprite's URL: asked before each request, so that a change of the sprite's settings holds at once. */
import type { IncomingHttpHeaders } from "node:http";

import type { UrlSettings } from "../contract/sprite-config.ts";

/** What the gatekeeper is told of a sprite. */
export interface GuardedSprite {
  id: string;
  name: string;
  organizationSlug: string;
  urlSettings: UrlSettings;
}

export interface GateRequest {
  method: string;
  /** As the client wrote it: lower case, with the port unless it is 443. */
  host: string;
  /** Raw path and query; begins with a slash. */
  path: string;
  headers: IncomingHttpHeaders;
  /** A WebSocket handshake, of either version of HTTP. */
  isUpgrade: boolean;
  clientAddress: string;
  /** Null when there is no sprite of that name: what is answered then must not tell. */
  sprite: GuardedSprite | null;
}

/** An answer of the gatekeeper's own. */
export interface GateAnswer {
  status: number;
  headers: Readonly<Record<string, string | readonly string[]>>;
  body: string;
}

export type GateDecision =
  | {
      admitted: true;
      strip: {
        /** The header holds the platform's token, which code inside a sprite must never see. */
        authorization: boolean;
        /** Names of cookies that are ours; taken out of `Cookie`, and out of `Set-Cookie` on the way back. */
        cookies: readonly string[];
      };
    }
  | { admitted: false; answer: GateAnswer };

export interface Gatekeeper {
  admit(request: GateRequest): Promise<GateDecision> | GateDecision;
}

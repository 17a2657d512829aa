/** Requests that name a sprite's own endpoints: its agent answers them, or what stands in for it while it sleeps. */

import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { SpriteError } from "../contract/errors.ts";
import { activityOf } from "./activity.ts";
import { answerAsleep, refuseGone } from "./asleep.ts";
import { coldReadOf } from "./cold-reads.ts";
import type { Exchange } from "./exchange.ts";
import type { Organization } from "./organization.ts";
import { sendJson, type Plain } from "./plain-answer.ts";
import type { Route } from "./request-target.ts";
import { LateSplice } from "./splice/late-splice.ts";
import type { OpenSplices } from "./splice/open-splices.ts";
import { PlainSplice } from "./splice/plain-splice.ts";
import { UpgradeSplice } from "./splice/upgrade-splice.ts";
import type { SpriteRecord } from "./sprite-record.ts";
import type { Sprites } from "./sprites.ts";

type AgentRoute = Extract<Route, { kind: "agent" }>;

/** @throws SpriteError */
export async function askAgent(
  plain: Plain,
  to: { organization: Organization; route: AgentRoute; sprites: Sprites; splices: OpenSplices },
): Promise<void> {
  const { exchange, response } = plain;
  const { organization, route, sprites, splices } = to;
  const found = sprites.find(organization, route.name);
  if (exchange.method === "GET" && isOnly(route, "activity")) {
    const body = await activityOf(sprites.worker, found);
    return sendJson(response, { status: 200, body }, exchange.added);
  }
  const asleep = answerAsleep(exchange.method, route, () => sprites.isCold(found));
  if (asleep !== null) return sendJson(response, asleep, exchange.added);
  const sprite = sprites.findReady(organization, route.name);
  const read = coldReadOf(sprites, sprite, { method: exchange.method, segments: route.rest });
  const splice = new PlainSplice({
    ...plain,
    target: exchange.target.raw,
    requestId: exchange.requestId,
    added: exchange.added,
    start: (signal) => read?.start(signal) ?? start(sprites, { exchange, sprite, signal }),
    keepsChunksApart: exchange.method === "POST" && isOnly(route, "exec"),
    isBulk: route.rest.join("/") === "fs/read",
  });
  const remove = splices.add(sprite.id, splice);
  try {
    await exchange.traced("agent", {}, () => splice.run());
  } finally {
    remove();
    read?.end();
  }
}

/** @throws SpriteError */
export function prepareUpgrade(
  upgrade: { exchange: Exchange; request: IncomingMessage; socket: Socket; head: Buffer },
  to: { organization: Organization; route: Route; sprites: Sprites },
): { spriteId: string; splice: UpgradeSplice | LateSplice } {
  const { exchange, request, socket, head } = upgrade;
  const { organization, route, sprites } = to;
  if (route.kind !== "agent") throw new SpriteError("not_found", "no such endpoint");
  if (request.headers["content-length"] || request.headers["transfer-encoding"]) {
    throw new SpriteError("invalid_request", "a WebSocket handshake has no body");
  }
  const sprite = sprites.findReady(organization, route.name);
  refuseGone("GET", route, () => sprites.isCold(sprite));
  const options = {
    request,
    socket,
    head,
    target: exchange.target.raw,
    requestId: exchange.requestId,
    added: exchange.added,
    start: (signal: AbortSignal) => start(sprites, { exchange, sprite, signal }),
  };
  // Its client may only look whether there is such a thing. An operation in the address is a first message.
  const isLate =
    isOnly(route, "control") && !exchange.target.query.has("op") && sprites.isCold(sprite);
  const splice = isLate ? new LateSplice(options) : new UpgradeSplice(options);
  return { spriteId: sprite.id, splice };
}

/** A span says how long that takes, and from which state. @throws SpriteError as `Sprites.start` */
async function start(
  sprites: Sprites,
  of: { exchange: Exchange; sprite: SpriteRecord; signal: AbortSignal },
): Promise<{ socketPath: string }> {
  const { exchange, sprite, signal } = of;
  const state = sprites.worker.status(sprite.id);
  return await exchange.traced("start", { "opensprites.sprite.state": state }, () =>
    sprites.start(sprite, signal, wakeReason(exchange)),
  );
}

/** What a sprite was woken by, for people: the method, and the path below its name. */
function wakeReason({ method, target }: Exchange): string {
  return `${method} ${target.rawPath.split("/").slice(4).join("/")}`;
}

function isOnly({ rest }: AgentRoute, segment: string): boolean {
  return rest.length === 1 && rest[0] === segment;
}

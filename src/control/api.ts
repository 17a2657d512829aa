/** The JSON endpoints: from a checked caller and a route to a status and a body. Knows nothing of sockets. */

import { SpriteError } from "../contract/errors.ts";
import {
  parseSpriteListQuery,
  spriteCreateSchema,
  spriteUpdateSchema,
  tokenCreateSchema,
} from "../contract/sprite.ts";
import { validate } from "../contract/validate.ts";
import { forkSprite } from "./forks.ts";
import type { Organization } from "./organization.ts";
import type { Organizations } from "./organizations.ts";
import { handlePolicy } from "./policies.ts";
import { handleSchedule } from "./schedule/schedule-door.ts";
import type { Route } from "./request-target.ts";
import type { Sprites } from "./sprites.ts";
import { issueToken } from "./tokens.ts";

export type JsonRoute = Exclude<
  Route,
  { kind: "agent" | "tokens" | "token" | "usage" | "export" | "import" }
>;

export interface ApiRequest {
  method: string;
  route: JsonRoute;
  query: URLSearchParams;
  organization: Organization;
  /** @throws SpriteError payload_too_large, invalid_request */
  readBody(): Promise<unknown>;
  /** Aborted when the caller has gone. */
  signal: AbortSignal;
}

export interface ApiResult {
  status: number;
  /** Null sends no body. */
  body: object | null;
}

export const methodsByRoute: Readonly<Record<JsonRoute["kind"], readonly string[]>> = {
  sprites: ["GET", "HEAD", "POST"],
  sprite: ["GET", "HEAD", "PUT", "DELETE"],
  restart: ["POST"],
  sleep: ["POST"],
  upgrade: ["POST"],
  check: ["GET", "HEAD"],
  schedule: ["GET", "HEAD", "PUT", "DELETE"],
  // Without rules a network is unrestricted, which nobody should reach by a slip: no DELETE.
  network_policy: ["GET", "HEAD", "POST"],
  privileges_policy: ["GET", "HEAD", "POST", "DELETE"],
  resources_policy: ["GET", "HEAD", "POST", "DELETE"],
};

/** @throws SpriteError method_not_allowed */
export function assertMethodAllowed(method: string, allowed: readonly string[]): void {
  if (allowed.includes(method)) return;
  const allow = allowed.join(", ");
  throw new SpriteError("method_not_allowed", `allowed here: ${allow}`, { details: { allow } });
}

/** @throws SpriteError */
export async function handleApi(sprites: Sprites, request: ApiRequest): Promise<ApiResult> {
  const { route, organization, method } = request;
  assertMethodAllowed(method, methodsByRoute[route.kind]);
  switch (route.kind) {
    case "sprites":
      if (method === "POST") return createSprite(sprites, request);
      return ok(sprites.list(organization, parseSpriteListQuery(request.query)));
    case "sprite":
      return handleSprite(sprites, request, route.name);
    case "sleep":
      return ok(await sprites.sleep(organization, route.name, sleepOptions(request.query)));
    case "restart":
      return ok(await sprites.restart(organization, route.name));
    case "upgrade":
      return ok(await sprites.upgrade(organization, route.name));
    case "check":
      return ok(await sprites.check(organization, route.name));
    case "schedule":
      return await handleSchedule(sprites, { ...request, ...route });
    case "network_policy":
      return await handlePolicy(sprites, { ...request, ...route, policy: "network" });
    case "privileges_policy":
      return await handlePolicy(sprites, { ...request, ...route, policy: "privileges" });
    case "resources_policy":
      return await handlePolicy(sprites, { ...request, ...route, policy: "resources" });
  }
}

/** @throws SpriteError invalid_request */
function sleepOptions(query: URLSearchParams): { isForced: boolean } {
  const force = query.get("force") ?? "false";
  if (force !== "true" && force !== "false") {
    throw new SpriteError("invalid_request", "force: expected true or false");
  }
  return { isForced: force === "true" };
}

function ok(body: object): ApiResult {
  return { status: 200, body };
}

async function createSprite(sprites: Sprites, request: ApiRequest): Promise<ApiResult> {
  const body = validate(spriteCreateSchema, await request.readBody());
  const { organization } = request;
  const { from } = body;
  const sprite =
    from === null
      ? await sprites.create(organization, body, request.signal)
      : await forkSprite(sprites, organization, { ...body, from });
  return { status: 201, body: sprite };
}

async function handleSprite(
  sprites: Sprites,
  request: ApiRequest,
  name: string,
): Promise<ApiResult> {
  const { organization, method } = request;
  if (method === "DELETE") {
    await sprites.destroy(organization, name);
    return { status: 204, body: null };
  }
  if (method !== "PUT") return ok(sprites.get(organization, name));
  sprites.find(organization, name);
  const body = validate(spriteUpdateSchema, await request.readBody());
  return ok(await sprites.update(organization, name, body));
}

/** `POST /v1/organizations/{org}/tokens`, once the caller has shown the admin secret. @throws SpriteError */
export function mintToken(organizations: Organizations, slug: string, body: unknown): ApiResult {
  const about = validate(tokenCreateSchema, body);
  return { status: 201, body: { token: issueToken(organizations, slug, about) } };
}

/** Export and import over HTTP: bodies that are archives and not JSON. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";

import { z } from "zod";

import { archiveContentType } from "../contract/archive.ts";
import { formatIdleWindow } from "../contract/idle-window.ts";
import { spritePolicySchema } from "../contract/policy.ts";
import { spriteCreateSchema } from "../contract/sprite.ts";
import { formatTimestamp } from "../contract/timestamp.ts";
import { validate } from "../contract/validate.ts";
import type { Worker } from "../worker/worker.ts";
import { assertMethodAllowed, type ApiResult } from "./api.ts";
import type { Organization } from "./organization.ts";
import type { AddedHeaders } from "./splice/http-heads.ts";
import { newSprite, spriteSpec, type SpriteRecord } from "./sprite-record.ts";
import type { Sprites } from "./sprites.ts";

export interface TransferRequest {
  sprites: Sprites;
  worker: Worker;
  organization: Organization;
  method: string;
  name: string;
  request: IncomingMessage;
  response: ServerResponse;
  expectsContinue: boolean;
  added: AddedHeaders;
}

/**
 * `GET /v1/sprites/{name}/export`. A response that breaks off is no archive: its end is missing.
 * @throws SpriteError
 */
export async function exportSprite(transfer: TransferRequest): Promise<void> {
  const { sprites, worker, organization, method, name, response, added } = transfer;
  assertMethodAllowed(method, ["GET"]);
  const sprite = sprites.findReady(organization, name);
  const pieces = worker.export(spriteSpec(sprite), archivedSprite(sprite))[Symbol.asyncIterator]();
  // What keeps it from beginning is an answer; the head is sent with the first piece.
  const first = await pieces.next();
  try {
    response.writeHead(200, {
      ...added,
      "content-type": archiveContentType,
      "content-disposition": `attachment; filename="${name}.sprite"`,
    });
    await pipeline(async function* () {
      if (first.done !== true) yield first.value;
      yield* { [Symbol.asyncIterator]: () => pieces };
    }, response);
  } finally {
    // A client that has gone by now keeps the pipeline from asking for any piece, and so from ending this.
    await pieces.return?.();
  }
}

/** `POST /v1/sprites/{name}/import`, with the archive as its body. @throws SpriteError */
export async function importSprite(transfer: TransferRequest): Promise<ApiResult> {
  const { sprites, worker, organization, method, name } = transfer;
  assertMethodAllowed(method, ["POST"]);
  const { request, response, expectsContinue } = transfer;
  sprites.assertFree(organization, name);
  if (expectsContinue) response.writeContinue();
  const archive = await worker.openArchive(request);
  const sprite = importedSprite(name, archive.sprite);
  const body = await sprites.add(organization, sprite, () => archive.import(spriteSpec(sprite)));
  return { status: 201, body };
}

/** What goes into an archive beside the disk, in the words of the API. */
function archivedSprite(sprite: SpriteRecord): object {
  return {
    name: sprite.name,
    labels: sprite.labels,
    environment: sprite.environment,
    config: sprite.config,
    url_settings: sprite.urlSettings,
    durability: sprite.durability,
    idle_window: formatIdleWindow(sprite.idleWindow),
    policy: sprite.policy,
    image_hash: sprite.imageHash,
    created_at: formatTimestamp(sprite.createdAtMs),
  };
}

const policySchema = z.object({ policy: spritePolicySchema.exactOptional() });
const imageSchema = z.object({ image_hash: z.string().regex(/^[0-9A-Za-z-]{1,128}$/) });

/** @throws SpriteError invalid_request */
function importedSprite(name: string, archived: object): SpriteRecord {
  const body = validate(spriteCreateSchema, { ...archived, name });
  const { image_hash: imageHash } = validate(imageSchema, archived);
  // Archives of before have none. One that came with a policy must not lose it on the way.
  const { policy } = validate(policySchema, archived);
  const sprite = newSprite(body, { imageHash, source: null });
  return policy === undefined ? sprite : { ...sprite, policy };
}

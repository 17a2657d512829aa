import type { IncomingMessage, ServerResponse } from "node:http";

import { SpriteError } from "../contract/errors.ts";
import { jsonBodySizeBytesMax } from "../contract/limits.ts";
import { parseJsonBody } from "../contract/validate.ts";
import { jsonBodyTimeoutMs } from "./limits.ts";

/** @throws SpriteError payload_too_large, invalid_request */
export async function readJsonBody(
  request: IncomingMessage,
  response: ServerResponse,
  expectsContinue: boolean,
): Promise<unknown> {
  return parseJsonBody(await readBody(request, response, expectsContinue));
}

/** A form's fields, as the browser sends them. @throws SpriteError payload_too_large, invalid_request */
export async function readFormBody(
  request: IncomingMessage,
  response: ServerResponse,
  expectsContinue: boolean,
): Promise<URLSearchParams> {
  const bytes = await readBody(request, response, expectsContinue);
  return new URLSearchParams(bytes.toString("utf8"));
}

async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  expectsContinue: boolean,
): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > jsonBodySizeBytesMax) throw tooLarge();
  if (expectsContinue) response.writeContinue();
  return await readBytes(request);
}

function readBytes(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    const timer = setTimeout(() => {
      settle(() => reject(new SpriteError("invalid_request", "the body did not arrive in time")));
    }, jsonBodyTimeoutMs);
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      request.off("data", onData);
      request.off("end", onEnd);
      request.off("close", onClose);
      act();
    };
    const onData = (bytes: Buffer): void => {
      length += bytes.length;
      if (length > jsonBodySizeBytesMax) settle(() => reject(tooLarge()));
      else parts.push(bytes);
    };
    const onEnd = (): void => settle(() => resolve(Buffer.concat(parts)));
    const onClose = (): void => {
      settle(() => reject(new SpriteError("invalid_request", "the body was cut off")));
    };
    request.on("data", onData);
    request.on("end", onEnd);
    request.on("close", onClose);
    request.on("error", onClose);
  });
}

function tooLarge(): SpriteError {
  const message = `the body is larger than ${jsonBodySizeBytesMax} bytes`;
  return new SpriteError("payload_too_large", message);
}

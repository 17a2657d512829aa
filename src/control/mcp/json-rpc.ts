/** Messages of JSON-RPC 2.0, as far as the Model Context Protocol uses it. */

import { z } from "zod";

import { idLengthMax } from "./limits.ts";

export const rpcCodes = {
  parseError: -32_700,
  invalidRequest: -32_600,
  methodNotFound: -32_601,
  invalidParams: -32_602,
  internalError: -32_603,
  /** Of MCP: a header says other than the body. */
  headerMismatch: -32_020,
  unsupportedProtocolVersion: -32_022,
} as const;

export type RpcId = string | number;

export interface RpcRequest {
  id: RpcId;
  method: string;
  params: Record<string, unknown>;
}

export interface RpcAnswer {
  jsonrpc: "2.0";
  /** Null when the request's own could not be read. */
  id: RpcId | null;
  result?: object;
  error?: { code: number; message: string; data?: object };
}

/** A protocol error: what the client did wrong, or a method that nobody knows. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: number;
  /** Of the HTTP answer, when the message was the only one in its body. */
  readonly status: number;
  readonly data: object | undefined;

  constructor(code: number, message: string, options: { status?: number; data?: object } = {}) {
    super(message);
    this.code = code;
    this.status = options.status ?? 200;
    this.data = options.data;
  }
}

const idSchema = z.union([z.string().max(idLengthMax), z.number()]);
const paramsSchema = z.record(z.string(), z.unknown());
const requestSchema = z.looseObject({
  jsonrpc: z.literal("2.0"),
  id: idSchema.optional(),
  method: z.string(),
  params: paramsSchema.optional(),
});
const answerSchema = z
  .looseObject({ jsonrpc: z.literal("2.0"), id: idSchema.nullish() })
  .refine((message) => "result" in message || "error" in message);

/**
 * Null for what wants no answer: notifications, and answers to questions that this server never asks.
 * @throws RpcError invalid request
 */
export function parseMessage(message: unknown): RpcRequest | null {
  const read = requestSchema.safeParse(message);
  if (read.success) {
    const { id, method, params } = read.data;
    return id === undefined ? null : { id, method, params: params ?? {} };
  }
  if (answerSchema.safeParse(message).success) return null;
  throw new RpcError(rpcCodes.invalidRequest, "this is not a message of JSON-RPC 2.0", {
    status: 400,
  });
}

export function failure(id: RpcId | null, { code, message, data }: RpcError): RpcAnswer {
  const error = { code, message, ...(data === undefined ? {} : { data }) };
  return { jsonrpc: "2.0", id, error };
}

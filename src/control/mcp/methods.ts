/** The methods of the Model Context Protocol: from a request to its result. Knows nothing of HTTP. */

import { z } from "zod";

import { SpriteError, type ErrorBody } from "../../contract/errors.ts";
import { validate } from "../../contract/validate.ts";
import { agentTools } from "./agent-tools.ts";
import { execTool } from "./exec-tool.ts";
import { RpcError, rpcCodes, type RpcRequest } from "./json-rpc.ts";
import { listLifetimeMs, shownNameLengthMax } from "./limits.ts";
import { readResource, resourceList, resourceTemplateList } from "./resources.ts";
import { spriteTools } from "./sprite-tools.ts";
import { errorResult, jsonResult, type Tool, type ToolContext, type ToolResult } from "./tool.ts";
import { negotiatedVersion, supportedVersions } from "./versions.ts";

export interface MethodContext extends ToolContext {
  /** Of the server, such as `v1.2.3`. */
  version: string;
  /** The request speaks the revision without `initialize`, whose results say more. */
  isStateless: boolean;
  /** Logs what is our own failure, and gives what the caller is told. */
  describeError(error: unknown): ErrorBody;
}

export const tools: readonly Tool[] = [...spriteTools, execTool, ...agentTools];
const toolByName = new Map(tools.map((tool) => [tool.name, tool]));

const instructions =
  "Sprites are durable Linux computers. Make one with create_sprite, work in it with exec, save its disk with checkpoint_create before " +
  "anything risky and go back with checkpoint_restore. Programs that are to keep running are services. A sprite that nobody uses " +
  "sleeps, and wakes by itself; its disk is never lost.";

/** @throws RpcError */
export async function callMethod(context: MethodContext, request: RpcRequest): Promise<object> {
  const { method, params } = request;
  switch (method) {
    case "initialize":
      return { protocolVersion: negotiatedVersion(params["protocolVersion"]), ...about(context) };
    case "server/discover":
      return cacheable(context, { supportedVersions, ...about(context) });
    case "ping":
      return completed(context, {});
    case "tools/list":
      return cacheable(context, { tools: describeTools() });
    case "tools/call":
      return completed(context, await callTool(context, params));
    case "resources/list":
      return cacheable(context, resourceList);
    case "resources/templates/list":
      return cacheable(context, resourceTemplateList);
    case "resources/read": {
      const { sprites, organization } = context;
      const read = await readResource(sprites, organization, params["uri"]);
      return completed(context, context.isStateless ? { ...read, ...unkept } : read);
    }
    default: {
      const status = context.isStateless ? 404 : 200;
      const message = `unknown method: ${method.slice(0, shownNameLengthMax)}`;
      throw new RpcError(rpcCodes.methodNotFound, message, { status });
    }
  }
}

/** Of a result that is another one the next moment. */
const unkept = { ttlMs: 0, cacheScope: "private" } as const;

function about({ version, isStateless }: MethodContext): object {
  return {
    capabilities: { tools: {}, resources: {} },
    instructions,
    ...(isStateless ? {} : { serverInfo: serverInfo(version) }),
  };
}

function serverInfo(version: string): object {
  return { name: "opensprites", title: "OpenSprites", version: version.replace(/^v/, "") };
}

function completed({ isStateless, version }: MethodContext, result: object): object {
  if (!isStateless) return result;
  const _meta = { "io.modelcontextprotocol/serverInfo": serverInfo(version) };
  return { resultType: "complete", ...result, _meta };
}

function cacheable(context: MethodContext, result: object): object {
  if (!context.isStateless) return result;
  return completed(context, { ...result, ttlMs: listLifetimeMs, cacheScope: "private" });
}

let described: object[] | null = null;

function describeTools(): object[] {
  described ??= tools.map(({ name, title, description, input, isReadOnly, meta }) => {
    const { $schema: _, ...inputSchema } = z.toJSONSchema(input, { io: "input" });
    const annotations = isReadOnly
      ? { readOnlyHint: true }
      : { readOnlyHint: false, destructiveHint: true };
    const more = meta === undefined ? {} : { _meta: meta };
    return {
      name,
      title,
      description,
      inputSchema,
      annotations: { title, ...annotations },
      ...more,
    };
  });
  return described;
}

/** What a model can mend is the tool's result; a tool that is none is the client's mistake. @throws RpcError */
async function callTool(
  context: MethodContext,
  params: Record<string, unknown>,
): Promise<ToolResult> {
  const { name, arguments: input = {} } = params;
  const tool = typeof name === "string" ? toolByName.get(name) : undefined;
  if (tool === undefined) {
    const shown = String(name).slice(0, shownNameLengthMax);
    throw new RpcError(rpcCodes.invalidParams, `unknown tool: ${shown}`);
  }
  try {
    return await tool.run(context, validate(tool.input, withoutNulls(input)));
  } catch (error) {
    // That somebody left, or that a command took long, is no failure of ours.
    if (error instanceof SpriteError && (error.status < 500 || context.signal.aborted)) {
      return errorResult(jsonResult(bodyOf(error)));
    }
    return errorResult(jsonResult(context.describeError(error)));
  }
}

function bodyOf(error: SpriteError): ErrorBody {
  return { ...error.details, error: error.code, message: error.message };
}

/** Some models say null for what they leave out. */
function withoutNulls(input: unknown): unknown {
  if (typeof input !== "object" || input === null || Array.isArray(input)) return input;
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== null));
}

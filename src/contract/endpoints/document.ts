/** The OpenAPI 3.1 document, made of the descriptions and of the schemas that the server validates with. */
import { z } from "zod";

import { statusOf, type ErrorCode } from "../errors.ts";
import { endpointGroups } from "./all.ts";
import { named, namedSchemas, type Content, type Endpoint, type Parameter } from "./endpoint.ts";
import { watchContent } from "./sprites.ts";

type Json = Record<string, unknown>;

named(
  "Error",
  z.looseObject({
    error: z.string().describe("a stable code"),
    message: z.string(),
    limit: z.int().exactOptional(),
    window_seconds: z.int().exactOptional(),
    retry_after_seconds: z.int().exactOptional(),
    current_count: z.int().exactOptional(),
  }),
);

export function openApiDocument(options: { version: string }): Json {
  const paths: Record<string, Json> = {};
  for (const { tag, endpoints } of endpointGroups) {
    for (const endpoint of endpoints) addOperation(paths, tag, endpoint);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "OpenSprites",
      version: options.version.replace(/^v/, ""),
      description:
        "Durable Linux computers for coding agents. Paths with `x-inside` are also served to programs inside a sprite, on the Unix " +
        "socket /.sprite/api.sock, under the path it gives and without a token.",
    },
    servers: [{ url: "/" }],
    security: [{ token: [] }],
    tags: endpointGroups.map(({ tag }) => ({ name: tag })),
    paths,
    components: {
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "A token of an organization." },
        admin: {
          type: "apiKey",
          in: "header",
          name: "Authorization",
          description: "`FlyV1 <admin secret>`: the server's own.",
        },
      },
      schemas: components(),
    },
  };
}

function addOperation(paths: Record<string, Json>, tag: string, endpoint: Endpoint): void {
  const path = endpoint.inside === "only" ? insidePath(endpoint.path) : endpoint.path;
  const operations = (paths[path] ??= {});
  const isSocket = endpoint.method === "WS";
  const method = isSocket ? "get" : endpoint.method.toLowerCase();
  const described = operation(tag, endpoint);
  // OpenAPI has one GET for each path: a WebSocket beside a plain one is told in it.
  if (isSocket && operations[method] !== undefined) {
    (operations[method] as Json)["x-websocket"] = described;
  } else if (method === "get" && !isSocket && operations[method] !== undefined) {
    operations[method] = { ...described, "x-websocket": operations[method] };
  } else {
    operations[method] = described;
  }
}

function operation(tag: string, endpoint: Endpoint): Json {
  const { summary, text, method, auth, query, body, path } = endpoint;
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
  const inPath = endpoint.inside === "only" ? names.slice(1) : names;
  return {
    tags: [tag],
    summary,
    operationId: operationId(endpoint),
    ...(text === undefined ? {} : { description: text }),
    ...(auth === "none" || endpoint.inside === "only" ? { security: [] } : {}),
    ...(auth === "admin" ? { security: [{ admin: [] }] } : {}),
    ...(endpoint.inside === undefined ? {} : { "x-inside": insidePath(path) }),
    ...(method === "WS" ? { "x-protocol": "websocket" } : {}),
    parameters: [...inPath.map(pathParameter), ...(query ?? []).map(queryParameter)],
    ...(body === undefined
      ? {}
      : { requestBody: { required: body.isOptional !== true, content: content(body) } }),
    responses: { ...answers(endpoint), ...errorAnswers(endpoint) },
  };
}

/** Such as `postSpritesRestart`: method and the path's fixed words. */
function operationId({ method, path }: Endpoint): string {
  const words = path
    .replace(/^\/v1/, "")
    .split(/[/.-]/)
    .filter((part) => part !== "")
    .map((part) => (part.startsWith("{") ? `By-${part.slice(1, -1)}` : part))
    .flatMap((part) => part.split("-"));
  const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);
  return method.toLowerCase() + words.map(capital).join("");
}

function insidePath(path: string): string {
  return path.replace("/v1/sprites/{name}/", "/v1/");
}

function pathParameter(name: string): Json {
  return { name, in: "path", required: true, schema: { type: "string" } };
}

function queryParameter({ name, text, schema, repeats, required }: Parameter): Json {
  const single = schemaOf(schema);
  return {
    name,
    in: "query",
    description: text,
    required: required ?? false,
    schema: repeats === true ? { type: "array", items: single } : single,
  };
}

function answers(endpoint: Endpoint): Json {
  const isWatched = endpoint.method === "GET" && endpoint.path === "/v1/sprites";
  return Object.fromEntries(
    Object.entries(endpoint.answers).map(([status, answer]) => [
      status,
      {
        description: answer?.text ?? (answer === null ? "Done." : "The answer."),
        ...(answer === null ? {} : { content: content(answer) }),
        ...(isWatched && answer !== null
          ? { content: { ...content(answer), ...content(watchContent) } }
          : {}),
      },
    ]),
  );
}

/** The codes that an endpoint may answer with. */
export function errorCodesOf(endpoint: Endpoint): ReadonlySet<ErrorCode> {
  const hasName = endpoint.path.includes("{");
  return new Set<ErrorCode>([
    ...(endpoint.auth === "none" || endpoint.inside === "only" ? [] : ["unauthorized" as const]),
    ...(endpoint.body !== undefined || endpoint.query !== undefined || hasName
      ? ["invalid_request" as const]
      : []),
    ...(endpoint.body === undefined ? [] : ["payload_too_large" as const]),
    ...(hasName ? ["not_found" as const] : []),
    ...(endpoint.auth === "none" ? [] : ["internal_error" as const]),
    ...(endpoint.errors ?? []),
  ]);
}

/** One answer for each status, which names the codes that come with it. */
function errorAnswers(endpoint: Endpoint): Json {
  const byStatus = Map.groupBy(errorCodesOf(endpoint), (code) => statusOf(code));
  return Object.fromEntries(
    [...byStatus].map(([status, sharing]) => [
      String(status),
      {
        description: `\`${sharing.join("`, `")}\``,
        content: { "application/json": { schema: schemaRef("Error") } },
      },
    ]),
  );
}

function content({ type, schema, example }: Content): Json {
  return {
    [type]: {
      ...(schema === undefined ? {} : { schema: schemaOf(schema) }),
      ...(example === undefined ? {} : { example }),
    },
  };
}

function schemaRef(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

function schemaOf(schema: z.ZodType): Json {
  const name = namedSchemas().get(schema);
  return name === undefined ? convert(schema) : schemaRef(name);
}

function components(): Json {
  const entries = [...namedSchemas()].map(([schema, name]) => [name, convert(schema as z.ZodType)]);
  return Object.fromEntries(entries) as Json;
}

/** What a client may send, and what it gets: readers of both ignore fields that they do not know. */
function convert(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io: "input",
    override({ zodSchema, jsonSchema, path }) {
      const name = namedSchemas().get(zodSchema);
      if (name === undefined || path.length === 0) return;
      for (const key of Object.keys(jsonSchema)) delete jsonSchema[key as keyof typeof jsonSchema];
      Object.assign(jsonSchema, schemaRef(name));
    },
  });
  return rest;
}

/** The OpenAPI document and the server have the same endpoints, and the same idea of what goes in. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { execRoutes } from "../agent/api/exec-http.ts";
import { execUpgradeRoutes } from "../agent/api/exec-socket.ts";
import { routeTables } from "../agent/routes.ts";
import { SpriteError } from "../contract/errors.ts";
import { endpointGroups } from "../contract/endpoints/all.ts";
import { openApiDocument } from "../contract/endpoints/document.ts";
import type { Content, Endpoint } from "../contract/endpoints/endpoint.ts";
import { methodsByRoute } from "../control/api.ts";
import { parseRoute, type Route } from "../control/request-target.ts";

const endpoints = endpointGroups.flatMap((group) => group.endpoints);

/** Anything that a route's constructor might look at. The tables are only read: nothing is called. */
const anything: never = new Proxy(() => anything, { get: () => anything }) as never;

const tables = routeTables(anything);
const agentTables = {
  everywhere: tables.everywhere,
  outside: [...tables.outside, ...execRoutes(anything)],
  upgrades: [...tables.upgrades(anything), ...execUpgradeRoutes(anything)],
};

/** `GET /v1/sprites/{}/checkpoints/{}`: what a parameter is called is nobody's concern. */
function line(method: string, pattern: readonly string[]): string {
  const segments = pattern.map((segment) => (segment.startsWith(":") ? "{}" : segment));
  return `${method} /v1/sprites/{}/${segments.join("/")}`;
}

function lineOf({ method, path }: Endpoint): string {
  return `${method} ${path.replace(/\{\w+\}/g, "{}")}`;
}

/** Where each kind of route lies. The compiler asks for a new kind's place. */
const placeOf: Readonly<
  Record<Exclude<Route["kind"], "agent">, { path: string; methods: readonly string[] }>
> = {
  usage: { path: "/v1/usage", methods: ["GET", "HEAD"] },
  tokens: { path: "/v1/organizations/{}/tokens", methods: ["GET", "POST"] },
  token: { path: "/v1/organizations/{}/tokens/{}", methods: ["DELETE"] },
  sprites: { path: "/v1/sprites", methods: methodsByRoute.sprites },
  sprite: { path: "/v1/sprites/{}", methods: methodsByRoute.sprite },
  restart: { path: "/v1/sprites/{}/restart", methods: methodsByRoute.restart },
  sleep: { path: "/v1/sprites/{}/sleep", methods: methodsByRoute.sleep },
  upgrade: { path: "/v1/sprites/{}/upgrade", methods: methodsByRoute.upgrade },
  check: { path: "/v1/sprites/{}/check", methods: methodsByRoute.check },
  schedule: { path: "/v1/sprites/{}/schedule", methods: methodsByRoute.schedule },
  network_policy: {
    path: "/v1/sprites/{}/policy/network",
    methods: methodsByRoute.network_policy,
  },
  privileges_policy: {
    path: "/v1/sprites/{}/policy/privileges",
    methods: methodsByRoute.privileges_policy,
  },
  resources_policy: {
    path: "/v1/sprites/{}/policy/resources",
    methods: methodsByRoute.resources_policy,
  },
  export: { path: "/v1/sprites/{}/export", methods: ["GET"] },
  import: { path: "/v1/sprites/{}/import", methods: ["POST"] },
};

function serversLines(): { agent: string[]; inside: string[]; control: string[] } {
  const { everywhere, outside, upgrades } = agentTables;
  const inside = everywhere.map((route) => line(route.method, route.pattern));
  return {
    inside,
    agent: [
      ...inside,
      ...outside.map((route) => line(route.method, route.pattern)),
      ...upgrades.map((route) => line("WS", route.pattern)),
    ],
    control: Object.values(placeOf).flatMap(({ path, methods }) =>
      // A HEAD is answered like its GET.
      methods.filter((method) => method !== "HEAD").map((method) => `${method} ${path}`),
    ),
  };
}

const advice = "describe it in src/contract/endpoints/ (docs/howto/add-an-endpoint.md)";

describe("the server and its OpenAPI document", () => {
  const server = serversLines();
  const described = endpoints.map(lineOf);

  test("every endpoint is in the document", () => {
    const missing = [...server.agent, ...server.control].filter((one) => !described.includes(one));
    assert.deepEqual(missing, [], advice);
  });

  test("everything in the document is an endpoint", () => {
    const known = new Set([...server.agent, ...server.control]);
    const extra = endpoints.filter(({ path }) => path.startsWith("/v1/")).map(lineOf);
    assert.deepEqual(
      extra.filter((one) => !known.has(one)),
      [],
    );
  });

  test("the document says what programs inside reach", () => {
    const inside = endpoints.filter((endpoint) => endpoint.inside !== undefined).map(lineOf);
    assert.deepEqual(inside.toSorted(), server.inside.toSorted(), advice);
  });

  test("the front door finds its own endpoints by these paths, and leaves the others to agents", () => {
    for (const one of server.control) {
      const path = one.split(" ")[1]?.replaceAll("{}", "box") ?? "";
      const { kind } = parseRoute(path);
      assert.notEqual(kind, "agent", one);
      assert.equal(
        placeOf[kind as Exclude<Route["kind"], "agent">].path.replaceAll("{}", "box"),
        path,
      );
    }
    for (const one of server.agent) {
      const path = one.split(" ")[1]?.replaceAll("{}", "box") ?? "";
      assert.equal(parseRoute(path).kind, "agent", one);
    }
  });

  test("no endpoint is described twice", () => {
    assert.deepEqual(described, [...new Set(described)]);
  });
});

function contents(endpoint: Endpoint): Content[] {
  const { body, answers } = endpoint;
  return [body, ...Object.values(answers)].filter(
    (content) => content !== null && content !== undefined,
  );
}

describe("the document", () => {
  test("every example is one of its schema", () => {
    for (const endpoint of endpoints) {
      for (const { schema, example } of contents(endpoint)) {
        if (example === undefined) continue;
        assert.ok(schema, `${lineOf(endpoint)} has a schema beside its example`);
        const { success, error } = schema.safeParse(example);
        assert.ok(success, `${lineOf(endpoint)}: ${error?.message}`);
      }
    }
  });

  test("every body of JSON has an example", () => {
    const bare = endpoints
      .filter(({ body }) => body?.type === "application/json" && body.example === undefined)
      .map(lineOf);
    assert.deepEqual(bare, []);
  });

  test("it is JSON whose references lead somewhere", () => {
    const text = JSON.stringify(openApiDocument({ version: "v1.2.3" }));
    const document = JSON.parse(text) as {
      info: { version: string };
      components: { schemas: object };
    };
    assert.equal(document.info.version, "1.2.3");
    const schemas = Object.keys(document.components.schemas);
    for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)) {
      assert.ok(schemas.includes(name ?? ""), name);
    }
    // Ids of operations are what generated clients call their methods.
    const ids = [...text.matchAll(/"operationId":"(\w+)"/g)].map((match) => match[1]);
    assert.deepEqual(ids, [...new Set(ids)]);
  });
});

test("nobody outside reaches what a worker asks of its agent", () => {
  for (const { pattern } of tables.forWorker) {
    const path = `/v1/sprites/box/${pattern.join("/")}`;
    let kind = "not_found";
    try {
      ({ kind } = parseRoute(path));
    } catch (error) {
      assert.ok(error instanceof SpriteError);
    }
    assert.notEqual(kind, "agent", path);
  }
});

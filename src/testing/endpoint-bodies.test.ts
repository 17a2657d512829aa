/**
 * The agent reads bodies by hand, and the document has schemas of them. Whatever the one takes the other takes too, and
 * whatever it refuses: on values that are mostly nearly right.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import fc from "fast-check";
import type { z } from "zod";

import { parseCheckpointCreate } from "../contract/checkpoint.ts";
import { endpointGroups } from "../contract/endpoints/all.ts";
import { SpriteError } from "../contract/errors.ts";
import { parseServiceDefinition, parseServiceSignal } from "../contract/service.ts";
import { parseNamedTask, parseTaskTerm } from "../contract/task.ts";

interface Pair {
  /** Method and path below the sprite. */
  name: string;
  parse: (body: unknown) => unknown;
  /** Values that fit, by field: the mutations begin with them. */
  fields: Record<string, fc.Arbitrary<unknown>>;
}

const expire = fc.oneof(
  fc.integer({ min: -2, max: 3700 }),
  fc.constantFrom("30m", "1h", "61m", "0s", "", "1h0m0s", "3600", "-1s", "soon", 1.5, null),
);

const pairs: readonly Pair[] = [
  {
    name: "POST checkpoint",
    parse: parseCheckpointCreate,
    fields: { comment: fc.oneof(fc.string(), fc.constantFrom("x".repeat(4096), "x".repeat(4097))) },
  },
  {
    name: "POST tasks",
    parse: parseNamedTask,
    fields: {
      name: fc.oneof(
        fc.string({ minLength: 1 }),
        fc.string({ unit: "binary" }),
        fc.constantFrom(
          "a",
          "build 7/9",
          "..",
          ".",
          "",
          "x".repeat(128),
          "x".repeat(129),
          "\ud800",
        ),
      ),
      expire,
    },
  },
  { name: "PUT tasks/{task}", parse: parseTaskTerm, fields: { expire } },
  {
    name: "PUT services/{service}",
    parse: (body) => parseServiceDefinition("web", body),
    fields: {
      cmd: fc.oneof(fc.string({ minLength: 1 }), fc.constantFrom("", "\0")),
      args: fc.array(fc.string(), { maxLength: 4 }),
      env: fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("A", "B=")), fc.string(), {
        maxKeys: 3,
      }),
      dir: fc.oneof(fc.string(), fc.constantFrom("", "/app", null)),
      needs: fc.array(fc.constantFrom("db", "a b", "", "-x", "x".repeat(200)), { maxLength: 2 }),
      http_port: fc.oneof(fc.integer({ min: -1, max: 65_536 }), fc.constantFrom(null, "80", 1.5)),
    },
  },
  {
    name: "POST services/signal",
    parse: parseServiceSignal,
    fields: {
      name: fc.constantFrom("web", "db", "a.b", "a b", ""),
      signal: fc.constantFrom("TERM", "SIGHUP", "hup", 9, 0, -1, 99, "NOPE", ""),
    },
  },
];

function schemaOf(name: string): z.ZodType {
  const [method, path] = name.split(" ");
  const endpoints = endpointGroups.flatMap((group) => group.endpoints);
  const found = endpoints.find(
    (one) => one.method === method && one.path === `/v1/sprites/{name}/${path}`,
  );
  const schema = found?.body?.schema;
  assert.ok(schema, name);
  return schema;
}

/** Objects of these fields, some missing, some replaced by anything; and now and then something else. */
function nearly(fields: Pair["fields"]): fc.Arbitrary<unknown> {
  const loose = Object.entries(fields).map(([name, value]) => {
    const other = fc.jsonValue({ maxDepth: 2 });
    return [
      name,
      fc.oneof({ weight: 6, arbitrary: value }, { weight: 1, arbitrary: other }),
    ] as const;
  });
  const record = fc.record(Object.fromEntries(loose), { requiredKeys: [] });
  return fc.oneof({ weight: 9, arbitrary: record }, { weight: 1, arbitrary: fc.jsonValue() });
}

function accepts(parse: Pair["parse"], body: unknown): boolean {
  try {
    parse(body);
    return true;
  } catch (error) {
    assert.ok(error instanceof SpriteError && error.code === "invalid_request", String(error));
    assert.ok(error.message.length < 500);
    return false;
  }
}

describe("bodies that the agent reads by hand are as the document says", () => {
  for (const { name, parse, fields } of pairs) {
    test(name, () => {
      const schema = schemaOf(name);
      const seen = { taken: 0, refused: 0 };
      fc.assert(
        fc.property(nearly(fields), (body) => {
          const taken = accepts(parse, body);
          seen[taken ? "taken" : "refused"] += 1;
          assert.equal(schema.safeParse(body).success, taken, JSON.stringify(body));
        }),
        { numRuns: 1000, seed: 20_261_124 },
      );
      assert.ok(seen.taken > 20 && seen.refused > 20, JSON.stringify(seen));
    });
  }
});

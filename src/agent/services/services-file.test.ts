import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";

import { parseServiceDefinition } from "../../contract/service.ts";
import { servicesMax } from "./limits.ts";
import { decodeServices, encodeServices, type KeptService } from "./services-file.ts";

function kept(name: string, fields: object = {}, isStopped = false): KeptService {
  return { definition: parseServiceDefinition(name, { cmd: "x", ...fields }), isStopped };
}

test("what is written is read", () => {
  const services = [
    kept("db", { env: { A: "1" }, dir: "/tmp" }),
    kept("web", { args: ["a b", "'"], needs: ["db"], http_port: 8080 }, true),
  ];
  assert.deepEqual(decodeServices(encodeServices(services)), { services, problems: [] });
});

test("a file that is none is a problem, never an error", () => {
  for (const text of ["", "{", "[]", "7", '{"version":2,"services":[]}', '{"version":1}']) {
    const { services, problems } = decodeServices(text);
    assert.deepEqual(services, []);
    assert.equal(problems.length, 1, text);
  }
});

test("of a damaged file the rest is used", () => {
  const entries = [
    { name: "good", cmd: "x" },
    { name: "../../etc/passwd", cmd: "x" },
    { name: "empty", cmd: "" },
    { name: "good", cmd: "again" },
    { name: "one", cmd: "x", http_port: 80 },
    { name: "two", cmd: "x", http_port: 81 },
    { name: "self", cmd: "x", needs: ["self"] },
    { name: "left", cmd: "x", needs: ["right", "good"] },
    { name: "right", cmd: "x", needs: ["left"] },
    { name: "lonely", cmd: "x", needs: ["nobody", "good"] },
    null,
  ];
  const { services, problems } = decodeServices(JSON.stringify({ version: 1, services: entries }));
  assert.deepEqual(
    services.map(({ definition: { name, needs } }) => [name, ...needs]),
    [["good"], ["one"], ["self"], ["left"], ["right", "left"], ["lonely", "good"]],
  );
  assert.equal(problems.length, 8);
});

test("too many or too large services are refused", () => {
  const many = Array.from({ length: servicesMax + 1 }, (_, index) => kept(`s${index}`));
  assert.throws(() => encodeServices(many), /too many or too large/);
  const large = Array.from({ length: 20 }, (_, index) =>
    kept(`s${index}`, { args: ["x".repeat(60_000)] }),
  );
  assert.throws(() => encodeServices(large), /too many or too large/);
});

test("no content of the file throws", () => {
  const entry = fc.record(
    {
      name: fc.oneof(fc.string(), fc.constantFrom("a", "b", "c"), fc.anything()),
      cmd: fc.oneof(fc.string(), fc.anything()),
      args: fc.anything(),
      env: fc.anything(),
      needs: fc.oneof(fc.array(fc.constantFrom("a", "b", "c")), fc.anything()),
      http_port: fc.anything(),
      stopped: fc.anything(),
    },
    { requiredKeys: [] },
  );
  const file = fc.record({
    version: fc.constant(1),
    services: fc.array(fc.oneof(entry, fc.anything())),
  });
  fc.assert(
    fc.property(file, (content) => {
      const text = JSON.stringify(content);
      const { services } = decodeServices(text);
      // What is used can be kept, and is then whole.
      assert.deepEqual(decodeServices(encodeServices(services)).problems, []);
    }),
    { numRuns: 300, seed: 1 },
  );
});

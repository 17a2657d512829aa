import assert from "node:assert/strict";
import test from "node:test";

import { findRoute, pathSegments, type Route } from "./route.ts";

const noAnswer = () => {};
const routes: Route[] = [
  { method: "GET", pattern: ["exec"], handle: noAnswer },
  { method: "POST", pattern: ["exec", ":session", "kill"], handle: noAnswer },
  { method: "DELETE", pattern: ["services", ":name"], handle: noAnswer },
  { method: "GET", pattern: ["services", ":name"], handle: noAnswer },
];

test("a path is split before it is decoded", () => {
  assert.deepEqual(pathSegments("/v1/sprites/a%2Fb/services/x%2Fy", "public"), ["services", "x/y"]);
  assert.deepEqual(pathSegments("/v1/services/..%2f", "inside"), ["services", "../"]);
  assert.deepEqual(pathSegments("/v1/sprites/s/exec/", "public"), ["exec"]);
});

test("paths of another prefix are none", () => {
  for (const path of ["/", "", "/v2/sprites/s/exec", "/v1/sprites", "/v1/other/s/exec", "v1"]) {
    assert.equal(pathSegments(path, "public"), null, path);
  }
  assert.throws(() => pathSegments("/v1/sprites/%zz/exec", "public"), { code: "invalid_request" });
  assert.throws(() => pathSegments("/v1/sprites/%ff/exec", "public"), { code: "invalid_request" });
});

test("a route is found by method and pattern, with the names' values", () => {
  const found = findRoute(routes, "POST", ["exec", "12", "kill"]);
  assert.ok(found.kind === "found");
  assert.deepEqual(found.params, { session: "12" });
  assert.equal(findRoute(routes, "HEAD", ["exec"]).kind, "found");
});

test("a wrong method is told from an unknown path", () => {
  assert.deepEqual(findRoute(routes, "PUT", ["services", "x"]), {
    kind: "wrong_method",
    allowed: ["DELETE", "GET"],
  });
  assert.deepEqual(findRoute(routes, "GET", ["nothing"]), { kind: "none" });
});

/** What starts a sprite that is cold, and what lets one that is warm go on, endpoint by endpoint, as the documentation says. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";

import { execRoutes } from "../agent/api/exec-http.ts";
import { findRoute, type Route } from "../agent/api/route.ts";
import { routeTables } from "../agent/routes.ts";
import { endpointGroups } from "../contract/endpoints/all.ts";
import type { Endpoint } from "../contract/endpoints/endpoint.ts";
import { startHarness, type Harness } from "../control/testing/harness.ts";
import { readUntil } from "../control/testing/raw-http.ts";

const page = join(import.meta.dirname, "../../docs/capabilities/reading-asleep.md");
const anything: never = new Proxy(() => anything, { get: () => anything }) as never;
const tables = routeTables(anything);
const agentRoutes: readonly Route[] = [
  ...tables.everywhere,
  ...tables.outside,
  ...execRoutes(anything),
];

/** Of one sprite that is there. */
const endpoints = endpointGroups
  .flatMap((group) => group.endpoints)
  .filter(({ path, inside }) => path.startsWith("/v1/sprites/{") && inside !== "only")
  .filter(({ path }) => !path.endsWith("/import"));

const lineOf = ({ method, path }: Endpoint): string =>
  `${method} ${path.replace(/^\/v1\/sprites\/\{\w+\}/, "") || "/"}`;

/** Not by its agent's doing. */
const startsAnyway: ReadonlySet<string> = new Set(["POST /restart"]);

/** Also the registry's own, which the agent hears of, if there is one. */
function isQuiet({ method, path }: Endpoint): boolean {
  const segments = path.split("/").slice(4);
  if (method === "WS") return false;
  const found = findRoute(agentRoutes, method, segments);
  return found.kind !== "found" || found.route.isQuiet === true;
}

async function startsCold(harness: Harness, endpoint: Endpoint, name: string): Promise<boolean> {
  const { worker, baseUrl, port, token } = harness;
  const { body } = await harness.call("POST", "/v1/sprites", { name });
  await worker.stop(String(body.id));
  const startsBefore = worker.startCount;
  const path = endpoint.path.replace("{name}", name).replaceAll(/\{\w+\}/g, "x");
  if (endpoint.method === "WS") {
    const socket = connect(port, "127.0.0.1");
    const head = [
      ...[`GET ${path} HTTP/1.1`, "Host: localhost", `Authorization: Bearer ${token}`],
      ...["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
      ...["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""],
    ];
    socket.write(head.join("\r\n"));
    await readUntil(socket, (text) => text.includes("\r\n\r\n"));
    socket.destroy();
  } else {
    const isJson = endpoint.body?.type === "application/json";
    const response = await fetch(baseUrl + path, {
      method: endpoint.method,
      headers: { authorization: `Bearer ${token}` },
      ...(isJson ? { body: JSON.stringify(endpoint.body?.example) } : {}),
    });
    await response.body?.cancel();
  }
  return worker.startCount > startsBefore;
}

test("each endpoint wakes a sleeping sprite, or does not, as docs/capabilities/reading-asleep.md says", async () => {
  await using harness = await startHarness();
  const rows: string[] = [];
  for (const [index, endpoint] of endpoints.entries()) {
    const cold = (await startsCold(harness, endpoint, `s-${index}`)) ? "starts" : "sleeps on";
    const isQuietOne = isQuiet(endpoint) && !startsAnyway.has(lineOf(endpoint));
    const warm = isQuietOne ? "sleeps on" : "goes on";
    rows.push(`| \`${lineOf(endpoint)}\` | ${cold} | ${warm} |`);
  }
  const told = readFileSync(page, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.replaceAll(/ +/g, " "));
  assert.deepEqual(told, rows, `these rows belong into ${page}:\n${rows.join("\n")}`);
});

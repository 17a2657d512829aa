/** The resolver's thread: it enters the gateway's network, and all its sockets and child processes are there. */
import { closeSync, openSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

import { must } from "../../base/assert.ts";
import { createLog } from "../../base/log.ts";
import { enterNamespace, namespaceBits } from "../../host/system-calls.ts";
import { applyRules } from "../network-namespace.ts";
import { domainLists } from "./domain-lists.ts";
import type { ResolverOrder, ResolverPlace, ResolverReport } from "./resolver-messages.ts";
import { ResolverServer } from "./resolver-server.ts";
import { Resolver } from "./resolver.ts";

const dnsPort = 53;

const port = must(parentPort, "the resolver runs in a thread of its own");
const { namespacePath, address, upstream, logLevel } = workerData as ResolverPlace;
const log = createLog({ level: logLevel, room: "egress" });

enterNetwork(namespacePath);
const resolver = new Resolver({
  upstream,
  lists: domainLists(),
  applyRules: (text) => applyRules(null, text),
  nowMs: () => performance.now(),
  log,
});
const server = new ResolverServer({
  address,
  port: dnsPort,
  answer: (from, message, transport) => resolver.answer(from, message, transport),
  log,
});
await server.listen();
port.on("message", (order: ResolverOrder) => void obey(order));
report({ type: "ready" });

async function obey(order: ResolverOrder): Promise<void> {
  let error: string | null = null;
  try {
    if (order.type === "set") await resolver.setPolicy(order.port, order);
    else await resolver.forget(order.port);
  } catch (cause) {
    error = cause instanceof Error ? cause.message : String(cause);
  }
  report({ type: "done", order: order.order, error });
}

function report(message: ResolverReport): void {
  port.postMessage(message);
}

function enterNetwork(path: string): void {
  const descriptor = openSync(path, "r");
  enterNamespace(descriptor, namespaceBits.network);
  closeSync(descriptor);
}

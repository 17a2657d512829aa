/** Services in a test container, behind the agent's API. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createLog } from "../../base/log.ts";
import { SpritesClient, type ServiceLogEvent, type Sprite } from "@fly/sprites";
import {
  openPort,
  sendRequest,
  startTestAgent,
  type PlainResponse,
  type TestAgent,
} from "../api/testing.ts";
import { ServiceRecords } from "./service-records.ts";
import { serviceRoutes } from "./service-routes.ts";
import { Services } from "./services.ts";

/** The test container has no /var that its user could write. */
const directories = {
  stateDirectory: "/home/sprite/state",
  logDirectory: "/home/sprite/logs/services",
};

export interface TestServices extends AsyncDisposable {
  agent: TestAgent;
  services: Services;
  /** The official client's view of it. */
  sprite: Sprite;
  /** Runs a shell script inside. */
  shell(script: string): Promise<string>;
  request(method: string, path: string, body?: unknown): Promise<PlainResponse>;
  /** As when the container is replaced on the same disk. */
  restart(): Promise<void>;
}

export async function startTestServices(options: { pidsMax?: number } = {}): Promise<TestServices> {
  const records = mkdtempSync(join(tmpdir(), "opensprites-services-"));
  const services = new Services({
    whenRunning: async () => undefined,
    whenAwake: async () => undefined,
    holdAwake: async () => () => undefined,
    records: new ServiceRecords(records),
    environment: () => ({ FROM_SPRITE: "yes" }),
    directories,
    log: createLog({ level: "error", room: "test" }),
  });
  const agent = await startTestAgent({ ...options, routes: serviceRoutes(services) });
  const { launcher } = agent.container;
  services.onContainer(launcher, { isAdopted: false });
  const port = await openPort(agent);
  const sprite = new SpritesClient("token", { baseURL: port.url }).sprite("s1");
  return {
    agent,
    services,
    sprite,
    shell: async (script) => String((await sprite.execFile("sh", ["-c", script])).stdout).trim(),
    request: (method, path, body) => {
      const text = body === undefined ? {} : { body: JSON.stringify(body) };
      return sendRequest(agent, { method, path: `/v1/sprites/s1${path}`, ...text });
    },
    async restart() {
      await services.end();
      services.onContainer(launcher, { isAdopted: false });
    },
    async [Symbol.asyncDispose]() {
      services.hurry();
      await services.end();
      port.server.close();
      await agent[Symbol.asyncDispose]();
      rmSync(records, { recursive: true, force: true });
    },
  };
}

/** Every event of a stream, to its end. */
export async function eventsOf(
  stream: Promise<AsyncIterable<ServiceLogEvent>>,
): Promise<ServiceLogEvent[]> {
  const events: ServiceLogEvent[] = [];
  for await (const event of await stream) events.push(event);
  return events;
}

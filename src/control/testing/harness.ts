import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createLog, type Log } from "../../base/log.ts";
import { createControl, type Control, type ControlOptions } from "../control.ts";
import type { CertificateState } from "../front-door.ts";
import type { OrganizationLimits } from "../sprites.ts";
import { createToken } from "../tokens.ts";
import { FakeWorker } from "./fake-worker.ts";

export interface Harness extends AsyncDisposable {
  directory: string;
  dataDirectory: string;
  worker: FakeWorker;
  control: Control;
  baseUrl: string;
  port: number;
  /** Null: metrics have no address of their own. */
  metricsPort: number | null;
  /** Of the organization `acme`. */
  token: string;
  /** A JSON call with the token. */
  call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }>;
}

// Tests look into answers freely.
export type Json = Record<string, unknown> & { name?: string; id?: string };

export interface HarnessOptions {
  adminSecret?: string;
  log?: Log;
  limits?: OrganizationLimits;
  certificates?: CertificateState;
  metrics?: NonNullable<ControlOptions["metrics"]>;
  problems?: () => readonly string[];
  tracing?: NonNullable<ControlOptions["tracing"]>;
  /** Continue with the data of another harness. */
  dataDirectory?: string;
}

export async function startHarness(options: HarnessOptions = {}): Promise<Harness> {
  const directory = mkdtempSync(join(tmpdir(), "control-test-"));
  const dataDirectory = options.dataDirectory ?? join(directory, "data");
  const worker = new FakeWorker(directory);
  const token = createToken({ dataDirectory, orgSlug: "acme", description: "test" });
  const control = createControl({
    dataDirectory,
    worker,
    listen: { host: "127.0.0.1", port: 0 },
    version: "v0.1.0",
    urlDomain: "sprites.localhost",
    log: options.log ?? createLog({ level: "silent", room: "control" }),
    ...(options.adminSecret === undefined ? {} : { adminSecret: options.adminSecret }),
    ...(options.metrics === undefined ? {} : { metrics: options.metrics }),
    ...(options.tracing === undefined ? {} : { tracing: options.tracing }),
    ...(options.problems === undefined ? {} : { problems: options.problems }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...(options.certificates === undefined ? {} : { certificates: options.certificates }),
  });
  const { port, metricsPort } = await control.start();
  const baseUrl = `http://127.0.0.1:${port}`;
  return {
    directory,
    dataDirectory,
    worker,
    control,
    baseUrl,
    port,
    metricsPort,
    token,
    async call(method, path, body) {
      const response = await fetch(baseUrl + path, {
        method,
        headers: { authorization: `Bearer ${token}` },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return { status: response.status, body: text === "" ? {} : (JSON.parse(text) as Json) };
    },
    async [Symbol.asyncDispose]() {
      await control.stop();
      await worker.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The front door of a server: organizations, tokens, the registry of sprites, and the API's port. */

import type { Socket } from "node:net";

import { assert } from "../base/assert.ts";
import type { Log } from "../base/log.ts";
import { OpenSplices } from "./splice/open-splices.ts";
import type { Worker } from "../worker/worker.ts";
import { FrontDoor, type CertificateState } from "./front-door.ts";
import { splicesPerSpriteMax, watchHeartbeatMs } from "./limits.ts";
import { Organizations } from "./organizations.ts";
import { Alarm } from "./schedule/alarm.ts";
import { Sprites, type OrganizationLimits } from "./sprites.ts";
import { SpriteUrls } from "./sprite-urls.ts";
import { TokenUse } from "./token-use.ts";
import type { Caller } from "./tokens.ts";
import { LoginCodes } from "./url-access/login-codes.ts";
import { UrlAccess } from "./url-access/url-access.ts";
import { MetricsDoor, type ServerBucketUse } from "./metrics/metrics-door.ts";
import type { Metrics } from "./metrics/metrics.ts";
import { UrlSessions } from "./url-access/url-sessions.ts";
import { noTracing, type Tracing } from "./tracing.ts";
import { UsageKeeper } from "./usage/usage-keeper.ts";

export interface ControlOptions {
  dataDirectory: string;
  worker: Worker;
  listen: { host: string; port: number };
  /** Sent as `Sprite-Version`; SDKs read it as `v1.2.3`. */
  version: string;
  /** Sprites' URLs are `https://<name>-<org short id>.<urlDomain>`. */
  urlDomain: string;
  /** Lets its holder mint tokens over the API. */
  adminSecret?: string;
  /** Absent: there is no TLS port. */
  certificates?: CertificateState;
  /** Absent: no limits. */
  limits?: OrganizationLimits;
  /** Where metrics are served without a credential; absent: on the API only, for the admin secret. */
  metrics?: { listen: { host: string; port: number } | null; isPerSprite: boolean };
  /** Why the server cannot do its work at the moment, in words of a fixed set. */
  problems?: () => readonly string[];
  tracing?: Tracing;
  /** What the server itself has asked of the bucket. */
  bucketUse?: () => ServerBucketUse | null;
  log: Log;
}

export interface Control {
  /** Who may open a sprite's URL, as the edge asks it. */
  readonly urlAccess: UrlAccess;
  /** For whoever has something to count. */
  readonly metrics: Metrics;
  /** Which sprite has which URL, as the edge asks it. */
  readonly spriteUrls: SpriteUrls;
  /** Serves the API on a connection that somebody else has accepted. */
  serveConnection(socket: Socket): void;
  /** Where the sprites' URLs are served; said before the first of them is shown. */
  setUrlPort(port: number): void;
  /** Finishes what a crash cut short, without waiting for it, and serves requests when it resolves. */
  start(): Promise<{ address: string; host: string; port: number; metricsPort: number | null }>;
  /** Whether it says at /readyz that it takes no work for now. */
  setDrained(isDrained: boolean): void;
  /** Ends within two seconds; open WebSockets get close code 1001. The worker may stop afterwards. */
  stop(): Promise<void>;
  /**
   * Destroys what was half created or half destroyed. `start` does so too. Resolves after the first
   * try of each.
   */
  recover(): Promise<void>;
}

const noCertificates: CertificateState = { authorityPem: async () => null, problems: () => [] };

export function createControl(options: ControlOptions): Control {
  const { dataDirectory, worker, log, urlDomain, version } = options;
  const organizations = new Organizations(dataDirectory);
  const splices = new OpenSplices(splicesPerSpriteMax);
  const limits = options.limits ?? { creationsPerMinuteMax: null, runningMax: null };
  const problems = options.problems ?? (() => []);
  const metrics = new MetricsDoor({
    ...{ organizations, worker, version, problems },
    isPerSprite: options.metrics?.isPerSprite ?? false,
    bucketUse: options.bucketUse ?? (() => null),
  });
  const sprites = new Sprites({
    ...{ organizations, worker, splices, urlDomain, version, limits, log },
    metrics: metrics.recorder,
  });
  const tokenUse = new TokenUse(log);
  const adminSecret = options.adminSecret ?? null;
  const onTokenUsed = (caller: Caller): void => tokenUse.note(caller);
  const sessions = new UrlSessions({ organizations, adminSecret });
  const codes = new LoginCodes();
  const usage = new UsageKeeper({ organizations, worker, log });
  const frontDoor = new FrontDoor({
    ...{ organizations, sprites, splices, usage, metrics, problems },
    ...{ version, adminSecret, log, onTokenUsed },
    tracing: options.tracing ?? noTracing,
    urlLogins: { sessions, codes, urlDomain },
    certificates: options.certificates ?? noCertificates,
  });
  const alarm = alarmOf({ organizations, sprites, log });
  let recovered: Promise<void> | null = null;
  let heartbeat: NodeJS.Timeout | null = null;

  const recover = (): Promise<void> => {
    assert(heartbeat === null || recovered !== null, "recover comes before the first request");
    recovered ??= sprites.recover();
    return recovered;
  };
  return {
    urlAccess: new UrlAccess({ organizations, sessions, codes, urlDomain, onTokenUsed }),
    metrics: metrics.recorder,
    spriteUrls: new SpriteUrls({ organizations, sprites, worker }),
    serveConnection: (socket) => frontDoor.serveConnection(socket),
    setUrlPort: (port) => sprites.setUrlPort(port),
    recover,
    async start() {
      recover()
        .then(() => alarm.start())
        .catch((error: unknown) => log.error({ err: error }, "recover sprites"));
      tokenUse.start();
      usage.start().catch((error: unknown) => log.error({ err: error }, "read kept usage"));
      const metricsAt = options.metrics?.listen ?? null;
      const listening = metricsAt === null ? null : await metrics.listen(metricsAt);
      const metricsPort = listening?.port ?? null;
      const { address, family, port } = await frontDoor.start(options.listen);
      heartbeat = setInterval(() => sprites.watch.publishHeartbeats(), watchHeartbeatMs);
      const host = family === "IPv6" ? `[${address}]` : address;
      return { address: `${host}:${port}`, host: address, port, metricsPort };
    },
    setDrained: (isDrained) => frontDoor.setDrained(isDrained),
    async stop() {
      if (heartbeat !== null) clearInterval(heartbeat);
      alarm.stop();
      await frontDoor.stop();
      sprites.stop();
      usage.stop();
      metrics.stop();
      tokenUse.stop();
      organizations.close();
    },
  };
}

function alarmOf(parts: { organizations: Organizations; sprites: Sprites; log: Log }): Alarm {
  const { organizations, sprites, log } = parts;
  return new Alarm({
    organizations: () => organizations.all(),
    wake: (organization, spriteId) => sprites.wakeBySchedule(organization, spriteId),
    log,
  });
}

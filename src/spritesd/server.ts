import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ensureImage } from "../../images/build.ts";
import type { Log } from "../base/log.ts";
import type { AgentNetwork, RuntimeName } from "../contract/agent-startup.ts";
import { createControl, type Control } from "../control/control.ts";
import { openCertificates, type Certificates } from "../edge/certificates/open-certificates.ts";
import { createHostHelper } from "../host/host-helper.ts";
import { chooseRuntime } from "../host/runtime.ts";
import {
  canAdoptGateway,
  createGateway,
  networkBehind,
  removeGatewayLeftovers,
  type Gateway,
} from "../sandbox/gateway.ts";
import { ScrubberClient } from "../storage/audit/scrubber-client.ts";
import { systemClock } from "../storage/lease/clock.ts";
import { machineIdentity, serverIdentity } from "../storage/lease/server-identity.ts";
import { ServerLease } from "../storage/lease/server-lease.ts";
import { lockDirectory } from "../storage/object-store/directory-lock.ts";
import { openObjectStore, schemeOf } from "../storage/object-store/open-object-store.ts";
import { probeObjectStore } from "../storage/object-store/probe.ts";
import { importImage } from "../storage/volume/image.ts";
import { readAdminSecret } from "./admin-secret.ts";
import { limitsOf, type ServeOptions } from "./options.ts";
import { operatorSocketOf, serveOperators } from "./operator-socket.ts";
import { readiness } from "./readiness.ts";
import { replicateRegistry } from "./registry-replica.ts";
import { ServerBucketUses } from "./server-bucket-uses.ts";
import { openEdge } from "./open-edge.ts";
import { startTracing } from "./tracing.ts";
import { version } from "./version.ts";
import { ImageServers } from "../worker/image-servers.ts";
import { clearCgroups, clearLeftovers } from "../worker/leftovers.ts";
import { diskSizeBytesDefault } from "../worker/limits.ts";
import { LocalWorker } from "../worker/local-worker.ts";
import { imageCacheDirectory, networkDirectory, placesOf, type Places } from "../worker/places.ts";
import { takeServerLock } from "../worker/server-lock.ts";
import { Slots } from "../worker/slots.ts";
import { endImageServer, findSurvivors, noSurvivors, type Survivors } from "../worker/survivors.ts";
import { warmUpAgent } from "../worker/warm-up.ts";

export interface Server {
  address: string;
  /** `leavesSprites`: those that run go on, and wait for the next server. */
  stop(options: { leavesSprites: boolean }): Promise<void>;
}

/** Starts everything in order; `stop` undoes it in reverse. @throws whatever keeps the server from serving */
export async function startServer(
  options: ServeOptions,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<Server> {
  const startup = new Startup(options, log);
  try {
    const address = await startup.run(signal);
    return {
      address,
      stop: async ({ leavesSprites }) => {
        if (leavesSprites) await startup.leaveSprites();
        await startup.undo();
      },
    };
  } catch (error) {
    // Those that were there before go on: the next start may come further.
    await startup.leaveSprites();
    await startup.undo();
    throw error;
  }
}

class Startup {
  readonly #options: ServeOptions;
  readonly #log: Log;
  readonly #places: Places;
  readonly #bucket: string;
  readonly #undoSteps: Array<() => Promise<void>> = [];
  /** Undone only when no sprite is left to the next server. */
  readonly #clearingSteps = new Set<() => Promise<void>>();
  #survivors: Survivors = noSurvivors;
  /** Whether a sprite's URL is at that host: nobody knows before control is there. */
  #isKnownHost: (hostName: string) => boolean = () => false;
  readonly #bucketUse = new ServerBucketUses();
  /** Stops what would start more, then leaves what runs; how many sprites that is. Before that, none is touched. */
  #leave = async (): Promise<number> => this.#survivors.agents.length;

  constructor(options: ServeOptions, log: Log) {
    this.#options = options;
    this.#log = log;
    this.#places = placesOf(options.data);
    const { dataDirectory } = this.#places;
    const bucket = options.bucket ?? join(dataDirectory, "bucket");
    // Of a path, for the processes to come, which may work in another directory.
    this.#bucket = schemeOf(bucket) === null ? resolve(bucket) : bucket;
  }

  /**
   * The address that is served.
   * @throws the signal's reason between two steps, so that what was begun can be undone
   */
  async run(signal: AbortSignal): Promise<string> {
    const runtime = await this.#takeOver();
    signal.throwIfAborted();
    const { serverId, lease } = await this.#announce(signal);
    const { dataDirectory } = this.#places;
    const parts = { bucket: this.#bucket, dataDirectory, server: serverId, log: this.#log };
    const registry = replicateRegistry(parts);
    this.#undoSteps.push(() => registry.client.drain());
    const image = await this.#provideImage(serverId);
    signal.throwIfAborted();
    const gateway = await this.#openGateway();
    signal.throwIfAborted();
    const worker = await this.#makeWorker({ serverId, lease, runtime, gateway, ...image });
    // Before the registry is opened: on a new machine it comes from the bucket.
    await unlessAborted(registry.client.ready, signal);
    const { listen, urlDomain, adminSecretFile } = this.#options;
    const { creationsPerMinuteMax, runningMax, metricsListen, metricsPerSprite } = this.#options;
    const adminSecret =
      adminSecretFile === null ? {} : { adminSecret: readAdminSecret(adminSecretFile) };
    const certificates = await this.#openCertificates();
    const traces = await startTracing({ version, log: this.#log });
    this.#undoSteps.push(() => traces.stop());
    const control = createControl({
      dataDirectory,
      worker,
      listen,
      version,
      urlDomain,
      ...adminSecret,
      limits: { creationsPerMinuteMax, runningMax },
      certificates,
      metrics: { listen: metricsListen, isPerSprite: metricsPerSprite },
      problems: readiness({
        tenure: () => lease.tenure,
        isImageMounted: () => image.images.isMounted(image.imageHash),
        gatewayNamespacePath: gateway.namespacePath,
        isRegistryReplicated: registry.isReplicated,
      }),
      tracing: traces.tracing,
      bucketUse: () => this.#bucketUse.sum(),
      log: this.#log,
    });
    this.#isKnownHost = (hostName) => control.urlAccess.isKnownHost(hostName);
    let closeEdge = async (): Promise<void> => undefined;
    let stopped: Promise<void> | null = null;
    const stop = (): Promise<void> => (stopped ??= closeEdge().then(() => control.stop()));
    this.#undoSteps.push(stop);
    const leave = this.#leave;
    this.#leave = async () => {
      await stop();
      return await leave();
    };
    await control.recover();
    signal.throwIfAborted();
    const { address } = await control.start();
    closeEdge = await openEdge(this.#options, { control, certificates, log: this.#log });
    await this.#obeyOperators(worker, control);
    this.#scrub();
    return address;
  }

  /** From now on `undo` keeps what sprites need that run, if any do. */
  async leaveSprites(): Promise<void> {
    const count = await this.#leave();
    if (count === 0) return;
    this.#log.info({ count }, "sprites go on without a server");
    const kept = this.#undoSteps.filter((step) => !this.#clearingSteps.has(step));
    this.#undoSteps.splice(0, Infinity, ...kept);
  }

  async undo(): Promise<void> {
    for (const step of this.#undoSteps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        // The other steps still run: each one gives back something of its own.
        this.#log.error({ err: error }, "a step of the stop failed");
      }
    }
  }

  /** Makes sure that this is the only server of its data, and that nothing of the one before is left. */
  async #takeOver(): Promise<RuntimeName> {
    const { dataDirectory, runDirectory } = this.#places;
    await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
    const lock = await takeServerLock({ dataDirectory, runDirectory, lockDirectory });
    this.#undoSteps.push(lock.release);
    const runtime = await chooseRuntime(this.#options.runtime);
    this.#survivors = await this.#findSurvivors();
    const [places, log, survivors] = [this.#places, this.#log, this.#survivors];
    const clearNetwork = (): Promise<void> => removeGatewayLeftovers(networkDirectory(places), log);
    await clearLeftovers({
      ...{ places, runtime, survivors, log },
      clearNetwork: survivors.agents.length > 0 ? null : clearNetwork,
    });
    await mkdir(runDirectory, { recursive: true, mode: 0o711 });
    this.#undoUnlessLeft(async () => {
      await Promise.all([...survivors.images.values()].map((child) => endImageServer(child)));
      await clearCgroups(this.#places);
      await rm(runDirectory, { recursive: true, force: true });
    });
    return runtime;
  }

  async #findSurvivors(): Promise<Survivors> {
    if (this.#orphanMsMax === 0) return noSurvivors;
    const [places, bucket, log] = [this.#places, this.#bucket, this.#log];
    const network = { directory: networkDirectory(places), uplink: this.#options.uplink };
    const networkOf = (slotIndex: number): AgentNetwork =>
      networkBehind(network, new Slots(places.serverHash).adopt(slotIndex));
    const isWhole = await canAdoptGateway(network);
    return await findSurvivors({ places, bucket, networkOf: isWhole ? networkOf : null, log });
  }

  get #orphanMsMax(): number {
    return this.#options.orphanMsMax ?? 0;
  }

  #undoUnlessLeft(step: () => Promise<void>): void {
    this.#clearingSteps.add(step);
    this.#undoSteps.push(step);
  }

  /** Says in the bucket that this server lives, until the end: others leave alone what it holds. */
  async #announce(signal: AbortSignal): Promise<{ serverId: string; lease: ServerLease }> {
    const store = this.#bucketUse.of(await openObjectStore(this.#bucket));
    // Before anything is written: what two writers rely on must hold in this bucket.
    await probeObjectStore(store, { signal, isDirectory: schemeOf(this.#bucket) !== "s3" });
    const server = await serverIdentity(this.#places.dataDirectory);
    const lease = await ServerLease.start({
      store,
      server,
      machine: await machineIdentity(),
      clock: systemClock,
      onTrouble: (trouble) => {
        if (trouble === null) this.#log.info("the bucket takes this server's lease again");
        else this.#log.error({ trouble }, "others may take over what this server holds");
      },
      signal,
    });
    // Others leave alone what this server holds for as long as they do when it is killed.
    this.#undoSteps.push(() => lease.leave());
    this.#undoUnlessLeft(() => lease.stop());
    return { serverId: server, lease };
  }

  /**
   * Builds the image if this machine never did, puts it into the bucket if it is not there, and
   * mounts it.
   */
  async #provideImage(server: string): Promise<{ images: ImageServers; imageHash: string }> {
    const { path } = await ensureImage(this.#options.image, { log: this.#log });
    const imageHash = await importImage({
      bucket: this.#bucket,
      file: path,
      server,
      cacheDirectory: (hash) => imageCacheDirectory(this.#places, hash),
    });
    const images = new ImageServers(this.#common(), this.#survivors.images);
    this.#undoUnlessLeft(() => images.stop());
    // Mounted before the first sprite asks, so that a create does not wait for it.
    await Promise.all([images.ensure(imageHash), warmUpAgent(this.#log)]);
    return { images, imageHash };
  }

  async #openGateway(): Promise<Gateway> {
    const helper = createHostHelper(this.#log);
    this.#undoSteps.push(() => helper.close());
    const gateway = await createGateway(
      {
        directory: networkDirectory(this.#places),
        serverHash: this.#places.serverHash,
        uplink: this.#options.uplink,
        helper,
        isAdopted: this.#survivors.agents.length > 0,
        logLevel: this.#options.logLevel,
      },
      this.#log,
    );
    this.#undoUnlessLeft(() => gateway.close());
    return gateway;
  }

  async #makeWorker(parts: {
    serverId: string;
    lease: ServerLease;
    runtime: RuntimeName;
    gateway: Gateway;
    images: ImageServers;
    imageHash: string;
  }): Promise<LocalWorker> {
    const { serverId, lease, runtime, gateway, images, imageHash } = parts;
    const worker = new LocalWorker({
      ...this.#common(),
      serverId,
      store: this.#bucketUse.of(await openObjectStore(this.#bucket)),
      images,
      defaultImageHash: imageHash,
      slots: new Slots(this.#places.serverHash),
      serverTenure: () => lease.tenure,
      network: gateway,
      limits: limitsOf(this.#options),
      idleWindowMs: this.#options.idleWindowMs,
      warmMsMax: this.#options.warmMsMax,
      poolSize: this.#options.poolSize,
      survivors: this.#survivors.agents,
      runtime,
      diskSizeBytes: diskSizeBytesDefault,
    });
    this.#undoUnlessLeft(() => worker.drain());
    this.#leave = () => worker.leave();
    return worker;
  }

  async #obeyOperators(worker: LocalWorker, control: Control): Promise<void> {
    const path = operatorSocketOf(this.#places.runDirectory);
    const operators = await serveOperators(path, async (order, tell) => {
      const isDrained = order.type === "drain";
      this.#log.info({ isDrained }, "told by an operator");
      control.setDrained(isDrained);
      if (isDrained) {
        const { unstored } = await worker.rest((left) => tell({ type: "progress", left }));
        return { type: "done", unstored };
      }
      worker.resume();
      return { type: "done", unstored: 0 };
    });
    this.#undoSteps.push(() => operators.close());
  }

  /** What the sprites' URLs are shown with. */
  async #openCertificates(): Promise<Certificates> {
    const certificates = await openCertificates({
      origin: this.#options.certificates,
      domain: this.#options.urlDomain,
      dataDirectory: this.#places.dataDirectory,
      isKnownName: (name) => this.#isKnownHost(name),
      log: this.#log,
    });
    this.#undoSteps.push(async () => certificates.stop());
    return certificates;
  }

  /** Reads the bucket again now and then, so that damage is known before a user finds it. */
  #scrub(): void {
    const rateBytes = this.#options.scrubRateBytes;
    if (rateBytes === null) return;
    const log = this.#log;
    const scrubber = new ScrubberClient({
      ...{ bucket: this.#bucket, rateBytes },
      positionPath: join(this.#places.dataDirectory, "scrub.json"),
      onDamage: (damage) => log.error({ damage }, "what the bucket holds is damaged"),
      onPassed: (pass) => log.info(pass, "the bucket was read again"),
      onProblem: (problem) => log.warn({ err: problem }, "the bucket could not be read again"),
    });
    this.#undoSteps.push(() => scrubber.stop());
  }

  #common(): ConstructorParameters<typeof ImageServers>[0] {
    const { cacheSizeBytesMax, logLevel } = this.#options;
    const [places, bucket, log] = [this.#places, this.#bucket, this.#log];
    const orphanMsMax = this.#orphanMsMax;
    return { places, bucket, cacheSizeBytesMax, orphanMsMax, version, logLevel, log };
  }
}

/** @throws the signal's reason as soon as it is aborted, whatever becomes of the work */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  return await new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    work.finally(() => signal.removeEventListener("abort", onAbort)).then(resolve, reject);
  });
}

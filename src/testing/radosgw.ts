/**
 * A real S3 server for tests: Debian's Ceph, as small as it gets. One monitor, one OSD that keeps everything in memory, one radosgw, all on
 * 127.0.0.1. It takes some 12 s and 200 MB, so a run starts it once and tells the tests by an environment variable.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { access, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { parseS3Url } from "../storage/object-store/s3/location.ts";
import { createBucket } from "../storage/object-store/testing/create-bucket.ts";
import { freePorts, isListening } from "./loopback-ports.ts";

const run = promisify(execFile);

/** Set by tools/test-phases.ts to the endpoint of a server that it started. */
export const radosgwVariable = "OPENSPRITES_TEST_RADOSGW";

const programs = ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool"];
const startTimeoutMs = 90_000;
const gatewayStartsMax = 5;
const keys = { AWS_ACCESS_KEY_ID: "TESTACCESSKEY", AWS_SECRET_ACCESS_KEY: "test-secret-key" };

export interface Radosgw {
  /** `http://127.0.0.1:<port>` */
  endpoint: string;
  /** kill -9 of the gateway alone: what it has answered for stays, in the OSD. */
  killGateway(): Promise<void>;
  /** Starts it again at the same place, and waits until it answers. */
  startGateway(): Promise<void>;
  stop(): Promise<void>;
}

export interface TestBucket {
  /** For `--bucket` and openObjectStore; region and endpoint included. */
  url: string;
  endpoint: string;
  /** What a process needs in its environment to use it. */
  environment: Readonly<Record<string, string>>;
}

/** A new, empty bucket on the run's server, which is started when there is none, and ends with this process. */
export async function makeTestBucket(): Promise<TestBucket> {
  const endpoint = await sharedEndpoint();
  const bucket = `test-${Math.random().toString(36).slice(2, 12)}`;
  const url = `s3://${bucket}?endpoint=${endpoint}&region=us-east-1`;
  await createBucket(parseS3Url(url, {}), keys);
  return { url, endpoint, environment: keys };
}

let own: Promise<Radosgw> | null = null;

async function sharedEndpoint(): Promise<string> {
  const given = process.env[radosgwVariable];
  if (given) return given;
  return (await (own ??= startRadosgw())).endpoint;
}

/**
 * Starts the three servers. They get SIGKILL from the kernel when this process ends, however it does.
 * @throws an Error that names the packages where they are missing
 */
export async function startRadosgw(): Promise<Radosgw> {
  await checkPrograms();
  // Short: the servers' Unix sockets lie in it.
  const directory = await mkdtemp(join(tmpdir(), "rgw-"));
  const children: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(children.map((child) => endChild(child)));
    await rm(directory, { recursive: true, force: true });
  };
  process.once("exit", () => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });
  try {
    const ports = await freePorts(2);
    const cluster = new Cluster({ directory, ports, children });
    await cluster.start();
    return {
      endpoint: `http://127.0.0.1:${ports[1]}`,
      killGateway: async () => cluster.killGateway(),
      startGateway: async () => cluster.startGateway(),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

class Cluster {
  readonly #directory: string;
  readonly #monitorPort: number;
  readonly #gatewayPort: number;
  readonly #children: ChildProcess[];
  #gateway: ChildProcess | null = null;

  constructor(options: { directory: string; ports: number[]; children: ChildProcess[] }) {
    this.#directory = options.directory;
    [this.#monitorPort = 0, this.#gatewayPort = 0] = options.ports;
    this.#children = options.children;
  }

  async start(): Promise<void> {
    const clusterId = crypto.randomUUID();
    const monitor = `[v2:127.0.0.1:${this.#monitorPort}]`;
    for (const name of ["mon", "osd", "rgw"]) await mkdir(join(this.#directory, name));
    await writeFile(this.#path("ceph.conf"), this.#configuration(clusterId, monitor));
    await this.#makeKeys();
    const map = ["--create", "--fsid", clusterId, "--addv", "a", monitor, this.#path("monmap")];
    await this.#run("monmaptool", map);
    const keyring = ["--keyring", this.#path("keyring")];
    await this.#run("ceph-mon", [
      "-i",
      "a",
      "--mkfs",
      "--monmap",
      this.#path("monmap"),
      ...keyring,
    ]);
    this.#spawn("ceph-mon", ["-i", "a"]);
    const osdId = crypto.randomUUID();
    await this.#run("ceph", ["osd", "new", osdId]);
    await this.#run("ceph-osd", ["-i", "0", "--mkfs", "--osd-uuid", osdId, ...keyring]);
    this.#spawn("ceph-osd", ["-i", "0"]);
    this.#gateway = this.#spawn("radosgw", ["-n", "client.rgw"]);
    const { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey } = keys;
    await this.#run("radosgw-admin", [
      ...["-n", "client.rgw", "user", "create", "--uid", "test", "--display-name", "test"],
      ...["--access-key", accessKey, "--secret-key", secretKey],
    ]);
    await this.#waitForGateway();
    // The first bucket and the first object take seconds, while their pools are made.
    const url = `s3://warm-up?endpoint=http://127.0.0.1:${this.#gatewayPort}&region=us-east-1`;
    await createBucket(parseS3Url(url, {}), keys);
  }

  async killGateway(): Promise<void> {
    const gateway = this.#gateway;
    this.#gateway = null;
    if (gateway === null) return;
    this.#children.splice(this.#children.indexOf(gateway), 1);
    await endChild(gateway);
  }

  async startGateway(): Promise<void> {
    if (this.#gateway !== null) return;
    for (let attempt = 1; ; attempt++) {
      this.#gateway = this.#spawn("radosgw", ["-n", "client.rgw"]);
      try {
        await this.#waitForGateway();
        return;
      } catch (error) {
        await this.killGateway();
        // While it was away, some connection of the machine may have got its port for a moment.
        if (attempt >= gatewayStartsMax) throw error;
      }
    }
  }

  /** Without cephx radosgw loops; without tcp_nodelay each small request takes 45 ms longer. */
  #configuration(clusterId: string, monitor: string): string {
    const directory = this.#directory;
    return `[global]
fsid = ${clusterId}
mon host = ${monitor}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = ${directory}/keyring
run dir = ${directory}
admin socket = ${directory}/$name.$pid.asok
log file = /dev/null
mon cluster log file = /dev/null
crash dir = ${directory}
pid file =
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon max pg per osd = 1000
osd objectstore = memstore
memstore device bytes = 4294967296
mon data = ${directory}/mon
mon data avail crit = 1
mon data avail warn = 1
osd data = ${directory}/osd
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${this.#gatewayPort} tcp_nodelay=1
rgw data = ${directory}/rgw
rgw run sync thread = false
rgw max put size = 6442450944
`;
  }

  async #makeKeys(): Promise<void> {
    const all = "allow *";
    const capabilities: Record<string, string[]> = {
      "mon.": ["--cap", "mon", all],
      "client.admin": ["--cap", "mon", all, "--cap", "osd", all, "--cap", "mgr", all],
      "client.rgw": ["--cap", "mon", all, "--cap", "osd", all],
      "osd.0": ["--cap", "mon", "allow profile osd", "--cap", "osd", all],
    };
    const create = ["--create-keyring"];
    for (const [name, caps] of Object.entries(capabilities)) {
      const words = [...create.splice(0), this.#path("keyring"), "--gen-key", "-n", name, ...caps];
      await this.#run("ceph-authtool", words);
    }
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  async #run(program: string, words: string[]): Promise<void> {
    const isCeph = !["monmaptool", "ceph-authtool"].includes(program);
    const configuration = isCeph ? ["-c", this.#path("ceph.conf")] : [];
    await run(program, [...configuration, ...words], { timeout: startTimeoutMs });
  }

  #spawn(program: string, words: string[]): ChildProcess {
    const command = [program, "-c", this.#path("ceph.conf"), ...words, "-f"];
    // The kernel ends it with us, also when we are killed.
    const child = spawn("setpriv", ["--pdeathsig", "KILL", ...command], { stdio: "ignore" });
    child.unref();
    this.#children.push(child);
    return child;
  }

  async #waitForGateway(): Promise<void> {
    const deadlineMs = performance.now() + startTimeoutMs;
    while (!(await isListening(this.#gatewayPort))) {
      const isDead = this.#children.some((child) => child.exitCode !== null);
      if (isDead || performance.now() > deadlineMs) throw new Error("radosgw did not start");
      await delay(100);
    }
  }
}

async function checkPrograms(): Promise<void> {
  const directories = (process.env["PATH"] ?? "").split(":");
  for (const program of programs) {
    const tries = directories.map((directory) => access(join(directory, program)).then(() => true));
    const isThere = await Promise.any(tries).catch(() => false);
    if (isThere) continue;
    const packages = "radosgw ceph-mon ceph-osd ceph-common";
    throw new Error(
      `tests against S3 need ${program}: apt-get install --no-install-recommends ${packages}`,
    );
  }
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

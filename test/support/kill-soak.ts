/**
 * Kills agent, server or store again and again under a load whose every state is known, half of the times with the local cache deleted, and
 * looks each time whether what was promised is there: all that was fsynced, or all that is older than two seconds when the cache is gone.
 */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../../src/base/wait.ts";
import { checkFileSystem } from "./fsck.ts";
import { childrenOf, killAll } from "./processes.ts";
import { checkRounds, Rounds } from "./rounds.ts";
import type { TestServer } from "./server.ts";

const spriteName = "soaked";
/** What may be missing at most when the cache is gone: the promise to users. */
const lossMsMax = 2_000;
const syncedWithinMs = 60_000;
/** Pause of the load after each round, so that it is no test of the store's speed. */
const pauseSeconds = 0.01;

type Victim = "agent" | "server" | "store";
const victims: readonly Victim[] = ["agent", "server", "store"];

/** What a soak needs of a store that dies and comes back with all that was in it. */
export interface MortalStore {
  kill(): Promise<void>;
  restart(): Promise<void>;
}

export interface KillSoakOptions {
  server: TestServer;
  store: MortalStore;
  /** As the server has it. */
  bucket: string;
  kills: number;
  random: () => number;
  /** Also runs fio, which the image must have: it writes and verifies, and must see no error where the sprite survives. */
  withFio: boolean;
  say(line: string): void;
}

interface Kill {
  victim: Victim;
  isCacheGone: boolean;
}

export interface KillFigures {
  kills: Record<string, number>;
  rounds: number;
  /** For each time that the cache was deleted: how old the oldest thing was that is missing. */
  lossesMs: number[];
  /** From kill to the first round that was said after it, where the sprite survives. */
  pausesMs: number[];
  /** From the start of the next server to the end of the check. */
  recoveriesMs: number[];
  orphans: number;
}

export class KillSoak {
  readonly figures: KillFigures = {
    kills: {},
    rounds: 0,
    lossesMs: [],
    pausesMs: [],
    recoveriesMs: [],
    orphans: 0,
  };
  readonly #options: KillSoakOptions;
  #spriteId = "";

  constructor(options: KillSoakOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { server, say } = this.#options;
    await server.client().createSprite(spriteName);
    const response = await server.request(`/v1/sprites/${spriteName}`);
    this.#spriteId = ((await response.json()) as { id: string }).id;
    const plan = this.#plan();
    for (const [index, kill] of plan.entries()) {
      const name = `${kill.victim}${kill.isCacheGone ? ", cache deleted" : ""}`;
      const start = performance.now();
      try {
        await this.#cycle(kill);
      } catch (error) {
        throw new Error(`kill ${index} of ${plan.length} (${name})`, { cause: error });
      }
      this.figures.kills[name] = (this.figures.kills[name] ?? 0) + 1;
      say(`kill ${index} (${name}): ${Math.round(performance.now() - start)} ms`);
    }
    this.figures.orphans = await this.#countOrphans();
  }

  /** Each kind as often as the others, in an order that the seed decides. */
  #plan(): Kill[] {
    const plan = Array.from({ length: this.#options.kills }, (_, index): Kill => ({
      victim: victims[index % victims.length] ?? "agent",
      isCacheGone: Math.floor(index / victims.length) % 2 === 1,
    }));
    for (let last = plan.length - 1; last > 0; last--) {
      const other = Math.floor(this.#options.random() * (last + 1));
      [plan[last], plan[other]] = [plan[other] as Kill, plan[last] as Kill];
    }
    return plan;
  }

  async #cycle(kill: Kill): Promise<void> {
    const { server, withFio } = this.#options;
    const rounds = await Rounds.start(server, spriteName, { pauseSeconds });
    if (withFio) await this.#startFio();
    await this.#wait(300, 3_000);
    if (!kill.isCacheGone && kill.victim !== "server") {
      await this.#killBelow(kill.victim, rounds);
      await this.#stopAndCheckFileSystem();
      await server.startProcess();
      this.figures.rounds = await checkRounds(this.#sprite, rounds.last);
      return;
    }
    const crashedAtMs = await this.#killAbove(kill);
    const promised = kill.isCacheGone ? rounds.lastBefore(crashedAtMs - lossMsMax) : rounds.last;
    const start = performance.now();
    await server.startProcess();
    const last = await checkRounds(this.#sprite, promised);
    this.figures.recoveriesMs.push(performance.now() - start);
    this.figures.rounds = last;
    const lost = rounds.acknowledged.find(({ round }) => round > last);
    if (kill.isCacheGone) {
      this.figures.lossesMs.push(lost === undefined ? 0 : crashedAtMs - lost.atMs);
    }
    await this.#stopAndCheckFileSystem();
    await server.startProcess();
  }

  /** Kills what the sprite lives on with. Returns when it has gone on. */
  async #killBelow(victim: Victim, rounds: Rounds): Promise<void> {
    const { server, store, withFio } = this.#options;
    const start = performance.now();
    if (victim === "agent") {
      await killAll(await childrenOf(server.places, "sprite"));
      await rounds.reconnect();
      await rounds.waitForMore(1);
      this.figures.pausesMs.push(performance.now() - start);
    } else {
      await store.kill();
      await this.#wait(0, 3_000);
      await store.restart();
    }
    await rounds.waitForMore(10);
    if (withFio) await this.#checkFio();
    await this.#waitUntilStoring();
  }

  /** Kills so that the sprite has to be opened anew. Returns since when nothing need be in the bucket, ms since the epoch. */
  async #killAbove({ victim, isCacheGone }: Kill): Promise<number> {
    const { server, store, random } = this.#options;
    const children = await childrenOf(server.places);
    const crashedAtMs = Date.now();
    if (victim === "agent") {
      await killAll(await childrenOf(server.places, "sprite"));
      await this.#wait(0, 600);
    }
    if (victim === "store") {
      await store.kill();
      await this.#wait(0, 2_500);
      if (random() < 0.5) {
        await store.restart();
        await this.#wait(0, 1_500);
      }
    }
    const takesAll = isCacheGone || random() < 0.5;
    const agents = takesAll ? [...children, ...(await childrenOf(server.places))] : [];
    await Promise.all([server.kill(), killAll(agents)]);
    if (isCacheGone) {
      // Also one that began in between: then its files can go.
      await killAll(await childrenOf(server.places));
      const directory = random() < 0.25 ? "cache" : "cache/sprites";
      await rm(join(server.dataDirectory, directory), { recursive: true, force: true });
    }
    if (victim === "store") {
      await store.kill();
      await store.restart();
    }
    return crashedAtMs;
  }

  async #stopAndCheckFileSystem(): Promise<void> {
    const { server, bucket } = this.#options;
    await server.stop();
    await checkFileSystem({
      dataDirectory: server.dataDirectory,
      spriteId: this.#spriteId,
      bucket,
    });
  }

  get #sprite(): Sprite {
    return this.#options.server.client().sprite(spriteName);
  }

  async #wait(minMs: number, maxMs: number): Promise<void> {
    await delay(minMs + this.#options.random() * (maxMs - minMs));
  }

  /** After an outage the next attempt to store comes some time later. */
  async #waitUntilStoring(): Promise<void> {
    const isWell = async (): Promise<boolean> => {
      const response = await this.#options.server.request(`/v1/sprites/${spriteName}/check`);
      return !(await response.text()).includes("failing");
    };
    const isStoring = await waitUntil(isWell, { timeoutMs: syncedWithinMs, intervalMs: 100 });
    if (!isStoring) throw new Error("the sprite does not store, although the store is back");
  }

  async #startFio(): Promise<void> {
    await this.#sprite.execFile("sh", ["-c", `pkill -x fio; ${fioScript}`]);
  }

  /** @throws when fio has ended, which it does at the first error */
  async #checkFio(): Promise<void> {
    const script = "pgrep -x fio > /dev/null || { cat ~/fio.log; exit 1; }";
    await this.#sprite.execFile("sh", ["-c", script]);
  }

  /** State that was set aside as another writer's: there is no other. */
  async #countOrphans(): Promise<number> {
    const directory = join(this.#options.server.dataDirectory, "cache/sprites", this.#spriteId);
    const names = await readdir(join(directory, "..")).catch(() => []);
    const inside = await readdir(directory).catch(() => []);
    return [...names, ...inside].filter((name) => name.includes("orphan")).length;
  }
}

/** Writes at random for ever and reads back what it wrote. */
const fioScript = [
  "rm -rf ~/fio; mkdir ~/fio; setsid fio --name=soak --directory=/home/sprite/fio --size=8m",
  "--rw=randrw --bsrange=4k-64k --ioengine=psync --fsync=32 --rate=1m,1m",
  "--verify=crc32c --verify_backlog=64 --verify_fatal=1 --time_based --runtime=36000",
  "> ~/fio.log 2>&1 < /dev/null &",
].join(" ");

/** What happens in a world, by its seed: operations of a guest and an owner, crashes, moves, forks, and an end. */
import { must } from "../../../../base/assert.ts";
import { blockSizeBytes } from "../../../block-map/geometry.ts";
import { destroyVolume } from "../../destroy.ts";
import { forkVolume } from "../../fork.ts";
import { collect, scrub } from "./audits.ts";
import { chooseAction, type Action } from "./actions.ts";
import { chooseFaults, transactionsLate } from "./faults.ts";
import { GuestModel } from "./guest-model.ts";
import { forgetMs } from "./limits.ts";
import type { Machine } from "./machine.ts";
import { attempt, type Session } from "./session.ts";
import { SimulatedStore } from "./simulated-store.ts";
import { SimulatedVolume } from "./simulated-volume.ts";
import { verifyBriefly, verifyEnd } from "./story-end.ts";
import type { World } from "./world.ts";

/** Most stories are short: what goes wrong does so within a few steps, and there is time for more of them. */
const shortStories = [2, 3, 4, 5, 6, 8];
const longStories = [16, 40];
const longShare = 0.1;

/** Longer than a request of a dead process is under way. */
const lateMs = 4_000;

/** Of one step. */
const troubleMsMax = 3_600_000;

export async function tellStory(world: World): Promise<void> {
  const { scheduler } = world;
  const story = new Story(world);
  await story.begin();
  const steps = scheduler.choose(scheduler.chance(longShare) ? longStories : shortStories);
  world.stepCount = steps;
  for (let step = 0; step < steps; step++) {
    // Who waits for the bucket, or for room, waits for as long as it takes: somebody comes and helps.
    const takeBack = scheduler.schedule(troubleMsMax, null, () => world.endTroubles());
    await story.step();
    takeBack();
    world.verifyBucket();
  }
  await story.end();
}

class Story {
  readonly #world: World;
  readonly #volumes: SimulatedVolume[] = [];
  #forkCount = 0;

  constructor(world: World) {
    this.#world = world;
    for (const machine of world.machines) {
      machine.onFailure = () => {
        for (const volume of this.#volumes) volume.noteHostCrash(machine);
      };
    }
  }

  async begin(): Promise<void> {
    const volume = new SimulatedVolume(this.#world, "v0");
    this.#volumes.push(volume);
    await volume.openOn(this.#machine());
    const share = {
      mixed: 0.2,
      power: 0,
      durable: 1,
      forks: 0,
      damage: 0,
      cuts: 0,
      full: 0.2,
      clocks: 0,
      audits: 0,
      late: 0.2,
    }[this.#world.focus];
    if (this.#world.scheduler.chance(share)) await volume.setDurability();
  }

  async step(): Promise<void> {
    const { scheduler } = this.#world;
    if (scheduler.chance(0.2)) this.#world.setFaults(chooseFaults(scheduler));
    if (scheduler.chance(0.1)) this.#world.relieveDisks();
    await this.#ghostStep();
    await this.#noticeDeaths();
    const volume = scheduler.choose(this.#volumes);
    if (volume.session === null) {
      if (scheduler.chance(0.2)) this.#machine().fail();
      if (scheduler.chance(this.#world.focus === "damage" ? 0.8 : 0.2)) volume.damage();
      return await volume.openOn(this.#machine());
    }
    this.#world.planCrash(volume.open.process, 0.12);
    await this.#act(volume);
    if (scheduler.chance(0.3)) await scheduler.sleep(scheduler.pick(2_500));
    await this.#noticeDeaths();
  }

  async #act(volume: SimulatedVolume): Promise<void> {
    const { scheduler } = this.#world;
    const actions: Readonly<Record<Action, () => Promise<unknown>>> = {
      write: () => volume.write(),
      punch: () => volume.punch(),
      read: () => volume.read(),
      flush: () => this.#flush(volume),
      sync: () => this.#sync(volume),
      checkpoint: () => volume.checkpoint(),
      restore: () => volume.restore(),
      deleteCheckpoint: () => volume.deleteCheckpoint(),
      setDurability: () => volume.setDurability(),
      forget: () => this.#forget(volume),
      close: () => volume.close(),
      kill: () => volume.kill(scheduler.chance(0.5) ? "host" : "process"),
      takeOver: () => this.#takeOver(volume),
      forkOrDestroy: () => this.#forkOrDestroy(volume),
      scrub: () => this.#scrub(volume),
      collect: () => this.#collect(volume),
      relax: () => volume.relax(),
      wakeLate: () => this.#wakeLate(volume),
      fill: async () => this.#world.fill(volume.open.process.disk),
      setClocks: async () => this.#world.setClocks(),
    };
    await actions[chooseAction(scheduler, this.#world.focus)]();
  }

  /** What was promised is looked at best when something dies right after the promise. */
  async #flush(volume: SimulatedVolume): Promise<void> {
    const { scheduler } = this.#world;
    await volume.flush();
    const share = this.#world.focus === "mixed" ? 0.3 : 0.7;
    if (volume.session === null || !scheduler.chance(share)) return;
    // Of what comes after the promise anything may be lost, but nothing that was there before.
    if (scheduler.chance(0.4)) await volume.write();
    if (volume.session === null) return;
    if (volume.durability === "durable") await volume.loseMachine();
    else await volume.kill("host");
  }

  /** So much time passes that garbage goes; there is more of it when all of the disk is overwritten before. */
  async #forget(volume: SimulatedVolume): Promise<void> {
    const { scheduler } = this.#world;
    if (scheduler.chance(0.6)) await volume.overwrite();
    await scheduler.sleep(forgetMs);
  }

  async #sync(volume: SimulatedVolume): Promise<void> {
    const { scheduler } = this.#world;
    volume.syncInBackground();
    if (scheduler.chance(0.7)) return;
    await volume.open.settle();
    await this.#noticeDeaths();
    if (volume.session !== null && scheduler.chance(0.5)) await volume.loseMachine();
  }

  /** While something is on its way to the bucket, and not named there yet. */
  async #collect(volume: SimulatedVolume): Promise<void> {
    const { scheduler } = this.#world;
    if (scheduler.chance(0.5)) this.#world.setFaults([transactionsLate(scheduler)]);
    await volume.write();
    if (volume.session !== null) volume.syncInBackground();
    await scheduler.sleep(scheduler.pick(300));
    await collect(this.#world, { prefix: volume.prefix, machine: this.#machine() });
  }

  /** What is in the bucket is sound: whatever goes on beside it, a scrub has nothing to tell. */
  async #scrub({ prefix }: SimulatedVolume): Promise<void> {
    this.#world.endStaleLists();
    const damages = await scrub(this.#world, { prefix, machine: this.#machine() });
    // A map that cannot be fetched is told of, with what the bucket said.
    const damage = damages?.find(({ reason }) => !reason.includes("injected fault"));
    if (damage !== undefined) this.#world.fail(`a scrub tells of ${damage.key}: ${damage.reason}`);
  }

  #machine(): Machine {
    return this.#world.scheduler.choose(this.#world.machines);
  }

  /** The volume is opened elsewhere while its holder stands still, or just goes on. */
  async #takeOver(volume: SimulatedVolume): Promise<void> {
    const { scheduler, machines } = this.#world;
    const { open } = volume;
    const other = machines.find((machine) => machine !== open.machine);
    if (other === undefined || this.#world.ghosts.length > 0) return;
    if (scheduler.chance(0.6)) open.process.pause();
    await volume.openOn(other);
  }

  async #wakeLate(volume: SimulatedVolume): Promise<void> {
    const { machines, ghosts } = this.#world;
    const other = machines.find((machine) => machine !== volume.open.machine);
    if (other === undefined || ghosts.length > 0) return;
    const ghost = await volume.wakeLate(other);
    if (ghost === null) return;
    ghosts.push(ghost);
    // At once, before it hears that it is too late.
    await this.#haunt(ghost, volume);
  }

  async #ghostStep(): Promise<void> {
    const { scheduler, ghosts } = this.#world;
    const [ghost] = ghosts;
    if (ghost === undefined) return;
    if (ghost.process.isPaused) ghost.process.resume();
    const volume = this.#volumes.find(({ name }) => ghost.process.name.includes(`/${name}.`));
    if (volume !== undefined && !ghost.process.isDead) await this.#haunt(ghost, volume);
    if (ghost.process.isDead || scheduler.chance(0.3)) await this.#endGhost(ghost);
  }

  /** The former holder's guest goes on, and must not be told that the bucket has it. */
  async #haunt(ghost: Session, volume: SimulatedVolume): Promise<void> {
    await volume.write(ghost);
    if (ghost.process.isDead) return;
    volume.syncInBackground(ghost);
    await this.#world.scheduler.sleep(1_500);
  }

  async #endGhost(ghost: Session): Promise<void> {
    this.#world.ghosts.splice(this.#world.ghosts.indexOf(ghost), 1);
    if (ghost.process.isDead) return;
    if (this.#world.scheduler.chance(0.5)) {
      const outcome = await ghost.attempt((engine) => engine.close({ discard: false }));
      const isSilent = outcome.kind === "done" && ghost.model.mark > (ghost.supersededAt ?? 0);
      if (isSilent) this.#world.fail(`${ghost.process.name} closed as if all were stored`);
      ghost.process.exit();
    } else ghost.process.crash("process");
  }

  /** A machine that fails takes all its processes along. */
  async #noticeDeaths(): Promise<void> {
    for (const volume of this.#volumes) {
      const process = volume.session?.process;
      if (process?.isDead === true) volume.noteDeath(await process.died);
    }
  }

  async #forkOrDestroy(volume: SimulatedVolume): Promise<void> {
    if (this.#volumes.length < 3) return await this.#fork(volume);
    await this.#destroy(volume);
  }

  /** Of its newest state in the bucket, or of a checkpoint that is there. */
  async #fork(source: SimulatedVolume): Promise<void> {
    const { scheduler } = this.#world;
    const name = `f${++this.#forkCount}`;
    // A fork of a chain whose newest transaction is not listed is one of an older state: nothing tells it.
    this.#world.endStaleLists();
    const checkpoint = source.checkpoints.anySure(scheduler);
    const id = source.open.engine
      .listCheckpoints()
      .find(({ comment }) => comment === checkpoint?.comment)?.id;
    const isOfCheckpoint = checkpoint !== null && id !== undefined && scheduler.chance(0.5);
    const since = source.model.syncedMark;
    const machine = this.#machine();
    const process = machine.start(`scratch-${name}`);
    this.#world.planCrash(process, 0.3);
    const outcome = await attempt(process, () =>
      forkVolume({
        store: new SimulatedStore(this.#world.store, process),
        from: source.prefix,
        to: `sprites/${name}`,
        forkId: name,
        checkpoint: isOfCheckpoint ? id : null,
        scratchDirectory: `${process.disk.directory}/scratch`,
        clock: this.#world.clock,
      }),
    );
    process.exit();
    if (outcome.kind === "failed") this.#world.expect(outcome.error, "fork");
    await this.#noticeDeaths();
    if (outcome.kind !== "done") return await this.#clear(`sprites/${name}`);
    const states = isOfCheckpoint ? [checkpoint.content] : source.model.storedSince(since);
    const fork = new SimulatedVolume(this.#world, name, {
      model: GuestModel.ofStored(states),
      checkpoints: source.checkpoints.copy(),
    });
    this.#volumes.push(fork);
    await fork.openOn(this.#machine());
  }

  async #destroy(volume: SimulatedVolume): Promise<void> {
    await volume.settleAndEnd();
    this.#volumes.splice(this.#volumes.indexOf(volume), 1);
    await this.#clear(volume.prefix);
  }

  /** What becomes damaged in the bucket is told of by the next scrub, before anybody reads it. */
  async #damageBucket(): Promise<void> {
    const { scheduler, store } = this.#world;
    const volume = scheduler.choose(this.#volumes);
    const keys = [...this.#world.checker.namedKeys(volume.prefix)];
    if (keys.length === 0) return;
    const key = scheduler.choose(keys);
    const bytes = must(store.contents().get(key), "what is named is there");
    // In each block, since not all of them need be named; the first has no content.
    for (let at = blockSizeBytes + scheduler.pick(blockSizeBytes); at < bytes.length;) {
      bytes[at] = (bytes[at] as number) ^ 1;
      at += blockSizeBytes;
    }
    const damages = await scrub(this.#world, { prefix: volume.prefix, machine: this.#machine() });
    if (damages === null || damages.some((damage) => damage.key === key)) return;
    this.#world.fail(`a scrub does not tell of ${key}`);
  }

  /** As whoever destroys a sprite does: again and again until it is done. */
  async #clear(prefix: string): Promise<void> {
    await this.#world.scheduler.sleep(lateMs);
    this.#world.store.settle();
    this.#world.checker.forget(prefix);
    for (let tries = 0; tries < 100; tries++) {
      if (tries > 20) this.#world.setFaults([]);
      const process = this.#machine().start("destroyer");
      this.#world.planCrash(process, 0.1);
      const store = new SimulatedStore(this.#world.store, process);
      const outcome = await attempt(process, () => destroyVolume({ store, prefix }));
      process.exit();
      if (outcome.kind === "done") return await this.#noticeDeaths();
      if (outcome.kind === "failed") this.#world.expect(outcome.error, "destroy");
      await this.#world.scheduler.sleep(lateMs);
    }
    this.#world.fail(`${prefix} cannot be destroyed`);
  }

  async end(): Promise<void> {
    const { store, scheduler } = this.#world;
    this.#world.endTroubles();
    this.#world.isCalm = true;
    for (const { session } of this.#volumes) if (session !== null) session.process.plan = null;
    store.settle();
    for (const ghost of [...this.#world.ghosts]) {
      ghost.process.resume();
      await this.#endGhost(ghost);
    }
    await this.#noticeDeaths();
    await scheduler.sleep(lateMs);
    const isThorough = this.#world.focus === "clocks" || scheduler.chance(0.2);
    for (const volume of this.#volumes) {
      const machine = this.#machine();
      if (isThorough) await verifyEnd(this.#world, volume, machine);
      else await verifyBriefly(volume, machine);
    }
    if (this.#world.focus === "audits") await this.#damageBucket();
    if (!scheduler.chance(0.25)) return;
    while (this.#volumes.length > 0) {
      const volume = scheduler.choose(this.#volumes);
      this.#volumes.splice(this.#volumes.indexOf(volume), 1);
      await this.#clear(volume.prefix);
    }
    const left = [...store.contents().keys()];
    if (left.length > 0) this.#world.fail(`destroyed volumes have left ${left.join(", ")}`);
  }
}

/** A volume in a simulated world: what a guest and its owner do with it, and what they may find afterwards. */
import { SpriteError } from "../../../../contract/errors.ts";
import { must } from "../../../../base/assert.ts";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../../../block-map/geometry.ts";
import { isFenced } from "../../../lease/fenced-error.ts";
import { VolumeEngine, type EngineOptions } from "../../engine.ts";
import { openUnclaimed } from "../../late-claim.ts";
import { OpeningVolume } from "../../opening-volume.ts";
import type { Durability } from "../../volume.ts";
import { Checkpoints } from "./checkpoints.ts";
import { chooseWrite, filled } from "./guest-writes.ts";
import { GuestModel, isSame, toState, withWrite, type DiskState } from "./guest-model.ts";
import { openTriesMax, readTriesMax, retentionMs, syncIntervalMs } from "./limits.ts";
import type { Machine } from "./machine.ts";
import type { Scheduler } from "./scheduler.ts";
import { attempt, isDiskFull, isExpected, Session, type Outcome } from "./session.ts";
import type { CrashKind, SimulatedProcess } from "./simulated-process.ts";
import { SimulatedStore } from "./simulated-store.ts";
import type { World } from "./world.ts";

/** How often a guest tries to write what did not fit. */
const fullTriesMax = 2;

export class SimulatedVolume {
  readonly name: string;
  readonly prefix: string;
  readonly #world: World;
  readonly #scheduler: Scheduler;
  readonly checkpoints: Checkpoints;
  model: GuestModel;
  durability: Durability = "local";
  session: Session | null = null;
  /** Where it was open last; what lies there is newer than the bucket. */
  #home: Machine | null = null;
  /** Others have tried to take it since. */
  #isContested = false;
  /** How the last session ended. */
  #ending: CrashKind | "closed" = "closed";

  constructor(
    world: World,
    name: string,
    start: { model: GuestModel; checkpoints: Checkpoints } | null = null,
  ) {
    this.#world = world;
    this.#scheduler = world.scheduler;
    this.name = name;
    this.prefix = `sprites/${name}`;
    this.model = start?.model ?? GuestModel.empty(this.#blockCount);
    this.checkpoints = start?.checkpoints ?? new Checkpoints();
  }

  get #blockCount(): number {
    return this.#world.unitCount * blocksPerUnit;
  }

  get #sizeBytes(): number {
    return this.#world.unitCount * unitSizeBytes;
  }

  get open(): Session {
    return must(this.session, "the volume is open");
  }

  /** Opens it there, whatever happens meanwhile. Somebody else may have it. */
  async openOn(machine: Machine): Promise<void> {
    for (let tries = 0; ; tries++) {
      if (tries > openTriesMax) this.#world.fail(`${this.name} cannot be opened any more`);
      if (tries > openTriesMax / 2) this.#world.endTroubles();
      // A machine has one process for a volume: the one before is made sure to be dead.
      this.#world.killGhosts(machine);
      const process = machine.start(this.name);
      this.#world.planCrash(process, 0.06);
      const outcome = await attempt(process, () => this.#openNow(machine, process));
      if (outcome.kind === "done") {
        const isDone = await this.#onOpened(machine, process, outcome.value);
        if (isDone) return;
        continue;
      }
      if (this.#home !== machine) this.#isContested = true;
      if (outcome.kind === "died") {
        this.#noteCrash(machine, outcome.crash);
        continue;
      }
      process.exit();
      // A former holder that goes on can be faster, and so can one before it whose request comes late.
      if (!isFenced(outcome.error)) this.#world.expect(outcome.error, `open ${this.name}`);
      await this.#scheduler.sleep(100);
    }
  }

  async #openNow(machine: Machine, process: SimulatedProcess): Promise<VolumeEngine> {
    const options = {
      ...this.#engineOptions(machine, process),
      isStillOurs: this.#isSurelyOn(machine),
    };
    if (this.#scheduler.chance(0.6)) return await VolumeEngine.open(options);
    // Its guest looks around before the map is here.
    const opening = await OpeningVolume.open(options);
    await opening.live.read(0, unitSizeBytes).catch(() => undefined);
    return await opening.engine;
  }

  /** Nobody else can have had it since: its server does not ask the bucket then. */
  #isSurelyOn(machine: Machine): boolean {
    const isSure = this.#home === machine && !this.#isContested && this.session === null;
    return isSure && this.#scheduler.chance(0.4);
  }

  #engineOptions(machine: Machine, process: SimulatedProcess): EngineOptions & { server: string } {
    return {
      store: new SimulatedStore(this.#world.store, process),
      prefix: this.prefix,
      cacheDirectory: process.disk.directory,
      cacheSizeBytesMax: this.#world.cacheUnits * unitSizeBytes,
      sizeBytes: this.#sizeBytes,
      readOnly: false,
      syncIntervalMs,
      server: machine.name,
      onProblem: () => undefined,
      clock: this.#world.clock,
      random: this.#scheduler.random,
      bootId: machine.bootId,
      retentionMs,
      inPlaceSizeBytesMin: 0,
    };
  }

  /** Looks at what is there. False when it has died meanwhile. */
  async #onOpened(
    machine: Machine,
    process: SimulatedProcess,
    engine: VolumeEngine,
  ): Promise<boolean> {
    const { model } = this;
    const session = new Session({ machine, process, engine, model });
    const found = await this.#readAll(session);
    if (found === null) {
      this.#noteCrash(machine, await process.died);
      if (this.#home !== machine) this.#isContested = true;
      return false;
    }
    const former = this.session;
    if (former !== null) await this.#supersede(former, found);
    else this.#verifyFound(machine, found);
    this.checkpoints.onOpened(engine.listCheckpoints(), {
      isCold: this.#home !== machine,
      isLongAfter: this.#world.wasSetAhead,
      fail: (problem) => this.#world.fail(`${this.name}: ${problem}`),
    });
    this.session = session;
    session.model = this.model;
    this.durability = engine.durability;
    this.#home = machine;
    this.#isContested = false;
    this.#ending = "process";
    return true;
  }

  #verifyFound(machine: Machine, found: DiskState): void {
    const isHome = this.#home === machine;
    const local = (): string | null =>
      this.model.afterCrash(found, this.#ending === "host" ? "host" : "process");
    const bucket = (): string | null => this.model.fromBucket(found);
    let problem = isHome ? local() : bucket();
    if (isHome && this.#isContested && problem !== null) problem = bucket();
    if (problem !== null) this.#world.fail(`${this.name} on ${machine.name}: ${problem}`);
  }

  /** Another machine has it now, though the former holder may not know. */
  async #supersede(former: Session, found: DiskState): Promise<void> {
    former.model = this.model.copy();
    const at = this.model.indexOf(found);
    const problem = this.model.fromBucket(found);
    if (problem !== null) this.#world.fail(`${this.name} taken over: ${problem}`);
    former.supersededAt = at;
    this.#world.ghosts.push(former);
  }

  #noteCrash(machine: Machine, kind: CrashKind): void {
    if (this.#home === machine && (kind === "host" || this.#ending !== "host")) this.#ending = kind;
  }

  /** The machine lost its power while the volume was closed, or while it was open elsewhere. */
  noteHostCrash(machine: Machine): void {
    this.#noteCrash(machine, "host");
  }

  noteDeath(crash: CrashKind): void {
    const { machine } = this.open;
    this.session = null;
    this.#noteCrash(machine, crash);
  }

  /** Null when the process died meanwhile. */
  async #readAll(session: Session): Promise<DiskState | null> {
    const outcome = await this.#patiently(session, (engine) =>
      engine.live.read(0, this.#sizeBytes),
    );
    if (outcome.kind === "died") return null;
    return toState(outcome.value, session.model.current);
  }

  /** As a guest does that gets an error and asks again. */
  async #patiently<T>(
    session: Session,
    work: (engine: VolumeEngine) => Promise<T>,
  ): Promise<Exclude<Outcome<T>, { kind: "failed" }>> {
    for (let tries = 0; ; tries++) {
      const outcome = await session.attempt(work);
      if (outcome.kind !== "failed") return outcome;
      if (tries > readTriesMax) throw outcome.error;
      this.#world.expect(outcome.error, "read");
      // A read of all of the disk needs all of its answers at once, which a bad enough bucket never gives.
      if (tries > readTriesMax / 2) this.#world.endTroubles();
      await this.#scheduler.sleep(200);
    }
  }

  async write(session = this.open): Promise<void> {
    const { scheduler } = this.#world;
    const { model } = session;
    const { offset, bytes } = chooseWrite(scheduler, {
      number: ++this.#world.writeCount,
      blockCount: this.#blockCount,
    });
    model.begin(this.#writing(model.current, offset, bytes), { isAtomic: false });
    await this.#change(session, "write", (engine) => engine.live.write(offset, bytes));
  }

  /** All of the disk gets other content. */
  async overwrite(): Promise<void> {
    for (let unit = 0; unit < this.#world.unitCount && this.session !== null; unit++) {
      const session = this.open;
      const { model } = session;
      const offset = unit * unitSizeBytes;
      const bytes = filled(unitSizeBytes, ++this.#world.writeCount);
      model.begin(this.#writing(model.current, offset, bytes), { isAtomic: false });
      await this.#change(session, "overwrite", (engine) => engine.live.write(offset, bytes));
    }
  }

  async punch(session = this.open): Promise<void> {
    const { scheduler } = this.#world;
    const { model } = session;
    const first = scheduler.pick(this.#blockCount);
    const length = Math.min(1 + scheduler.pick(40), this.#blockCount - first) * blockSizeBytes;
    const offset = first * blockSizeBytes;
    const zeros = Buffer.alloc(length);
    model.begin(this.#writing(model.current, offset, zeros), { isAtomic: false });
    await this.#change(session, "punch", (engine) => engine.live.punch(offset, length));
  }

  /** What becomes of the disk; a cut that makes room for the rest of a write comes in the middle of it. */
  #writing(state: DiskState, offset: number, bytes: Buffer): DiskState[] {
    const whole = withWrite(state, offset, bytes);
    if (!this.#world.wasFull) return [whole];
    const parts: DiskState[] = [];
    const first = blockSizeBytes - (offset % blockSizeBytes);
    for (let end = first; end < bytes.length; end += blockSizeBytes) {
      parts.push(withWrite(state, offset, bytes.subarray(0, end)));
    }
    return [...parts, whole];
  }

  /** A guest whose disk is full tries again, and in the end looks what is there: of each block the old or the new. */
  async #change(
    session: Session,
    what: string,
    work: (engine: VolumeEngine) => Promise<void>,
  ): Promise<void> {
    for (let tries = 0; ; tries++) {
      const outcome = await session.attempt(work);
      const isFull = outcome.kind === "failed" && isDiskFull(outcome.error);
      if (!isFull || !this.#world.wasFull || session !== this.session) {
        this.#conclude(session, outcome, what);
        return;
      }
      if (tries >= fullTriesMax) break;
      await this.#scheduler.sleep(500);
    }
    if (this.#scheduler.chance(0.5)) session.process.disk.relieve();
    const found = await this.#readAll(session);
    if (found === null) return this.noteDeath(await session.process.died);
    const problem = session.model.afterCrash(found, "process");
    if (problem !== null) this.#world.fail(`${this.name} on a full disk: ${problem}`);
  }

  async read(session = this.open): Promise<void> {
    const { scheduler } = this.#world;
    const first = scheduler.pick(this.#blockCount);
    const count = Math.min(1 + scheduler.pick(32), this.#blockCount - first);
    const [offset, length] = [first * blockSizeBytes, count * blockSizeBytes];
    const outcome = await session.attempt((engine) => engine.live.read(offset, length));
    if (!this.#conclude(session, outcome, "read") || outcome.kind !== "done") return;
    const expected = Buffer.concat(session.model.current.slice(first, first + count));
    if (!expected.equals(outcome.value)) this.#world.fail(`a read at block ${first} is wrong`);
  }

  async flush(session = this.open): Promise<void> {
    const { mark } = session.model;
    const { model } = session;
    const isDurable = session.engine.durability === "durable" && !session.isRelaxed;
    const outcome = await session.attempt((engine) => engine.live.flush());
    if (!this.#conclude(session, outcome, "flush") || outcome.kind !== "done") return;
    model.flushedTo(mark);
    if (isDurable) this.#promiseStored(session, model, mark);
  }

  /** Settles later; the guest goes on meanwhile. */
  syncInBackground(session = this.open): void {
    const { model } = session;
    const { mark } = model;
    session.inBackground(
      session
        .attempt((engine) => engine.sync())
        .then((outcome) => {
          if (outcome.kind === "died") return;
          if (outcome.kind === "done") this.#promiseStored(session, model, mark);
          else this.#expectFailure(session, outcome.error, "sync");
        }),
    );
  }

  #promiseStored(session: Session, model: GuestModel, mark: number): void {
    const { supersededAt } = session;
    if (supersededAt === null) {
      model.flushedTo(mark);
      model.syncedTo(mark);
    } else if (mark > supersededAt) {
      this.#world.fail(`${session.process.name} says that it has stored what another overtook`);
    }
  }

  async checkpoint(): Promise<void> {
    const session = this.open;
    const comment = `#${++this.#world.writeCount}`;
    const { mark, current } = session.model;
    const options = { comment, isAuto: false, isPreRestore: this.#scheduler.chance(0.1) };
    this.checkpoints.begin(comment, current, options);
    const outcome = await session.attempt(async (engine) => {
      const { completed } = await engine.beginCheckpoint(options);
      return { completed };
    });
    if (!this.#conclude(session, outcome, "begin checkpoint") || outcome.kind !== "done") return;
    const { completed } = outcome.value;
    const { model } = session;
    session.inBackground(
      attempt(session.process, () => completed).then((ended) => {
        if (ended.kind === "died") return;
        if (ended.kind === "failed") return this.#expectFailure(session, ended.error, "checkpoint");
        if (session.supersededAt === null) this.checkpoints.confirm(comment);
        this.#promiseStored(session, model, mark);
      }),
    );
  }

  async deleteCheckpoint(): Promise<void> {
    const session = this.open;
    const record = this.#anyCheckpoint(session);
    if (record === null) return;
    const before = this.checkpoints.beginDelete(record.comment);
    const { mark } = session.model;
    const outcome = await session.attempt((engine) => engine.deleteCheckpoint(record.id));
    if (outcome.kind === "failed" && outcome.error.message.includes("in use")) {
      return this.checkpoints.keep(record.comment, before);
    }
    if (!this.#conclude(session, outcome, "delete checkpoint") || outcome.kind !== "done") return;
    this.checkpoints.gone(record.comment);
    this.#promiseStored(session, session.model, mark);
  }

  async restore(): Promise<void> {
    const session = this.open;
    await session.settle();
    if (session.process.isDead) return this.noteDeath(await session.process.died);
    const record = this.#anyCheckpoint(session);
    if (record === null) return;
    const content = this.checkpoints.contentOf(record.comment);
    session.model.begin([content], { isAtomic: true });
    const outcome = await session.attempt((engine) => engine.restore(record.id));
    if (outcome.kind === "failed") {
      session.model.undone();
      this.#expectFailure(session, outcome.error, "restore");
      return;
    }
    if (!this.#conclude(session, outcome, "restore")) return;
    session.model.flushedTo(session.model.mark);
    await this.verify();
  }

  async setDurability(): Promise<void> {
    const session = this.open;
    const next: Durability = session.engine.durability === "local" ? "durable" : "local";
    const outcome = await session.attempt((engine) => engine.setDurability(next));
    this.#conclude(session, outcome, "set durability");
    this.durability = session.engine.durability;
  }

  /** Nobody's programs run for a while: what they are told is written need not be in the bucket. Or they do again. */
  async relax(): Promise<void> {
    const session = this.open;
    session.isRelaxed = !session.isRelaxed;
    const { isRelaxed } = session;
    const outcome = await session.attempt(async (engine) => engine.relaxFlushes(isRelaxed));
    this.#conclude(session, outcome, "relax flushes");
  }

  /**
   * A machine that has had it before believes that it still has, and goes on without asking the bucket: as one does whose
   * agent is replaced under a running guest, after it stood still. Null when what lies there does not say so.
   */
  async wakeLate(machine: Machine): Promise<Session | null> {
    const process = machine.start(this.name);
    this.#world.planCrash(process, 0.06);
    const options = this.#engineOptions(machine, process);
    const outcome = await attempt(process, async () => {
      const state = await openUnclaimed({ ...options, clock: this.#world.clock });
      return state === null ? null : await VolumeEngine.open(options, state);
    });
    if (outcome.kind === "failed") this.#world.expect(outcome.error, `wake ${this.name} late`);
    if (outcome.kind !== "done" || outcome.value === null) {
      process.exit();
      return null;
    }
    // What it finds is of no interest: what it writes must not get into the bucket.
    const model = GuestModel.ofStored([this.model.current]);
    const session = new Session({ machine, process, engine: outcome.value, model });
    session.supersededAt = 0;
    return session;
  }

  /** Reads everything, checkpoints too. */
  async verify(): Promise<void> {
    const session = this.session;
    if (session === null) return;
    const found = await this.#readAll(session);
    if (found === null) return this.noteDeath(await session.process.died);
    if (!isSame(found, session.model.current)) {
      this.#world.fail(`${this.name} is not what it was: ${session.model.difference(found)}`);
    }
    for (const { id, comment } of session.engine.listCheckpoints()) {
      const outcome = await this.#patiently(session, (engine) =>
        engine.showCheckpoint(id).read(0, this.#sizeBytes),
      );
      if (outcome.kind === "died") return this.noteDeath(outcome.crash);
      const content = this.checkpoints.contentOf(comment);
      if (!isSame(toState(outcome.value, content), content)) {
        this.#world.fail(`checkpoint ${id} of ${this.name} has changed`);
      }
    }
  }

  /** Ends the session in order, as far as the bucket lets it. */
  async close(): Promise<void> {
    const session = this.open;
    const { mark } = session.model;
    const outcome = await session.attempt((engine) => engine.close({ discard: false }));
    await session.settle();
    if (outcome.kind === "died") return this.noteDeath(outcome.crash);
    this.session = null;
    session.process.exit();
    if (outcome.kind === "done") {
      this.#promiseStored(session, session.model, mark);
      this.#ending = "closed";
      return;
    }
    // The loop may have been stopped in the middle of what it did; what is there is there.
    this.#ending = "process";
    const cause = (outcome.error.cause as Error | undefined) ?? outcome.error;
    const isLate = cause instanceof SpriteError && cause.code === "deadline_exceeded";
    if (!isLate) this.#world.expect(cause, "close");
  }

  /** Kills the process, or its machine. */
  async kill(kind: CrashKind): Promise<void> {
    const { process } = this.open;
    process.crash(kind);
    this.noteDeath(await process.died);
  }

  /** Of a volume that was closed in order everything is in the bucket, whatever happens to what lies here. */
  damage(): void {
    if (this.#ending === "closed") this.#home?.disk(this.name).damage();
  }

  /** The machine burns down: only the bucket is left. */
  async loseMachine(): Promise<void> {
    const { disk } = this.open.process;
    await this.kill("process");
    disk.wipe();
    this.#home = null;
  }

  get lastEnding(): CrashKind | "closed" {
    return this.#ending;
  }

  /** Its owner has no more use for it. */
  async settleAndEnd(): Promise<void> {
    const session = this.session;
    if (session === null) return;
    this.session = null;
    await session.attempt((engine) => engine.close({ discard: true }));
    session.process.exit();
  }

  #anyCheckpoint(session: Session): { id: string; comment: string } | null {
    const records = session.engine.listCheckpoints();
    return records.length === 0 ? null : this.#scheduler.choose(records);
  }

  /** False when the session is over. */
  #conclude(session: Session, outcome: Outcome<unknown>, what: string): boolean {
    if (outcome.kind === "done") {
      session.model.done();
      return true;
    }
    if (outcome.kind === "died") {
      if (session === this.session) this.noteDeath(outcome.crash);
      return false;
    }
    session.model.undone();
    this.#expectFailure(session, outcome.error, what);
    return false;
  }

  #expectFailure(session: Session, error: Error, what: string): void {
    const isClosed = error instanceof SpriteError && error.code === "unavailable";
    if (session.supersededAt !== null && (isFenced(error) || isClosed)) return;
    // What its old map names may have gone long since.
    if (session.supersededAt !== null && /segment \S+ is missing/.test(String(error))) return;
    if (isClosed || isExpected(error)) return;
    if (this.#world.wasFull && isDiskFull(error)) return;
    // Whoever is taking the volume over may have been here already, and died of something else.
    if (isFenced(error) && this.#isContested) return;
    this.#world.expect(error, what);
  }
}

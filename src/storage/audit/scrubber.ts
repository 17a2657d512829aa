/** One pass through a bucket: the databases, then every volume, each object read and verified. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import type { LeaseClock } from "../lease/clock.ts";
import { databaseNames } from "../litestream/restore-missing.ts";
import { verifyChain } from "../litestream/verify.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { listVolumePrefixes } from "./bucket-listing.ts";
import { damagesMax, positionIntervalMs } from "./limits.ts";
import { PacedStore } from "./paced-store.ts";
import { beginPass, readPosition, writePosition, type ScrubPosition } from "./scrub-position.ts";
import { scrubVolume, type Damage } from "./scrub-volume.ts";

export interface ScrubberOptions {
  store: ObjectStore;
  /** Bytes a second; Infinity for as fast as it goes. */
  rateBytes: number;
  /** A local file in which the position is kept; null keeps none. */
  positionPath: string | null;
  /** Only this volume. */
  volume: string | null;
  clock: LeaseClock;
  /** Each is told once a pass. */
  onDamage: (damage: Damage) => void;
  signal?: AbortSignal | undefined;
}

/**
 * Goes on where an earlier pass stopped, or begins one; returns when it is through.
 * @throws SpriteError storage_failure: the bucket does not answer; the position is kept. The signal's reason.
 */
export async function scrubBucket(options: ScrubberOptions): Promise<ScrubPosition> {
  const scratch = await mkdtemp(join(tmpdir(), "opensprites-scrub-"));
  const pass = new Pass(options, join(scratch, "map.db"));
  try {
    await pass.resume();
    await pass.run();
  } finally {
    await rm(scratch, { recursive: true, force: true });
    await pass.save();
  }
  return pass.position;
}

class Pass {
  position: ScrubPosition;
  readonly #options: ScrubberOptions;
  readonly #store: PacedStore;
  readonly #mapPath: string;
  #savedAtMs = -Infinity;
  #readBytesBefore = 0;

  constructor(options: ScrubberOptions, mapPath: string) {
    const { store, rateBytes, clock } = options;
    this.#options = options;
    this.#mapPath = mapPath;
    this.#store = new PacedStore({ store, rateBytes, clock });
    this.position = beginPass(clock.nowMs());
  }

  async resume(): Promise<void> {
    const { positionPath } = this.#options;
    const found = positionPath === null ? null : await readPosition(positionPath);
    if (found === null || found.endedAtMs !== null) return;
    this.position = found;
    this.#readBytesBefore = found.readBytes;
  }

  async run(): Promise<void> {
    const { volume, signal, clock } = this.#options;
    if (this.position.volume === null && volume === null) await this.#verifyDatabases();
    const begun = this.position.volume;
    if (begun !== null) await this.#scrub(begun, this.position.segment);
    const rest =
      volume === null
        ? listVolumePrefixes(this.#store, { after: begun, signal })
        : [volume].filter((prefix) => prefix !== begun);
    for await (const prefix of rest) await this.#scrub(prefix, 0);
    Object.assign(this.position, { volume: null, segment: 0, endedAtMs: clock.nowMs() });
  }

  async save(): Promise<void> {
    const { positionPath, clock } = this.#options;
    this.position.readBytes = this.#readBytesBefore + this.#store.readBytes;
    this.#savedAtMs = clock.monotonicMs();
    if (positionPath !== null) await writePosition(positionPath, this.position);
  }

  async #scrub(prefix: string, after: number): Promise<void> {
    const { signal, clock } = this.#options;
    signal?.throwIfAborted();
    Object.assign(this.position, { volume: prefix, segment: after });
    await scrubVolume({
      ...{ store: this.#store, prefix, signal, clock, mapPath: this.#mapPath, after },
      onSegment: async (segment) => {
        this.position.segment = segment;
        if (clock.monotonicMs() - this.#savedAtMs >= positionIntervalMs) await this.save();
      },
      onDamage: (damage) => this.#tell(damage),
    });
  }

  async #verifyDatabases(): Promise<void> {
    const { signal } = this.#options;
    for (const name of await databaseNames(this.#store, "orgs", signal)) {
      const volume = `orgs/${name}`;
      // A second look: the chain's writer merges files, and what was listed may be gone a moment later.
      if ((await this.#problemsOf(volume)).length === 0) continue;
      for (const reason of await this.#problemsOf(volume)) {
        this.#tell({ volume, key: volume, reason, files: [], places: [] });
      }
    }
  }

  async #problemsOf(prefix: string): Promise<string[]> {
    const { signal } = this.#options;
    try {
      return (await verifyChain({ store: this.#store, prefix, signal })).problems;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof SpriteError)) throw error;
      // Its server died before the first transaction, or deleted it since.
      return error.code === "not_found" ? [] : [error.message];
    }
  }

  #tell(damage: Damage): void {
    const { damages } = this.position;
    // A volume that is gone on with after a kill has its last segments read twice.
    const isKnown = damages.some(
      ({ volume, key, reason }) =>
        volume === damage.volume && key === damage.key && reason === damage.reason,
    );
    if (isKnown) return;
    if (damages.length < damagesMax) damages.push(damage);
    this.#options.onDamage(damage);
  }
}

/**
 * What is done with a file system that does not mount (storage.md section 8.8), least first: mount
 * again; let e2fsck do what loses nothing; say what else there is, and leave the choice to the user. The
 * state as it was stays as a checkpoint before anything is written, and nothing here ever formats.
 */
import type { Log } from "../base/log.ts";
import { SpriteError } from "../contract/errors.ts";
import type { CheckpointRecord } from "../storage/volume/volume.ts";
import type { Outlook, Repair } from "./file-system-check.ts";

/** What the policy needs of the disk, which is attached by the first mount that succeeds. */
export interface MountSteps {
  /** Replays the journal. */
  mount(): Promise<void>;
  /** Looks whether a repair can be tried, and writes nothing. */
  outlook(repair: Repair): Promise<Outlook>;
  repair(repair: Repair): Promise<void>;
  /** Keeps the state there is as an automatic checkpoint. */
  keep(comment: string): Promise<CheckpointRecord>;
  /** Makes a checkpoint's state the disk's. */
  goBack(id: string): Promise<void>;
  markUnmountable(id: string): Promise<void>;
  /** Newest first. */
  listCheckpoints(): Promise<CheckpointRecord[]>;
  /** The checkpoint that the disk descends from. */
  sourceId(): Promise<string | null>;
}

const keptComment = "before repair";

/** A state that does not mount, as a rule. */
export function isKeptByRepair({ isAuto, comment }: CheckpointRecord): boolean {
  return isAuto && comment === keptComment;
}

/** @throws SpriteError start_failed: with the choices there are */
export async function mountOrRepair(steps: MountSteps, log: Log): Promise<void> {
  try {
    await mountPatiently(steps);
    return;
  } catch (error) {
    log.error({ err: error }, "the file system does not mount");
    if (await wasTried(steps)) throw await offer(steps, error);
    await tryRepair(steps, { repair: "safe", log, cause: error });
  }
}

/**
 * The repair that may lose files, which only its user asks for. The disk is detached.
 * @throws SpriteError start_failed: the disk is as it was
 */
export async function repairThoroughly(steps: MountSteps, log: Log): Promise<CheckpointRecord> {
  return await tryRepair(steps, { repair: "thorough", log, cause: undefined });
}

/** A first mount may end in the middle of a replay, for a reason that is over now. */
async function mountPatiently(steps: MountSteps): Promise<void> {
  try {
    await steps.mount();
  } catch {
    await steps.mount();
  }
}

/** Resolves with what was kept. */
async function tryRepair(
  steps: MountSteps,
  { repair, log, cause }: { repair: Repair; log: Log; cause: unknown },
): Promise<CheckpointRecord> {
  const outlook = await steps.outlook(repair);
  if (outlook === "hopeless") throw await offer(steps, cause);
  if (outlook === "unreadable") {
    const message = "the sprite's disk cannot be read, and is left as it is: try again later";
    throw new SpriteError("start_failed", message, { cause, details: await choices(steps) });
  }
  const kept = await steps.keep(keptComment);
  try {
    await steps.repair(repair);
    await steps.mount();
  } catch (error) {
    log.error({ err: error, repair, kept: kept.id }, "the repair failed: going back");
    await steps.goBack(kept.id);
    await steps.markUnmountable(kept.id);
    throw await offer(steps, error);
  }
  log.warn({ repair, kept: kept.id }, "the file system was repaired");
  return kept;
}

/** The state there is comes from a repair that failed: trying it again would only keep it once more. */
async function wasTried(steps: MountSteps): Promise<boolean> {
  const sourceId = await steps.sourceId();
  const source = (await steps.listCheckpoints()).find(({ id }) => id === sourceId);
  return source?.health === "mount_failed" && isKeptByRepair(source);
}

async function offer(steps: MountSteps, cause: unknown): Promise<SpriteError> {
  const details = await choices(steps);
  const { checkpoints } = details;
  const restore =
    checkpoints.length === 0 ? "" : `, or \`sprite restore\` goes back: ${checkpoints.join(" ")}`;
  const message =
    "the sprite's file system is damaged. `sprite repair` tries to save it and keeps " +
    `the state there is as a checkpoint; files may be lost${restore}`;
  return new SpriteError("start_failed", message, { cause, details });
}

/** Those that would not mount either are no choice. */
async function choices(
  steps: MountSteps,
): Promise<{ choices: readonly string[]; checkpoints: string[] }> {
  const checkpoints = (await steps.listCheckpoints())
    .filter((record) => record.health === "" && !isKeptByRepair(record))
    .map(({ id }) => id);
  return { choices: checkpoints.length === 0 ? ["repair"] : ["repair", "restore"], checkpoints };
}

/** `spritesd gc`: what of a bucket nobody needs, and what is missing of what somebody needs. */
import { InvalidArgumentError, Option, type Command } from "commander";
import { join } from "node:path";
import { SpriteError } from "../contract/errors.ts";
import { auditBucket, type AuditedVolume } from "../storage/audit/bucket-audit.ts";
import { listStrays } from "../storage/audit/bucket-listing.ts";
import type { Registered } from "../storage/audit/disposal.ts";
import { deletedBytesMaxDefault, graceMsMin, keysNamedMax } from "../storage/audit/limits.ts";
import { listOrphans } from "../storage/audit/local-orphans.ts";
import { readStoreTime } from "../storage/audit/store-time.ts";
import { systemClock } from "../storage/lease/clock.ts";
import { isServerAlive } from "../storage/lease/server-record.ts";
import type { ObjectStore } from "../storage/object-store/object-store.ts";
import { openExisting } from "./database-commands.ts";
import { summaryText, orphanText, strayText, volumeText } from "./gc-text.ts";
import { parseSize } from "./options.ts";
import { readRegistered } from "./registered.ts";
import { parseVolume } from "./scrub-command.ts";

interface Values {
  bucket: string;
  data?: string;
  dryRun?: true;
  grace: number;
  budget: number;
  volume?: string;
  volumes?: true;
  images?: true;
  all?: true;
}

/** @param write what the command prints goes there */
export function addGcCommand(program: Command, write: (text: string) => void): void {
  program
    .command("gc")
    .description(
      "look for what leaked in the bucket, and delete it; fails when anything that is needed is missing. Safe while sprites run",
    )
    .requiredOption("--bucket <url>", "the object store", process.env["SPRITES_BUCKET"])
    .option("--dry-run", "delete nothing, and say what would go")
    .addOption(
      new Option("--grace <time>", "how long what nobody names is kept")
        .argParser(parseDuration)
        .default(graceMsMin, "15m"),
    )
    .addOption(
      new Option("--budget <size>", "delete this much at most")
        .argParser(parseSize)
        .default(deletedBytesMaxDefault, "1T"),
    )
    .option("--volume <prefix>", "only of this volume, such as sprites/4f1c...", parseVolume)
    .option(
      "--volumes",
      "delete disks too that no registry names and nothing has touched for a day",
    )
    .option("--images", "delete images too that no sprite has; not while a server runs")
    .option("--data <dir>", "list what was set aside below this data directory, too")
    .option("--all", "list every volume, and not only those with something to tell")
    .action(async (values: Values) => {
      const store = await openExisting(values.bucket);
      await collectGarbage(store, values, write);
    });
}

/** @throws SpriteError storage_failure when anything is missing or damaged, after all was looked at */
async function collectGarbage(
  store: ObjectStore,
  values: Values,
  write: (text: string) => void,
): Promise<void> {
  const { dryRun: isDryRun = false, volumes = false, images = false } = values;
  if (images) await refuseWhileServersRun(store);
  const { registered, problem } = await registeredOrProblem(store);
  if (problem !== null) write(`${problem}\n`);
  else if (registered === null)
    write("the bucket has no registry: nobody can tell whose disks are whose\n");
  const summary = await auditBucket({
    ...{ store, isDryRun, registered, graceMs: values.grace, bytesMax: values.budget },
    ...{ prefix: values.volume ?? null, nowMs: await timeToJudgeBy(store, isDryRun) },
    ...{ withVolumes: volumes, withImages: images },
    onVolume: (volume) => write(isWorthTelling(volume) || values.all ? volumeText(volume) : ""),
  });
  if (values.volume === undefined) write(await straysOf(store));
  if (values.data !== undefined) {
    const orphans = await listOrphans(join(values.data, "cache"));
    for (const orphan of orphans) write(orphanText(orphan, Date.now()));
  }
  write(summaryText(summary, isDryRun));
  const problems = summary.problems + (problem === null ? 0 : 1);
  if (problems > 0) throw new SpriteError("storage_failure", `gc found ${problems} problems`);
}

/** A dry run may be made by somebody who can only read, and deletes nothing. */
async function timeToJudgeBy(store: ObjectStore, isDryRun: boolean): Promise<number> {
  try {
    return await readStoreTime(store, Date.now);
  } catch (error) {
    if (!isDryRun) throw error;
    return Date.now();
  }
}

function isWorthTelling(volume: AuditedVolume): boolean {
  const { condition, problems, leaked, surplus, counts, disposal } = volume;
  const isOrdinary = condition === "held" || condition === "released";
  return (
    !isOrdinary ||
    problems.length > 0 ||
    leaked.length > 0 ||
    surplus.length > 0 ||
    counts.unknown.count > 0 ||
    (disposal !== null && disposal !== "young")
  );
}

/** A leak check goes on without the registry; only whole volumes stay then. */
async function registeredOrProblem(
  store: ObjectStore,
): Promise<{ registered: Registered | null; problem: string | null }> {
  try {
    return { registered: await readRegistered(store), problem: null };
  } catch (error) {
    if (!(error instanceof SpriteError)) throw error;
    return { registered: null, problem: `the registry cannot be read: ${error.message}` };
  }
}

/** Which image a server gives to new sprites stands nowhere in the bucket. */
async function refuseWhileServersRun(store: ObjectStore): Promise<void> {
  const alive: string[] = [];
  const looks: Promise<void>[] = [];
  for await (const { key } of store.list("servers/")) {
    const server = /^servers\/([0-9a-z-]+)\.json$/.exec(key)?.[1];
    if (server === undefined) continue;
    const look = isServerAlive({ store, server, clock: systemClock });
    looks.push(look.then((isAlive) => void (isAlive && alive.push(server))));
  }
  await Promise.all(looks);
  if (alive.length === 0) return;
  const message = `server ${alive.join(", ")} runs and may be about to use an image: stop it first`;
  throw new SpriteError("conflict", message);
}

async function straysOf(store: ObjectStore): Promise<string> {
  const keys: string[] = [];
  for await (const { key } of listStrays(store)) {
    if (keys.push(key) >= keysNamedMax) break;
  }
  return strayText(keys);
}

function parseDuration(text: string): number {
  const match = /^(\d+)([smhd])$/.exec(text);
  const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? ""];
  if (unitMs === undefined) throw new InvalidArgumentError("give a time such as 15m or 2h");
  const durationMs = Number(match?.[1]) * unitMs;
  if (durationMs >= graceMsMin) return durationMs;
  throw new InvalidArgumentError("give 15m or more: states so young can be restored still");
}

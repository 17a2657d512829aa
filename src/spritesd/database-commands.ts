/** `spritesd db`: what an operator does with the databases that are in the bucket. */
import { existsSync } from "node:fs";
import { InvalidArgumentError, type Command } from "commander";
import { SpriteError } from "../contract/errors.ts";
import { listChain, withHeaderTimes } from "../storage/litestream/chain-files.ts";
import type { ChainFile } from "../storage/litestream/database-replica.ts";
import { restoreDatabase } from "../storage/litestream/restore.ts";
import { databaseNames } from "../storage/litestream/restore-missing.ts";
import { verifyChain } from "../storage/litestream/verify.ts";
import type { ObjectStore } from "../storage/object-store/object-store.ts";
import { openObjectStore, schemeOf } from "../storage/object-store/open-object-store.ts";

interface Values {
  bucket: string;
  from?: string;
  to?: string;
  txid?: number;
  time?: number;
}

/** Databases and the prefix that they are below, when none is named. */
const registryPrefix = "orgs";

/** @param write what the commands print goes there */
export function addDatabaseCommands(program: Command, write: (text: string) => void): void {
  const db = program.command("db").description("look after the databases that are in the bucket");
  const common = (command: Command): Command =>
    command
      .requiredOption("--bucket <url>", "the object store", process.env["SPRITES_BUCKET"])
      .option("--from <path>", "of one database in the bucket, such as orgs/acme.db", parsePath);
  common(db.command("list"))
    .description("list the databases, or what one database can be restored to")
    .action(async ({ bucket, from }: Values) => {
      const store = await openExisting(bucket);
      write(from === undefined ? await listDatabases(store) : await listFiles(store, from));
    });
  common(db.command("verify"))
    .description(
      "read every file again and restore the newest state for a trial; fails when anything is wrong",
    )
    .action(async ({ bucket, from }: Values) => {
      const store = await openExisting(bucket);
      const prefixes = from === undefined ? await registryPrefixes(store) : [from];
      await verifyAll(store, prefixes, write);
    });
  common(db.command("restore"))
    .description("write one database to a new file, as of now, a transaction, or a time")
    .requiredOption("--to <file>", "where to; the file must not exist")
    .option("--txid <number>", "as of this transaction", parseTxid)
    .option("--time <time>", "as of this time, such as 2026-11-24T09:00:00Z", parseTime)
    .action(async (values: Values) => write(await restore(values)));
}

/** Opening a directory as a store makes it, which would turn a slip of the pen into an empty bucket. */
export async function openExisting(bucket: string): Promise<ObjectStore> {
  if (schemeOf(bucket) === null && !existsSync(bucket)) {
    throw new SpriteError("not_found", `there is no bucket ${bucket}`);
  }
  return await openObjectStore(bucket);
}

async function listDatabases(store: ObjectStore): Promise<string> {
  const lines: string[] = [];
  for (const prefix of await registryPrefixes(store)) {
    const files = await listChain(store, prefix);
    const newestTxid = Math.max(0, ...files.map((file) => file.maxTxid));
    const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    lines.push(
      `${prefix}  newest transaction ${newestTxid}, ${files.length} files, ${sizeBytes} bytes\n`,
    );
  }
  return lines.length === 0 ? "no databases\n" : lines.join("");
}

async function registryPrefixes(store: ObjectStore): Promise<string[]> {
  const names = await databaseNames(store, registryPrefix);
  return names.map((name) => `${registryPrefix}/${name}`);
}

async function listFiles(store: ObjectStore, prefix: string): Promise<string> {
  const listed = await listChain(store, prefix);
  if (listed.length === 0) throw new SpriteError("not_found", `the bucket has no ${prefix}`);
  const files = await withHeaderTimes(store, prefix, { files: listed });
  const states = Map.groupBy(files, (file) => file.maxTxid);
  const lines = [...states]
    .toSorted(([one], [other]) => one - other)
    .map(([txid, of]) => `${txid}  ${timeOf(of)}  ${of.map(nameOf).join(", ")}\n`);
  return `transaction  time  files\n${lines.join("")}`;
}

function timeOf(files: readonly ChainFile[]): string {
  return new Date(Math.max(...files.map((file) => file.createdAtMs))).toISOString();
}

function nameOf({ level, minTxid, maxTxid }: ChainFile): string {
  return minTxid === maxTxid ? `level ${level}` : `level ${level} from ${minTxid}`;
}

/** @throws SpriteError storage_failure when anything is wrong with any, after all were looked at */
async function verifyAll(
  store: ObjectStore,
  prefixes: readonly string[],
  write: (text: string) => void,
): Promise<void> {
  let problemCount = 0;
  for (const prefix of prefixes) {
    const { files, sizeBytes, newestTxid, problems } = await verifyChain({ store, prefix });
    const verdict = problems.length === 0 ? "ok" : "DAMAGED";
    write(`${prefix}  ${verdict}: transaction ${newestTxid}, ${files} files, ${sizeBytes} bytes\n`);
    for (const problem of problems) write(`  ${problem}\n`);
    problemCount += problems.length;
  }
  if (problemCount === 0) return;
  throw new SpriteError("storage_failure", `verify found ${problemCount} problems`);
}

async function restore({ bucket, from, to, txid, time }: Values): Promise<string> {
  if (from === undefined || to === undefined) {
    throw new SpriteError("invalid_request", "name the database with --from, such as orgs/acme.db");
  }
  if (txid !== undefined && time !== undefined) {
    throw new SpriteError("invalid_request", "give --txid or --time, not both");
  }
  const target =
    txid !== undefined
      ? ({ kind: "txid", txid } as const)
      : time !== undefined
        ? ({ kind: "time", timeMs: time } as const)
        : ({ kind: "latest" } as const);
  const store = await openExisting(bucket);
  const restored = await restoreDatabase({ store, prefix: from, target, path: to });
  const at = new Date(restored.timestampMs).toISOString();
  return `restored ${from} as of transaction ${restored.txid}, ${at}, to ${to}\n`;
}

function parsePath(text: string): string {
  const path = text.replace(/^\/+|\/+$/g, "");
  if (path === "") throw new InvalidArgumentError("give a path such as orgs/acme.db");
  return path;
}

function parseTxid(text: string): number {
  const txid = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(txid) && txid > 0) return txid;
  throw new InvalidArgumentError("give a number from 1 on");
}

/** Milliseconds since the epoch. A time without a zone would mean another one on another machine. */
function parseTime(text: string): number {
  const isWhole = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text);
  const timeMs = isWhole ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(timeMs)) return timeMs;
  throw new InvalidArgumentError("give date, time and zone, such as 2026-11-24T09:00:00Z");
}

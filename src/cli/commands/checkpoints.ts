import type { Checkpoint } from "../api-types.ts";
import type { Cli } from "../cli.ts";
import { followStream, withCheckpoint } from "../checkpoint-calls.ts";
import { formatBytes, formatFields, formatTable, printable, relativeTime } from "../text.ts";

export async function create(cli: Cli): Promise<number> {
  const name = cli.spriteName();
  const { comment } = cli.options;
  const body = comment === undefined ? {} : { comment };
  const message = await cli.forSprite(name, (path) =>
    followStream(cli, {
      path: `${path}/checkpoint`,
      body,
      waitText: "Creating checkpoint",
      failure: "no checkpoint was made",
    }),
  );
  const id = /\bv\d+\b/.exec(message)?.[0];
  if (!cli.isJson) {
    cli.print(`${printable(message)}\n`);
    if (id !== undefined) cli.note(`To come back to it:  sprite restore ${id}\n`);
    return 0;
  }
  cli.printJson(id === undefined ? { message } : await fetchCheckpoint(cli, { name, id }));
  return 0;
}

export async function list(cli: Cli): Promise<number> {
  const name = cli.spriteName();
  const query: [string, string][] = [];
  if (cli.options.history !== undefined) query.push(["history", cli.options.history]);
  if (cli.options.includeAuto === true) query.push(["includeAuto", "true"]);
  const checkpoints = await cli.spin("Listing checkpoints", () =>
    cli.forSprite(name, (path) =>
      cli.client.json<Checkpoint[]>("GET", `${path}/checkpoints`, { query }),
    ),
  );
  if (cli.isJson) cli.printJson(checkpoints);
  else if (checkpoints.length === 0) {
    cli.note(`${name} has no checkpoints. To make one:  sprite checkpoint create\n`);
  } else cli.print(checkpointTable(checkpoints));
  return 0;
}

export async function info(cli: Cli, args: readonly string[]): Promise<number> {
  const checkpoint = await fetchCheckpoint(cli, { name: cli.spriteName(), id: args[0] ?? "" });
  if (cli.isJson) {
    cli.printJson(checkpoint);
    return 0;
  }
  const fields: [string, string][] = [
    ["Id", printable(checkpoint.id)],
    ["Created", `${checkpoint.create_time} (${relativeTime(checkpoint.create_time, new Date())})`],
    ["Comment", printable(checkpoint.comment ?? "") || "-"],
    ["Made", checkpoint.is_auto === true ? "automatically" : "by hand"],
    ["Source", checkpoint.source_id ?? "-"],
    ["History", (checkpoint.history ?? []).join(" ") || "-"],
    ["Health", checkpoint.health || "good"],
    ...sizeFields(checkpoint),
  ];
  cli.print(formatFields(fields));
  return 0;
}

/** An older server says nothing of these. */
function sizeFields({ size_bytes, unique_bytes, synced, sync }: Checkpoint): [string, string][] {
  const fields: [string, string][] = [];
  if (size_bytes !== undefined) fields.push(["Size", formatBytes(size_bytes)]);
  if (unique_bytes !== undefined) {
    fields.push(["Unique", `${formatBytes(unique_bytes)}, which deleting it would free`]);
  }
  if (synced !== undefined)
    fields.push(["Synced", synced ? "yes" : "no: on the server's disk only"]);
  if (sync?.synced_at) fields.push(["Stored until", sync.synced_at]);
  if (sync?.sync_problem) fields.push(["Problem", printable(sync.sync_problem)]);
  if (sync?.orphan) fields.push(["Put aside at", printable(sync.orphan)]);
  return fields;
}

export async function remove(cli: Cli, args: readonly string[]): Promise<number> {
  const id = args[0] ?? "";
  await withCheckpoint(cli, { name: cli.spriteName(), id }, (path) =>
    cli.spin(`Deleting ${id}`, () => cli.client.json<unknown>("DELETE", path)),
  );
  if (cli.isJson) cli.printJson({ id, deleted: true });
  else cli.print(`Deleted checkpoint ${id}.\n`);
  return 0;
}

async function fetchCheckpoint(
  cli: Cli,
  wanted: { name: string; id: string },
): Promise<Checkpoint> {
  return await withCheckpoint(cli, wanted, (path) =>
    cli.spin("Reading checkpoint", () => cli.client.json<Checkpoint>("GET", path)),
  );
}

function checkpointTable(checkpoints: readonly Checkpoint[]): string {
  const now = new Date();
  return formatTable(
    ["ID", "CREATED", "SOURCE", "SIZE", "COMMENT"],
    checkpoints.map((checkpoint) => [
      printable(checkpoint.id),
      relativeTime(checkpoint.create_time, now),
      printable(checkpoint.source_id ?? "-"),
      checkpoint.size_bytes === undefined ? "-" : formatBytes(checkpoint.size_bytes),
      commentCell(checkpoint),
    ]),
  );
}

function commentCell(checkpoint: Checkpoint): string {
  const health = checkpoint.health ? `[${printable(checkpoint.health)}] ` : "";
  const place = checkpoint.synced === false ? "[not synced] " : "";
  return health + place + printable(checkpoint.comment ?? "");
}

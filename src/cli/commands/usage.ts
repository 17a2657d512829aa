import type { UsageAmounts, UsageObject, UsageRow } from "../../contract/usage.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { usagePagesMax } from "../limits.ts";
import { formatBytes, formatTable, printable } from "../text.ts";

const groupings = ["sprite", "label", "day", "hour"] as const;
type Grouping = (typeof groupings)[number];

/** What sprites have used, as a table, as the server's JSON, or as CSV. */
export async function usage(cli: Cli, [given]: readonly string[]): Promise<number> {
  const { by = "sprite", csv, since, until, label: labels = [] } = cli.options;
  const grouping = groupings.find((choice) => choice === by);
  if (grouping === undefined) {
    throw new CliError(`--by takes ${groupings.join(", ")}`, { code: "usage" });
  }
  if (csv === true && cli.isJson) {
    throw new CliError("--csv and --json exclude each other", { code: "usage" });
  }
  const now = new Date();
  const query: [string, string][] = [["by", grouping]];
  const name = given ?? cli.options.sprite;
  if (name !== undefined) query.push(["sprite", name]);
  if (since !== undefined) query.push(["from", timeOf("--since", since, now)]);
  if (until !== undefined) query.push(["to", timeOf("--until", until, now)]);
  for (const label of labels) query.push(["label", label]);
  if (csv === true) return await printCsv(cli, query);
  const answer = await cli.spin("Reading usage", () => readPages(cli, query));
  if (cli.isJson) cli.printJson(answer);
  else printTable(cli, answer, grouping);
  return 0;
}

/** All pages as one answer. */
async function readPages(cli: Cli, query: readonly [string, string][]): Promise<UsageObject> {
  let whole: UsageObject | null = null;
  let token: string | null = null;
  for (let page = 0; page < usagePagesMax; page += 1) {
    const more: [string, string][] = token === null ? [] : [["continuation_token", token]];
    const found: UsageObject = await cli.client.json<UsageObject>("GET", "/v1/usage", {
      query: [...query, ...more],
    });
    whole = whole === null ? found : { ...found, usage: [...whole.usage, ...found.usage] };
    token = found.next_continuation_token ?? null;
    if (token === null) return whole;
  }
  throw new CliError("the usage does not end", { code: "bad_response" });
}

async function printCsv(cli: Cli, query: readonly [string, string][]): Promise<number> {
  let token: string | undefined;
  for (let page = 0; page < usagePagesMax; page += 1) {
    const more: [string, string][] = token === undefined ? [] : [["continuation_token", token]];
    const response = await cli.client.bytes("GET", "/v1/usage", {
      query: [...query, ["format", "csv"], ...more],
    });
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) text += chunk as string;
    // Each page has the line of names.
    cli.print(page === 0 ? text : text.slice(text.indexOf("\n") + 1));
    const next = response.headers["sprite-continuation-token"];
    if (typeof next !== "string") return 0;
    token = next;
  }
  throw new CliError("the usage does not end", { code: "bad_response" });
}

function printTable(cli: Cli, { from, to, usage: rows, total }: UsageObject, by: Grouping): void {
  if (rows.length === 0) {
    cli.note(`Nothing was used from ${printable(from)} to ${printable(to)}.\n`);
    return;
  }
  const header = [
    by.toUpperCase(),
    "RUNNING",
    "WARM",
    "CPU",
    "MEMORY",
    "STORAGE",
    "EGRESS",
    "REQUESTS",
  ];
  const cells = rows.map((row) => [printable(keyOf(row)), ...amountsOf(row)]);
  // Of one row the total is the row.
  const sum = rows.length > 1 ? [["total", ...amountsOf(total)]] : [];
  cli.print(formatTable(header, [...cells, ...sum]));
  cli.note("MEMORY and STORAGE are byte hours; REQUESTS to the bucket: writes + reads.\n");
}

function keyOf({ sprite, label, start }: UsageRow): string {
  if (start !== undefined) return start.replace(/:00:00\.000Z$/, ":00").replace(/T00:00$/, "");
  return sprite ?? label ?? "(no label)";
}

function amountsOf(amounts: UsageAmounts): string[] {
  return [
    formatSpan(amounts.running_seconds),
    formatSpan(amounts.warm_seconds),
    formatSpan(amounts.cpu_seconds),
    `${formatBytes(Math.round(amounts.memory_byte_seconds / 3_600))} h`,
    `${formatBytes(Math.round(amounts.storage_byte_seconds / 3_600))} h`,
    formatBytes(amounts.egress_bytes),
    `${amounts.bucket_write_requests} + ${amounts.bucket_read_requests}`,
  ];
}

/** "1.5 s", "12m 30s", "5h 20m", "3d 4h": the two largest units. */
function formatSpan(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.95 && seconds > 0 ? 1 : 0)}s`;
  const whole = Math.round(seconds);
  const [days, hours] = [Math.floor(whole / 86_400), Math.floor((whole % 86_400) / 3_600)];
  const minutes = Math.floor((whole % 3_600) / 60);
  if (days > 0) return `${days}d ${hours}h`;
  return hours > 0 ? `${hours}h ${minutes}m` : `${minutes}m ${whole % 60}s`;
}

const unitSeconds: Readonly<Record<string, number>> = { m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** A date or a time as it is, or so long ago. */
function timeOf(option: string, text: string, now: Date): string {
  const span = /^(\d{1,6})([mhdw])$/.exec(text);
  if (span !== null) {
    const seconds = Number(span[1]) * (unitSeconds[span[2] ?? ""] ?? 0);
    return new Date(now.getTime() - seconds * 1_000).toISOString();
  }
  if (/^\d{4}-\d{2}-\d{2}/.test(text)) return text;
  const message = `${option} takes a date, a time, or how long ago, such as 2026-11-01 or 7d`;
  throw new CliError(message, { code: "usage" });
}

import type { Cli } from "../cli.ts";
import { parseEnvironmentOption } from "../environment-option.ts";
import { CliError } from "../errors.ts";
import { requestTimeoutMsMax } from "../limits.ts";
import { withService, watchService, type Service } from "../service-calls.ts";
import { formatFields, formatTable, printable, relativeTime, shellQuote } from "../text.ts";

export async function list(cli: Cli): Promise<number> {
  const name = cli.spriteName();
  const services = await cli.spin("Listing services", () =>
    cli.forSprite(name, (path) => cli.client.json<Service[]>("GET", `${path}/services`)),
  );
  if (cli.isJson) cli.printJson(services);
  else if (services.length === 0) {
    cli.note(`${name} has no services. To make one:  sprite services create NAME -- COMMAND\n`);
  } else {
    const now = new Date();
    const rows = services.map((service) => [
      printable(service.name),
      printable(service.state?.status ?? "-"),
      String(service.state?.pid ?? "-"),
      relativeTime(service.state?.started_at, now),
      String(service.state?.restart_count ?? 0),
      String(service.http_port ?? "-"),
      shortened(commandText(service)),
    ]);
    const header = ["NAME", "STATUS", "PID", "STARTED", "RESTARTS", "HTTP PORT", "COMMAND"];
    cli.print(formatTable(header, rows));
  }
  return 0;
}

export async function get(cli: Cli, args: readonly string[]): Promise<number> {
  const service = await withService(cli, args[0] ?? "", (path) =>
    cli.client.json<Service>("GET", path),
  );
  if (cli.isJson) {
    cli.printJson(service);
    return 0;
  }
  const { state } = service;
  const time = (text: string | null | undefined): string =>
    text ? `${text} (${relativeTime(text, new Date())})` : "-";
  const fields: [string, string][] = [
    ["Name", service.name],
    ["Command", commandText(service)],
    ["Directory", service.dir ?? "/home/sprite"],
    // Values may be secrets; --json has them.
    ["Environment", Object.keys(service.env ?? {}).join(", ") || "-"],
    ["Needs", (service.needs ?? []).join(", ") || "-"],
    ["HTTP port", String(service.http_port ?? "-")],
    ["Status", state?.status ?? "-"],
    ["Problem", state?.error || "-"],
    ["Process", String(state?.pid ?? "-")],
    ["Started", time(state?.started_at)],
    ["Restarts", String(state?.restart_count ?? 0)],
    ["Next restart", time(state?.next_restart_at)],
    ["Last exit code", String(state?.exit_code ?? "-")],
  ];
  cli.print(formatFields(fields.map(([label, value]) => [label, printable(value)] as const)));
  return 0;
}

export async function create(cli: Cli, args: readonly string[]): Promise<number> {
  const [name = "", ...rest] = args;
  const [cmd, ...words] = rest[0] === "--" ? rest.slice(1) : rest;
  if (cmd === undefined) throw new CliError("the service's command is missing", { code: "usage" });
  if (rest[0] !== "--" && cmd.startsWith("-")) {
    throw new CliError(`${cmd} would be the service's command`, {
      code: "usage",
      hint: `Options come before the name: sprite services create OPTIONS ${name} -- COMMAND`,
    });
  }
  const { env, dir, needs, httpPort } = cli.options;
  const body = {
    cmd,
    args: words,
    ...(env === undefined ? {} : { env: Object.fromEntries(parseEnvironmentOption(env)) }),
    ...(dir === undefined ? {} : { dir }),
    needs: (needs ?? []).flatMap((text) => text.split(",").filter((word) => word !== "")),
    ...(httpPort === undefined ? {} : { http_port: portOf(httpPort) }),
  };
  return await watchService(cli, { name, method: "PUT", verb: "", body });
}

export async function start(cli: Cli, args: readonly string[]): Promise<number> {
  return await watchService(cli, { name: args[0] ?? "", method: "POST", verb: "/start" });
}

export async function stop(cli: Cli, args: readonly string[]): Promise<number> {
  return await watchService(cli, { name: args[0] ?? "", method: "POST", verb: "/stop" });
}

export async function restart(cli: Cli, args: readonly string[]): Promise<number> {
  return await watchService(cli, { name: args[0] ?? "", method: "POST", verb: "/restart" });
}

export async function remove(cli: Cli, args: readonly string[]): Promise<number> {
  const [name = ""] = args;
  const { timeout } = cli.options;
  await withService(cli, name, (path) =>
    cli.spin(`Stopping ${name}`, () =>
      cli.client.json<unknown>("DELETE", path, {
        ...(timeout === undefined ? {} : { query: [["timeout", timeout]] }),
        timeoutMs: requestTimeoutMsMax * 2,
      }),
    ),
  );
  if (cli.isJson) cli.printJson({ name, deleted: true });
  else cli.print(`Deleted service ${printable(name)}.\n`);
  return 0;
}

export async function signal(cli: Cli, args: readonly string[]): Promise<number> {
  const [name = "", given = ""] = args;
  const sprite = cli.spriteName();
  await cli.forSprite(sprite, (path) =>
    cli.client.json<unknown>("POST", `${path}/services/signal`, { body: { name, signal: given } }),
  );
  if (cli.isJson) cli.printJson({ name, signal: given });
  else cli.print(`Sent ${printable(given)} to ${printable(name)}.\n`);
  return 0;
}

function portOf(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new CliError("--http-port takes a number from 1 to 65535", { code: "usage" });
}

function commandText({ cmd, args }: Service): string {
  return [cmd ?? "", ...(args ?? [])].map(shellQuote).join(" ");
}

function shortened(text: string): string {
  const shown = printable(text);
  return shown.length <= 50 ? shown : `${shown.slice(0, 47)}...`;
}

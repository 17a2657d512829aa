import { imageNames, type ImageName } from "../../images/recipes.ts";
import { Command, InvalidArgumentError, Option } from "commander";
import { logLevels, type LogLevel } from "../base/log.ts";
import type { SpriteLimits, Uplink } from "../agent/startup.ts";

/** The settings of `spritesd serve`; each flag is also an environment variable. */
export interface ServeOptions {
  data: string;
  listen: { host: string; port: number };
  /** Null: a directory inside data. */
  bucket: string | null;
  image: ImageName;
  uplink: Uplink;
  runtime: "runc" | "crun" | "runsc" | null;
  memoryBytesMax: number;
  cpuCoresMax: number;
  pidsMax: number;
  cacheSizeBytesMax: number;
  urlDomain: string;
  logLevel: LogLevel;
}

export function limitsOf(options: ServeOptions): SpriteLimits {
  const { memoryBytesMax, cpuCoresMax, pidsMax } = options;
  return { memoryBytesMax, cpuCoresMax, pidsMax };
}

export const dataDirectoryDefault = "/var/lib/opensprites";

export function addServeOptions(command: Command): Command {
  const option = (flags: string, text: string, variable: string): Option =>
    new Option(flags, text).env(variable);
  return command
    .addOption(
      option("--data <dir>", "where everything is kept", "SPRITES_DATA").default(
        dataDirectoryDefault,
      ),
    )
    .addOption(
      option("--listen <address>", "host:port to serve on", "SPRITES_LISTEN")
        .default(parseListen("127.0.0.1:7777"), "127.0.0.1:7777")
        .argParser(parseListen),
    )
    .addOption(
      option("--bucket <dir>", "the object store (default: bucket/ inside data)", "SPRITES_BUCKET"),
    )
    .addOption(
      option("--image <name>", "image of new sprites", "SPRITES_IMAGE")
        .choices([...imageNames])
        .default("dev"),
    )
    .addOption(
      option(
        "--uplink <way>",
        "the sprites' way out: default, interface:NAME, netns:NAME, none",
        "SPRITES_UPLINK",
      )
        .default({ kind: "default-route" } satisfies Uplink, "default")
        .argParser(parseUplink),
    )
    .addOption(
      option(
        "--runtime <name>",
        "OCI runtime (default: what fits the machine)",
        "SPRITES_RUNTIME",
      ).choices(["runc", "crun", "runsc"]),
    )
    .addOption(
      option("--memory-max <size>", "memory of one sprite", "SPRITES_MEMORY_MAX")
        .default(parseSize("8G"), "8G")
        .argParser(parseSize),
    )
    .addOption(
      option("--cpus-max <cores>", "processor time of one sprite, in cores", "SPRITES_CPUS_MAX")
        .default(8)
        .argParser(parsePositive),
    )
    .addOption(
      option("--pids-max <count>", "processes of one sprite", "SPRITES_PIDS_MAX")
        .default(8192)
        .argParser(parsePositive),
    )
    .addOption(
      option("--cache-max <size>", "local cache of one sprite's disk", "SPRITES_CACHE_MAX")
        .default(parseSize("20G"), "20G")
        .argParser(parseSize),
    )
    .addOption(
      option(
        "--url-domain <domain>",
        "domain of the sprites' own URLs",
        "SPRITES_URL_DOMAIN",
      ).default("sprites.localhost"),
    )
    .addOption(
      option("--log-level <level>", "how much is logged, to stderr", "SPRITES_LOG_LEVEL")
        .choices([...logLevels])
        .default("info"),
    );
}

/** Commander's parsed values in our own shape. */
export function serveOptionsOf(values: Record<string, unknown>): ServeOptions {
  return {
    data: values["data"] as string,
    listen: values["listen"] as ServeOptions["listen"],
    bucket: (values["bucket"] as string | undefined) ?? null,
    image: values["image"] as ServeOptions["image"],
    uplink: values["uplink"] as Uplink,
    runtime: (values["runtime"] as ServeOptions["runtime"] | undefined) ?? null,
    memoryBytesMax: values["memoryMax"] as number,
    cpuCoresMax: values["cpusMax"] as number,
    pidsMax: values["pidsMax"] as number,
    cacheSizeBytesMax: values["cacheMax"] as number,
    urlDomain: values["urlDomain"] as string,
    logLevel: values["logLevel"] as LogLevel,
  };
}

export function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65_535)) {
    throw new InvalidArgumentError("give host:port, for example 127.0.0.1:7777 or [::1]:7777");
  }
  return { host, port };
}

export function parseUplink(text: string): Uplink {
  if (text === "default") return { kind: "default-route" };
  if (text === "none") return { kind: "none" };
  const match = /^(interface|netns):([^\s]+)$/.exec(text);
  if (match?.[1] === "interface") return { kind: "interface", name: match[2] ?? "" };
  if (match?.[1] === "netns") return { kind: "network-namespace", name: match[2] ?? "" };
  throw new InvalidArgumentError("give default, none, interface:NAME or netns:NAME");
}

/** Bytes from a number with an optional binary suffix: 512M, 8G, 1T. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text);
  if (match === null) throw new InvalidArgumentError("give a size such as 512M or 8G");
  const power = "KMGT".indexOf((match[2] ?? "").toUpperCase() || " ") + 1;
  const bytes = Math.round(Number(match[1]) * 1024 ** power);
  if (!(bytes > 0)) throw new InvalidArgumentError("the size must be more than nothing");
  return bytes;
}

function parsePositive(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) {
    throw new InvalidArgumentError("give a number above zero");
  }
  return value;
}

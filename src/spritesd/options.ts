import { imageNames, type ImageName } from "../../images/recipes.ts";
import { type Command, InvalidArgumentError, Option } from "commander";
import { logLevels, type LogLevel } from "../base/log.ts";
import { runtimeNames, type RuntimeName, type SpriteLimits } from "../contract/agent-startup.ts";
import { parseDuration } from "../contract/duration.ts";
import type { CertificateOrigin } from "../edge/certificates/open-certificates.ts";
import type { Uplink } from "../sandbox/gateway-uplink.ts";
import { certificateOriginOf, certificateSettings } from "./certificate-options.ts";
import { sparesMax } from "../worker/pool/limits.ts";

export const dataDirectoryDefault = "/var/lib/opensprites";

/** The settings of `spritesd serve`; each flag is also an environment variable. */
export interface ServeOptions {
  data: string;
  listen: { host: string; port: number };
  /** Of the sprites' URLs and of the API; null: there is no such port. */
  listenTls: { host: string; port: number } | null;
  /** Plain HTTP, beside it; null: there is no such port. */
  listenHttp: { host: string; port: number } | null;
  /** Null: a directory inside data. */
  bucket: string | null;
  image: ImageName;
  uplink: Uplink;
  runtime: RuntimeName | null;
  memoryBytesMax: number;
  cpuCoresMax: number;
  pidsMax: number;
  cacheSizeBytesMax: number;
  /** Nothing going on for so long suspends a sprite, and after so much longer it is ended; null: never. */
  idleWindowMs: number | null;
  warmMsMax: number | null;
  /** Spare sprites that are kept for creates; 0: none. */
  poolSize: number;
  /** How long a sprite goes on without a server; null: not at all. */
  orphanMsMax: number | null;
  /** Bytes a second that the scrubber reads; null: it does not run. */
  scrubRateBytes: number | null;
  urlDomain: string;
  certificates: CertificateOrigin;
  /** Of one organization; null: no limit. */
  creationsPerMinuteMax: number | null;
  runningMax: number | null;
  /** Null: nobody mints tokens over the API. */
  adminSecretFile: string | null;
  /** Serves /metrics to whoever reaches it; null: only the API does, for the admin secret. */
  metricsListen: { host: string; port: number } | null;
  metricsPerSprite: boolean;
  logLevel: LogLevel;
}

export function limitsOf(options: ServeOptions): SpriteLimits {
  const { memoryBytesMax, cpuCoresMax, pidsMax } = options;
  return { memoryBytesMax, cpuCoresMax, pidsMax };
}

export interface Setting {
  flags: string;
  variable: string;
  text: string;
  /** The default in the form a user would type. */
  default?: string;
  parse?: (text: string) => unknown;
  choices?: readonly string[];
}

/** Each flag is also an environment variable; README lists them. */
const serveSettings: readonly Setting[] = [
  {
    flags: "--data <dir>",
    variable: "SPRITES_DATA",
    text: "where everything is kept",
    default: dataDirectoryDefault,
  },
  {
    flags: "--listen <address>",
    variable: "SPRITES_LISTEN",
    text: "host:port to serve on",
    default: "127.0.0.1:7777",
    parse: parseListen,
  },
  {
    flags: "--listen-tls <address>",
    variable: "SPRITES_LISTEN_TLS",
    text: "host:port of the sprites' own URLs and of the API by HTTPS, or off",
    default: "127.0.0.1:7443",
    parse: (text) => (text === "off" ? "off" : parseListen(text)),
  },
  {
    flags: "--listen-http <address>",
    variable: "SPRITES_LISTEN_HTTP",
    text: "host:port that sends browsers to the TLS port, and answers for --acme without a DNS hook, or off",
    default: "off",
    parse: (text) => (text === "off" ? "off" : parseListen(text)),
  },
  {
    flags: "--bucket <place>",
    variable: "SPRITES_BUCKET",
    text: "the object store: a directory, or s3://... (default: bucket/ inside data)",
  },
  {
    flags: "--image <name>",
    variable: "SPRITES_IMAGE",
    text: "image of new sprites",
    default: "dev",
    choices: imageNames,
  },
  {
    flags: "--uplink <way>",
    variable: "SPRITES_UPLINK",
    text: "the sprites' way out: default, interface:NAME, netns:NAME, none",
    default: "default",
    parse: parseUplink,
  },
  {
    flags: "--runtime <name>",
    variable: "SPRITES_RUNTIME",
    text: "OCI runtime (default: what fits the machine)",
    choices: runtimeNames,
  },
  {
    flags: "--memory-max <size>",
    variable: "SPRITES_MEMORY_MAX",
    text: "memory of one sprite",
    default: "8G",
    parse: parseSize,
  },
  {
    flags: "--cpus-max <cores>",
    variable: "SPRITES_CPUS_MAX",
    text: "processor time of one sprite, in cores",
    default: "8",
    parse: parsePositive,
  },
  {
    flags: "--pids-max <count>",
    variable: "SPRITES_PIDS_MAX",
    text: "processes of one sprite",
    default: "8192",
    parse: parsePositive,
  },
  {
    flags: "--cache-max <size>",
    variable: "SPRITES_CACHE_MAX",
    text: "local cache of one sprite's disk",
    default: "20G",
    parse: parseSize,
  },
  {
    flags: "--idle-window <duration>",
    variable: "SPRITES_IDLE_WINDOW",
    text: "a sprite in which nothing has gone on for so long is suspended, or off",
    default: "30s",
    parse: parseSpan,
  },
  {
    flags: "--warm-time <duration>",
    variable: "SPRITES_WARM_TIME",
    text: "one that has been suspended for so long is put to sleep for good: its memory is given back. Or off",
    default: "10m",
    parse: parseSpan,
  },
  {
    flags: "--pool <count>",
    variable: "SPRITES_POOL",
    text: "sprites that stand by, made already, for creates; more for a while after a burst. 0: none, nor an agent loaded ahead for wakes",
    default: "2",
    parse: parseCount,
  },
  {
    flags: "--orphan-time <duration>",
    variable: "SPRITES_ORPHAN_TIME",
    text: "how long sprites go on while no server runs, as during an upgrade; then they sleep. Or off: they end with the server",
    default: "10m",
    parse: parseSpan,
  },
  {
    flags: "--scrub-rate <size>",
    variable: "SPRITES_SCRUB_RATE",
    text: "how fast everything in the bucket is read again and verified, once a week: bytes a second, or off",
    default: "1M",
    parse: (text) => (text === "off" ? "off" : parseRate(text)),
  },
  {
    flags: "--create-rate-max <count>",
    variable: "SPRITES_CREATE_RATE_MAX",
    text: "sprites that one organization may make in a minute, or off",
    default: "600",
    parse: parseLimit,
  },
  {
    flags: "--running-max <count>",
    variable: "SPRITES_RUNNING_MAX",
    text: "sprites of one organization that may run at once, or off",
    default: "1000",
    parse: parseLimit,
  },
  {
    flags: "--url-domain <domain>",
    variable: "SPRITES_URL_DOMAIN",
    text: "domain of the sprites' own URLs",
    default: "sprites.localhost",
    parse: parseUrlDomain,
  },
  ...certificateSettings,
  {
    flags: "--admin-secret-file <file>",
    variable: "SPRITES_ADMIN_SECRET_FILE",
    text: "file with a secret whose holder mints tokens over the API and approves any login",
  },
  {
    flags: "--metrics-listen <address>",
    variable: "SPRITES_METRICS_LISTEN",
    text: "host:port to serve /metrics on, without a credential (default: on the API only, for the admin secret)",
    parse: parseListen,
  },
  {
    flags: "--metrics-per-sprite",
    variable: "SPRITES_METRICS_PER_SPRITE",
    text: "also a line of metrics for each sprite, by name",
  },
  {
    flags: "--log-level <level>",
    variable: "SPRITES_LOG_LEVEL",
    text: "how much is logged, to stderr",
    default: "info",
    choices: logLevels,
  },
];

export function addServeOptions(command: Command): Command {
  for (const setting of serveSettings) command.addOption(optionOf(setting));
  return command;
}

function optionOf(setting: Setting): Option {
  const option = new Option(setting.flags, setting.text).env(setting.variable);
  if (setting.choices !== undefined) option.choices([...setting.choices]);
  const typed = setting.default;
  if (setting.parse !== undefined) option.argParser(setting.parse);
  if (typed !== undefined) option.default(setting.parse?.(typed) ?? typed, typed);
  return option;
}

/** Commander's parsed values in our own shape. */
export function serveOptionsOf(values: Record<string, unknown>): ServeOptions {
  return {
    data: values["data"] as string,
    listen: values["listen"] as ServeOptions["listen"],
    listenTls:
      values["listenTls"] === "off" ? null : (values["listenTls"] as ServeOptions["listen"]),
    listenHttp:
      values["listenHttp"] === "off" ? null : (values["listenHttp"] as ServeOptions["listen"]),
    bucket: (values["bucket"] as string | undefined) ?? null,
    image: values["image"] as ServeOptions["image"],
    uplink: values["uplink"] as Uplink,
    runtime: (values["runtime"] as ServeOptions["runtime"] | undefined) ?? null,
    memoryBytesMax: values["memoryMax"] as number,
    cpuCoresMax: values["cpusMax"] as number,
    pidsMax: values["pidsMax"] as number,
    cacheSizeBytesMax: values["cacheMax"] as number,
    idleWindowMs: limitOf(values["idleWindow"]),
    warmMsMax: limitOf(values["warmTime"]),
    poolSize: values["pool"] as number,
    orphanMsMax: limitOf(values["orphanTime"]),
    scrubRateBytes: values["scrubRate"] === "off" ? null : (values["scrubRate"] as number),
    urlDomain: values["urlDomain"] as string,
    certificates: certificateOriginOf(values),
    creationsPerMinuteMax: limitOf(values["createRateMax"]),
    runningMax: limitOf(values["runningMax"]),
    adminSecretFile: (values["adminSecretFile"] as string | undefined) ?? null,
    metricsListen: (values["metricsListen"] as ServeOptions["metricsListen"] | undefined) ?? null,
    metricsPerSprite: values["metricsPerSprite"] === true,
    logLevel: values["logLevel"] as LogLevel,
  };
}

/** How many sprites stand by. */
function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d{1,3}$/.test(text) || count > sparesMax) {
    throw new InvalidArgumentError(`give a number from 0 to ${sparesMax}`);
  }
  return count;
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

/** Lower case, without dots at its ends. */
function parseUrlDomain(text: string): string {
  const domain = text.toLowerCase().replace(/\.$/, "");
  if (domain.length <= 180 && /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/.test(domain)) return domain;
  throw new InvalidArgumentError("give a domain such as sprites.example.com");
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

/** Bytes a second. */
export function parseRate(text: string): number {
  try {
    return parseSize(text);
  } catch {
    throw new InvalidArgumentError("give bytes a second, such as 512K or 10M");
  }
}

/** Milliseconds, or `off`. */
function parseSpan(text: string): number | "off" {
  if (text === "off") return "off";
  const spanMs = parseDuration(text);
  if (spanMs === null || spanMs < 1) {
    throw new InvalidArgumentError("give a duration such as 30s or 10m, or off");
  }
  return spanMs;
}

/** Commander takes null for no value at all, so `off` stays a word until here. */
function limitOf(value: unknown): number | null {
  return value === "off" ? null : (value as number);
}

function parseLimit(text: string): number | "off" {
  if (text === "off") return text;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("give a whole number, or off");
  return Number(text);
}

function parsePositive(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) {
    throw new InvalidArgumentError("give a number above zero");
  }
  return value;
}

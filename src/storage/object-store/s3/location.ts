import { SpriteError } from "../../../contract/errors.ts";
import { checkPrefix } from "../object-key.ts";
import { percentEncoded } from "./signature.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Where a bucket is and how it wants to be spoken to. */
export interface S3Location {
  bucket: string;
  /** Before every key: empty, or ending in a slash. */
  prefix: string;
  protocol: "http:" | "https:";
  hostname: string;
  port: number;
  /** The `Host` header, with the port when it is not the protocol's own. */
  host: string;
  /** Before every path: `/<bucket>` in path style, else empty. */
  basePath: string;
  region: string;
  /** How `If-Match` is sent; null: found out at the first swap that fails. */
  isEtagQuoted: boolean | null;
}

const settings = ["endpoint", "region", "style", "etags"];

/**
 * Reads `s3://<bucket>/<prefix>?endpoint=<url>&region=<name>&style=path|virtual&etags=quoted|unquoted`. What the URL leaves out comes
 * from AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION and AWS_DEFAULT_REGION. Without an endpoint it is AWS.
 * @throws SpriteError invalid_request
 */
export function parseS3Url(text: string, environment: Environment): S3Location {
  const url = URL.parse(text);
  const bucket = url?.hostname ?? "";
  if (
    url === null ||
    url.protocol !== "s3:" ||
    !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)
  ) {
    throw wrong(
      "is not s3://<bucket>/<prefix>, where <bucket> has 3 to 63 of a-z, 0-9, '.' and '-'",
    );
  }
  if (url.username !== "" || url.password !== "" || url.port !== "" || url.hash !== "") {
    throw wrong(
      "must hold neither credentials nor a port: those come from the environment and ?endpoint=",
    );
  }
  for (const name of url.searchParams.keys()) {
    if (!settings.includes(name)) throw wrong(`has ?${name}=, known are ${settings.join(", ")}`);
  }
  const prefix = url.pathname.replace(/^\/|\/$/g, "");
  checkPrefix(prefix);
  const given = url.searchParams;
  const endpointText =
    given.get("endpoint") ?? environment["AWS_ENDPOINT_URL_S3"] ?? environment["AWS_ENDPOINT_URL"];
  const region =
    given.get("region") ??
    environment["AWS_REGION"] ??
    environment["AWS_DEFAULT_REGION"] ??
    "us-east-1";
  const isAws = !endpointText;
  const endpoint = URL.parse(endpointText || `https://s3.${region}.amazonaws.com`);
  if (endpoint === null || !/^https?:$/.test(endpoint.protocol) || endpoint.username !== "") {
    throw wrong("needs an endpoint of the form http(s)://host:port");
  }
  // A certificate for *.s3.<region>.amazonaws.com does not cover a bucket name with a dot.
  const styleDefault = isAws && !bucket.includes(".") ? "virtual" : "path";
  const style = oneOf(given, "style", ["path", "virtual"]) ?? styleDefault;
  const etags = oneOf(given, "etags", ["quoted", "unquoted"]);
  const isVirtual = style === "virtual";
  const endpointPath = percentEncoded(endpoint.pathname.replace(/\/$/, ""), { isPath: true });
  const protocol = endpoint.protocol as S3Location["protocol"];
  const prefixOfHost = isVirtual ? `${bucket}.` : "";
  return {
    bucket,
    prefix: prefix === "" ? "" : `${prefix}/`,
    protocol,
    hostname: prefixOfHost + endpoint.hostname.replace(/^\[|\]$/g, ""),
    port: endpoint.port === "" ? (protocol === "https:" ? 443 : 80) : Number(endpoint.port),
    host: prefixOfHost + endpoint.host,
    basePath: endpointPath + (isVirtual ? "" : `/${bucket}`),
    region,
    isEtagQuoted: etags === null ? null : etags === "quoted",
  };
}

function oneOf(given: URLSearchParams, name: string, choices: readonly string[]): string | null {
  const value = given.get(name);
  if (value === null || choices.includes(value)) return value;
  throw wrong(`has ?${name}=${value}, known are ${choices.join(" and ")}`);
}

/** The URL is not shown: somebody may have put a secret into it. */
function wrong(what: string): SpriteError {
  return new SpriteError("invalid_request", `the bucket's URL ${what}`);
}

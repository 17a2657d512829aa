/**
 * Temporary credentials from where the process runs: a container's agent, or the machine's metadata service (IMDSv2).
 * Sources: AWS, "Container credential provider" and "Use the Instance Metadata Service to access instance metadata".
 */
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { SpriteError } from "../../../contract/errors.ts";
import { metadataBodySizeBytesMax, metadataTimeoutMs } from "../limits.ts";
import type { Credentials } from "./credentials.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const containerHost = "http://169.254.170.2";
const instanceHost = "http://169.254.169.254";

/** Null when the environment names no container agent. @throws SpriteError storage_failure when it does not answer */
export async function fetchContainerCredentials(
  environment: Environment,
): Promise<Credentials | null> {
  const relative = environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
  const url = relative
    ? containerHost + relative
    : environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"];
  if (!url) return null;
  const tokenFile = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
  try {
    const token = tokenFile
      ? (await readFile(tokenFile, "utf8")).trim()
      : environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
    return parse(await ask("GET", url, token ? { authorization: token } : {}));
  } catch (error) {
    const message = "the container's agent gave no credentials for the bucket";
    throw new SpriteError("storage_failure", message, { cause: error });
  }
}

/** Null when this machine has no metadata service, or no role. */
export async function fetchInstanceCredentials(
  environment: Environment,
): Promise<Credentials | null> {
  if (environment["AWS_EC2_METADATA_DISABLED"]?.toLowerCase() === "true") return null;
  const host = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] ?? instanceHost;
  const roles = "/latest/meta-data/iam/security-credentials/";
  try {
    const token = await ask("PUT", new URL("/latest/api/token", host).href, {
      "x-aws-ec2-metadata-token-ttl-seconds": "21600",
    });
    const headers = { "x-aws-ec2-metadata-token": token };
    const role = (await ask("GET", new URL(roles, host).href, headers)).split("\n")[0] ?? "";
    return parse(await ask("GET", new URL(roles + role.trim(), host).href, headers));
  } catch {
    // A machine outside of that cloud. The caller says that no source had any credentials.
    return null;
  }
}

function parse(text: string): Credentials {
  const values = JSON.parse(text) as Record<string, unknown>;
  const { AccessKeyId, SecretAccessKey, Token, Expiration } = values;
  if (typeof AccessKeyId !== "string" || typeof SecretAccessKey !== "string") {
    throw new Error("the answer has no keys");
  }
  const expiresAtMs = typeof Expiration === "string" ? Date.parse(Expiration) : Number.NaN;
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: typeof Token === "string" ? Token : null,
    expiresAtMs: Number.isNaN(expiresAtMs) ? null : expiresAtMs,
  };
}

function ask(method: string, url: string, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(metadataTimeoutMs);
    const call = request(url, { method, headers, signal, agent: false }, (reply) => {
      let text = "";
      reply.setEncoding("utf8");
      reply.on("data", (piece: string) => {
        text += piece;
        if (text.length > metadataBodySizeBytesMax) reply.destroy(new Error("too long an answer"));
      });
      reply.on("error", reject);
      reply.on("end", () => {
        if (reply.statusCode === 200) resolve(text);
        else reject(new Error(`answered ${reply.statusCode}`));
      });
    });
    call.on("error", reject);
    call.end();
  });
}

/** The certificate authority of a server, fetched, and looked at before anybody trusts it. */
import { X509Certificate } from "node:crypto";
import { request as plainRequest } from "node:http";

import { constrainedDomain } from "../../contract/name-constraints.ts";
import { CliError } from "../errors.ts";
import { authoritySizeBytesMax, requestTimeoutMsMax } from "../limits.ts";

export interface ServerAuthority {
  pem: string;
  domain: string;
  /** Its SHA-256, in pairs of digits with colons. */
  fingerprint: string;
  validTo: Date;
}

/**
 * Over the network anybody could answer, so it must come from this machine, over TLS that is trusted
 * already, or be the one that was named. @throws CliError
 */
export async function fetchAuthority(
  apiUrl: string,
  fingerprint: string | undefined,
): Promise<ServerAuthority> {
  const url = new URL(apiUrl);
  const isPinned = fingerprint !== undefined;
  if (!isPinned && url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw new CliError(`${apiUrl} is another machine, and plain HTTP proves nothing`, {
      code: "untrusted",
      hint: pinHint,
    });
  }
  const authority = readAuthority(await fetchPem(`${apiUrl}/ca.pem`, { verifies: !isPinned }));
  if (isPinned && digits(fingerprint) !== digits(authority.fingerprint)) {
    const message = `the server's authority is another one: ${authority.fingerprint}`;
    throw new CliError(message, { code: "untrusted", hint: pinHint });
  }
  // A server may ask for trust in its own names only, or it could pose as anybody's.
  const isOwn = isLoopback(authority.domain) || isAtOrBelow(url.hostname, authority.domain);
  if (!isPinned && !isOwn) {
    const message = `${url.hostname} asks to be trusted for ${authority.domain}`;
    throw new CliError(message, { code: "untrusted", hint: pinHint });
  }
  return authority;
}

const pinHint = [
  "Have its operator tell you the fingerprint, which `bin/spritesd ca --fingerprint`",
  "prints, and say:  sprite trust --fingerprint FINGERPRINT",
].join("\n");

/** @throws CliError when it is no authority, or one that speaks for everybody */
function readAuthority(pem: string): ServerAuthority {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch (cause) {
    const message = "the server's answer is no certificate";
    throw new CliError(message, { code: "bad_response", cause });
  }
  const domain = constrainedDomain(certificate.raw);
  if (!certificate.ca || domain === null) {
    throw new CliError("the server's authority is not limited to one domain", {
      code: "untrusted",
      hint: "Whoever has its key could pose as any site. It is not installed.",
    });
  }
  return {
    // As it was read: what else the answer holds goes nowhere.
    pem: certificate.toString(),
    domain,
    fingerprint: certificate.fingerprint256,
    validTo: certificate.validToDate,
  };
}

async function fetchPem(url: string, options: { verifies: boolean }): Promise<string> {
  const isTls = url.startsWith("https:");
  const send = isTls ? (await import("node:https")).request : plainRequest;
  const rejects = isTls ? { rejectUnauthorized: options.verifies } : {};
  return await new Promise((resolve, reject) => {
    const outgoing = send(url, { ...rejects, timeout: requestTimeoutMsMax, agent: false });
    outgoing.on("timeout", () => outgoing.destroy(new Error("no answer in time")));
    outgoing.on("error", (cause) => reject(fetchError(url, cause)));
    outgoing.on("response", (response) => {
      let text = "";
      response.setEncoding("latin1");
      response.on("error", (cause) => reject(fetchError(url, cause)));
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > authoritySizeBytesMax) outgoing.destroy(new Error("too long an answer"));
      });
      response.on("end", () => {
        if (response.statusCode === 200) return resolve(text);
        const message = "this server has no certificate authority of its own";
        const hint = "Its certificate is one that browsers trust already, or it has no TLS port.";
        reject(new CliError(message, { code: "not_found", hint }));
      });
    });
    outgoing.end();
  });
}

function fetchError(url: string, cause: Error): CliError {
  const code = "code" in cause ? String(cause.code) : "";
  const isUntrusted = /^(?:DEPTH_|SELF_|UNABLE_TO_|ERR_TLS_|CERT_)/.test(code);
  return new CliError(`fetch ${url}: ${cause.message}`, {
    code: isUntrusted ? "untrusted" : "unreachable",
    ...(isUntrusted ? { hint: pinHint } : {}),
    cause,
  });
}

function isLoopback(hostName: string): boolean {
  const isAddress = /^127(?:\.\d{1,3}){3}$/.test(hostName) || hostName === "[::1]";
  return isAddress || hostName === "localhost" || hostName.endsWith(".localhost");
}

function isAtOrBelow(hostName: string, domain: string): boolean {
  return domain.includes(".") && (hostName === domain || hostName.endsWith(`.${domain}`));
}

function digits(fingerprint: string): string {
  return fingerprint.replace(/[^0-9a-fA-F]/g, "").toLowerCase();
}

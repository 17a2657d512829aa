/** Settings of the TLS port's certificates. */
import { InvalidArgumentError } from "commander";

import type { CertificateOrigin } from "../edge/certificates/open-certificates.ts";
import type { Setting } from "./options.ts";

const services: Readonly<Record<string, string>> = {
  letsencrypt: "https://acme-v02.api.letsencrypt.org/directory",
  "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
};

export const certificateSettings: readonly Setting[] = [
  {
    flags: "--tls-cert <file>",
    variable: "SPRITES_TLS_CERT",
    text: "certificate of *.DOMAIN and DOMAIN with its issuers, PEM; read again when it changes (default: an authority of our own)",
  },
  {
    flags: "--tls-key <file>",
    variable: "SPRITES_TLS_KEY",
    text: "its key, PEM",
  },
  {
    flags: "--acme <service>",
    variable: "SPRITES_ACME",
    text: "get certificates from there: letsencrypt, letsencrypt-staging, or the URL of a directory (RFC 8555)",
    parse: parseService,
  },
  {
    flags: "--acme-email <address>",
    variable: "SPRITES_ACME_EMAIL",
    text: "whom the service writes to",
  },
  {
    flags: "--acme-dns-hook <program>",
    variable: "SPRITES_ACME_DNS_HOOK",
    text: "prove the domain by DNS, and get one certificate for all names: PROGRAM add|remove NAME VALUE sets a TXT record",
  },
  {
    flags: "--acme-roots <file>",
    variable: "SPRITES_ACME_ROOTS",
    text: "authorities that vouch for a service of your own, PEM",
  },
];

/** @throws InvalidArgumentError when the settings contradict each other */
export function certificateOriginOf(values: Record<string, unknown>): CertificateOrigin {
  const text = (key: string): string | null => (values[key] as string | undefined) ?? null;
  const [certificatePath, keyPath] = [text("tlsCert"), text("tlsKey")];
  const directoryUrl = text("acme");
  if ((certificatePath ?? directoryUrl) !== null && values["listenTls"] === "off") {
    throw new InvalidArgumentError("a certificate is for a port: give --listen-tls too");
  }
  if ((certificatePath === null) !== (keyPath === null)) {
    throw new InvalidArgumentError("--tls-cert and --tls-key go together");
  }
  if (certificatePath !== null && keyPath !== null) {
    if (directoryUrl !== null) {
      throw new InvalidArgumentError("give either --tls-cert or --acme: there is one certificate");
    }
    return { kind: "files", certificatePath, keyPath };
  }
  const [email, dnsHook, rootsPath] = [text("acmeEmail"), text("acmeDnsHook"), text("acmeRoots")];
  if (directoryUrl !== null && dnsHook === null && values["listenHttp"] === "off") {
    throw new InvalidArgumentError(
      "--acme asks at port 80: give --listen-http, or prove the domain by --acme-dns-hook",
    );
  }
  if (directoryUrl !== null) return { kind: "acme", directoryUrl, email, dnsHook, rootsPath };
  if (email !== null || dnsHook !== null || rootsPath !== null) {
    throw new InvalidArgumentError("--acme-email, --acme-dns-hook and --acme-roots need --acme");
  }
  return { kind: "authority" };
}

function parseService(text: string): string {
  const url = services[text] ?? text;
  if (URL.parse(url)?.protocol === "https:") return url;
  throw new InvalidArgumentError("give letsencrypt, letsencrypt-staging, or an https:// URL");
}

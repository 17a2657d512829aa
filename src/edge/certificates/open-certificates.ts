/** The TLS port's certificates, from where the operator said: files, an ACME service, or an authority of our own. */
import { mkdir } from "node:fs/promises";

import type { Log } from "../../base/log.ts";
import type { CertificateSource } from "../certificates.ts";
import { AcmeOrders, type ChallengeProof } from "./acme/acme-orders.ts";
import { AcmeSource } from "./acme/acme-source.ts";
import { CertificateStore } from "./acme/certificate-store.ts";
import { DnsProof } from "./acme/dns-proof.ts";
import { HttpProof } from "./acme/http-proof.ts";
import { OrderRecord } from "./acme/order-record.ts";
import type { Authority } from "./authority.ts";
import { AuthoritySource } from "./authority-source.ts";
import { FileSource } from "./file-source.ts";
import { removeDrafts } from "./files.ts";
import { acmeDirectory, certificatesDirectory } from "./places.ts";

export type CertificateOrigin =
  | { kind: "authority" }
  | { kind: "files"; certificatePath: string; keyPath: string }
  | {
      kind: "acme";
      directoryUrl: string;
      email: string | null;
      /** Null: HTTP-01, a certificate a name. */
      dnsHook: string | null;
      rootsPath: string | null;
    };

export interface CertificatesOptions {
  origin: CertificateOrigin;
  dataDirectory: string;
  domain: string;
  /** Whether a name below the domain is a sprite's. */
  isKnownName(name: string): boolean;
  log: Log;
}

export interface Certificates {
  source: CertificateSource;
  /** What clients have to trust, PEM, made when it is first needed; null: they trust it already. */
  authorityPem(): Promise<string | null>;
  /** What plain HTTP answers to the service that asks whose a name is; null: nothing of ours. */
  challengeAnswer(hostName: string, path: string): string | null;
  /** What is wrong now, for people. */
  problems(): readonly string[];
  /** The port is open, and so is the one for challenges: what is missing is ordered from now on. */
  start(): void;
  stop(): void;
}

const nothing = {
  authorityPem: async () => null,
  challengeAnswer: () => null,
  start: () => undefined,
  stop: () => undefined,
} as const;

/** @throws Error that says what keeps the port from having a certificate */
export async function openCertificates(options: CertificatesOptions): Promise<Certificates> {
  const { origin } = options;
  const directory = certificatesDirectory(options.dataDirectory);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await removeDrafts(directory);
  switch (origin.kind) {
    case "authority":
      return ofAuthority(options, directory);
    case "files":
      return await ofFiles(options, origin);
    case "acme":
      return await ofAcme(options, origin);
  }
}

function ofAuthority({ domain }: CertificatesOptions, directory: string): Certificates {
  let opened: Promise<Authority> | null = null;
  const open = (): Promise<Authority> => {
    // Loaded when it is first needed: its library takes some 20 MB and a tenth of a second.
    opened ??= import("./authority.ts").then((room) => room.Authority.open({ directory, domain }));
    // Asked again it may succeed.
    opened.catch(() => (opened = null));
    return opened;
  };
  const authority = {
    issue: async (names: readonly string[]) => await (await open()).issue(names),
  };
  const source = new AuthoritySource({ authority, domain });
  const authorityPem = async () => (await open()).certificatePem;
  return { ...nothing, source, authorityPem, problems: () => [] };
}

async function ofFiles(
  { log }: CertificatesOptions,
  origin: Extract<CertificateOrigin, { kind: "files" }>,
): Promise<Certificates> {
  let current: string | null = null;
  const source = await FileSource.open({
    ...origin,
    onProblem(problem) {
      const message = problem?.message ?? null;
      if (problem === null) log.info("the certificate's files can be used again");
      else if (message !== current) log.error({ err: problem }, "the certificate was not reloaded");
      current = message;
    },
  });
  const problems = () => (current === null ? [] : [`the certificate was not reloaded: ${current}`]);
  return { ...nothing, source, problems };
}

async function ofAcme(
  options: CertificatesOptions,
  origin: Extract<CertificateOrigin, { kind: "acme" }>,
): Promise<Certificates> {
  const { domain, isKnownName, log } = options;
  const { directoryUrl, dnsHook } = origin;
  const directory = acmeDirectory(options.dataDirectory, directoryUrl);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await removeDrafts(directory);
  const http = new HttpProof();
  const proof: ChallengeProof = dnsHook === null ? http : new DnsProof(dnsHook);
  const clock = { now: Date.now, random: Math.random };
  const source = await AcmeSource.open({
    ...{ domain, isWildcard: dnsHook !== null, isKnownName, ...clock },
    orders: new AcmeOrders({ ...origin, directory, proof }),
    store: new CertificateStore(directory),
    record: await OrderRecord.open({ directory, ...clock }),
    onProblem(name, problem) {
      if (problem === null) log.info({ name }, "the certificate was issued");
      else log.error({ name, err: problem }, "no certificate was issued");
    },
  });
  return {
    ...nothing,
    source,
    challengeAnswer: (hostName, path) => http.answer(hostName, path),
    problems: () => source.problems,
    start: () => source.start(),
    stop: () => source.stop(),
  };
}

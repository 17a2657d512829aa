/** One certificate from a service that speaks ACME (RFC 8555), through acme-client. */
import { readFile } from "node:fs/promises";
import { Agent } from "node:https";
import { join } from "node:path";
import { rootCertificates } from "node:tls";

import type * as Acme from "acme-client";

import { withDeadline } from "../../../base/wait.ts";
import { createSecretFile, readSecretFile } from "../files.ts";
import { orderTimeoutMs, serviceRetriesMax, serviceTimeoutMs } from "../limits.ts";

/** Proves to the service that a name is ours. */
export interface ChallengeProof {
  type: "http-01" | "dns-01";
  /**
   * @param name without the `*.` of a wildcard
   * @param keyAuthorization what the service wants to see; for DNS-01 its digest, as the record has it
   */
  add(challenge: { name: string; token: string; keyAuthorization: string }): Promise<void>;
  remove(challenge: { name: string; token: string; keyAuthorization: string }): Promise<void>;
}

export interface AcmeOrdersOptions {
  directoryUrl: string;
  /** Where the account's key is kept. */
  directory: string;
  email: string | null;
  /** PEM of the authorities that vouch for a private service, besides the usual ones; null: none. */
  rootsPath: string | null;
  proof: ChallengeProof;
  /** Between two looks at an order that the service is working on; it doubles. */
  pollIntervalMs?: number;
}

export interface OrderedCertificate {
  /** The leaf, then its issuers. */
  certificatePem: string;
  keyPem: string;
}

export class AcmeOrders {
  readonly #options: AcmeOrdersOptions;
  #accountUrl: string | null = null;

  constructor(options: AcmeOrdersOptions) {
    this.#options = options;
  }

  /** @throws Error with what the service said */
  async order(names: readonly string[]): Promise<OrderedCertificate> {
    try {
      return await withDeadline(this.#order(names), {
        timeoutMs: orderTimeoutMs,
        onTimeout: () => new Error(`no certificate within ${orderTimeoutMs / 1000} s`),
      });
    } catch (error) {
      // The account may be gone: the next try asks for it again.
      this.#accountUrl = null;
      throw error;
    }
  }

  async #order(names: readonly string[]): Promise<OrderedCertificate> {
    const { directoryUrl, proof, pollIntervalMs = 2_000 } = this.#options;
    const acme = await this.#load();
    const accountKey = await this.#accountKey(acme);
    const client = new acme.Client({
      directoryUrl,
      accountKey,
      ...(this.#accountUrl === null ? {} : { accountUrl: this.#accountUrl }),
      backoffAttempts: 12,
      backoffMin: pollIntervalMs,
      backoffMax: 30_000,
    });
    this.#accountUrl ??= await this.#register(client);
    const keyPem = await acme.crypto.createPrivateEcdsaKey("P-256");
    const [, csr] = await acme.crypto.createCsr({ altNames: [...names] }, keyPem);
    const challengeOf = (
      authorization: Acme.Authorization,
      token: string,
      keyAuthorization: string,
    ) => {
      return { name: authorization.identifier.value, token, keyAuthorization };
    };
    const certificatePem = await client.auto({
      csr,
      challengePriority: [proof.type],
      // The service looks for itself. From here the name may lead elsewhere, or nowhere.
      skipChallengeVerification: true,
      async challengeCreateFn(authorization, { type, token }, keyAuthorization) {
        if (type !== proof.type) throw new Error(`the service offers no ${proof.type}`);
        await proof.add(challengeOf(authorization, token, keyAuthorization));
      },
      async challengeRemoveFn(authorization, { token }, keyAuthorization) {
        await proof.remove(challengeOf(authorization, token, keyAuthorization));
      },
    });
    return { certificatePem, keyPem: keyPem.toString() };
  }

  /** The account's URL, also of one that is known. @throws Error with what the service said */
  async #register(client: Acme.Client): Promise<string> {
    const { email } = this.#options;
    const contact = email === null ? {} : { contact: [`mailto:${email}`] };
    try {
      await client.createAccount({ termsOfServiceAgreed: true, ...contact });
    } catch (error) {
      // An account that is known is updated by the library, which strict services refuse when nothing changes.
      return urlOf(client, error);
    }
    return client.getAccountUrl();
  }

  /** Loaded when the first certificate is due: it takes some 20 MB. */
  async #load(): Promise<typeof Acme> {
    const { rootsPath } = this.#options;
    const acme = await import("acme-client");
    const { defaults } = acme.axios;
    defaults.timeout = serviceTimeoutMs;
    // The library's own, which its types do not know.
    const settings = defaults as { acmeSettings?: { retryMaxAttempts: number } };
    if (settings.acmeSettings !== undefined) {
      settings.acmeSettings.retryMaxAttempts = serviceRetriesMax;
    }
    if (rootsPath !== null) {
      const roots = await readFile(rootsPath, "utf8");
      defaults.httpsAgent = new Agent({ ca: [...rootCertificates, roots] });
    }
    return acme;
  }

  /** The account is the key: with the same one the service knows us again. */
  async #accountKey(acme: typeof Acme): Promise<string> {
    const path = join(this.#options.directory, "account-key.pem");
    const kept = await readSecretFile(path);
    if (kept !== null) return kept;
    const made = await acme.crypto.createPrivateEcdsaKey("P-256");
    return await createSecretFile(path, made.toString());
  }
}

/** @throws the error if the service has told of no account */
function urlOf(client: Acme.Client, error: unknown): string {
  try {
    return client.getAccountUrl();
  } catch {
    throw error;
  }
}

/**
 * DNS-01 by a program of the operator's (RFC 8555, section 8.4), called as
 * `PROGRAM add|remove _acme-challenge.DOMAIN. VALUE`. It returns when the name servers answer so.
 */
import { execFile } from "node:child_process";

import { hookOutputSizeBytesMax, hookTimeoutMs } from "../limits.ts";
import type { ChallengeProof } from "./acme-orders.ts";

export class DnsProof implements ChallengeProof {
  readonly type = "dns-01";
  readonly #program: string;
  /** One call after another: programs that edit a zone rarely expect a second one of themselves. */
  #last: Promise<void> = Promise.resolve();

  constructor(program: string) {
    this.#program = program;
  }

  async add(challenge: { name: string; keyAuthorization: string }): Promise<void> {
    await this.#call("add", challenge);
  }

  async remove(challenge: { name: string; keyAuthorization: string }): Promise<void> {
    await this.#call("remove", challenge);
  }

  async #call(
    action: "add" | "remove",
    { name, keyAuthorization }: { name: string; keyAuthorization: string },
  ): Promise<void> {
    const words = [action, `_acme-challenge.${name}.`, keyAuthorization];
    const call = this.#last.then(() => runHook(this.#program, words));
    this.#last = call.catch(() => undefined);
    await call;
  }
}

async function runHook(program: string, words: string[]): Promise<void> {
  const options = { timeout: hookTimeoutMs, maxBuffer: hookOutputSizeBytesMax } as const;
  await new Promise<void>((resolve, reject) => {
    const child = execFile(program, words, options, (cause, _, stderr) => {
      if (cause === null) return resolve();
      const said = stderr.trim().slice(-1_000);
      const reason = said === "" ? cause.message : said;
      reject(new Error(`the DNS hook ${program} ${words[0]} failed: ${reason}`, { cause }));
    });
    child.stdin?.end();
  });
}

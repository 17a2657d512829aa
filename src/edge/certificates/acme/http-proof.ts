/** HTTP-01: the service asks for a file below the name itself, on port 80 (RFC 8555, section 8.3). */
import type { ChallengeProof } from "./acme-orders.ts";

const pathPrefix = "/.well-known/acme-challenge/";

export class HttpProof implements ChallengeProof {
  readonly type = "http-01";
  /** Only while an order is under way. */
  readonly #answers = new Map<string, { name: string; keyAuthorization: string }>();

  async add(challenge: { name: string; token: string; keyAuthorization: string }): Promise<void> {
    const { name, token, keyAuthorization } = challenge;
    this.#answers.set(token, { name, keyAuthorization });
  }

  async remove({ token }: { token: string }): Promise<void> {
    this.#answers.delete(token);
  }

  /**
   * What plain HTTP answers, as `application/octet-stream`; null when the path is none of ours.
   * @param hostName without a port
   */
  answer(hostName: string, path: string): string | null {
    if (!path.startsWith(pathPrefix)) return null;
    const found = this.#answers.get(path.slice(pathPrefix.length));
    return found?.name === hostName ? found.keyAuthorization : null;
  }
}

import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { readJsonLines } from "../base/json-lines.ts";
import { isAlive, signalProcess, type ProcessIdentity } from "../base/process-identity.ts";
import { waitUntil } from "../base/wait.ts";
import { parseOffer, type AdoptionOffer } from "../contract/adoption.ts";
import { adoptedEndMsMax, adoptionOfferMsMax, offerBytesMax } from "./limits.ts";
import type { ChildLink } from "./supervised-process.ts";

/** A child that has outlived the server that started it, which was not this process. */
export class AdoptedChild implements ChildLink {
  readonly offer: AdoptionOffer;
  readonly exited: ChildLink["exited"];
  readonly #socket: Socket;
  readonly #identity: ProcessIdentity;
  /** What it said before somebody listened. */
  readonly #said: unknown[];
  #onValue: ((value: unknown) => void) | null = null;
  /** It ended as it was told to. */
  #isStopped = false;
  #isDisowned = false;

  private constructor(parts: {
    identity: ProcessIdentity;
    offer: AdoptionOffer;
    socket: Socket;
    said: unknown[];
    onSaid: (listener: (value: unknown) => void) => void;
  }) {
    this.offer = parts.offer;
    this.#socket = parts.socket;
    this.#identity = parts.identity;
    this.#said = parts.said;
    parts.onSaid((value) => this.#hear(value));
    this.exited = this.#end();
  }

  /** Null when it is no such process, or does not offer in time what this version understands. */
  static async meet(
    path: string,
    identity: ProcessIdentity,
    offerMsMax = adoptionOfferMsMax,
  ): Promise<AdoptedChild | null> {
    const socket = connect({ path });
    const said: unknown[] = [];
    let hear = (value: unknown): void => void said.push(value);
    const isHeard = new Promise<void>((resolve) => {
      socket.on("error", () => socket.destroy());
      socket.on("close", () => resolve());
      readJsonLines(socket, {
        lineBytesMax: offerBytesMax,
        onValue: (value) => {
          hear(value);
          resolve();
        },
        onOther: () => socket.destroy(),
      });
      setTimeout(resolve, offerMsMax).unref();
    });
    await isHeard;
    const offer = parseOffer(said.shift());
    if (offer === null || offer.pid !== identity.pid || socket.destroyed || !isAlive(identity)) {
      socket.destroy();
      return null;
    }
    const onSaid = (listener: (value: unknown) => void): void => void (hear = listener);
    return new AdoptedChild({ identity, offer, socket, said, onSaid });
  }

  get pid(): number {
    return this.#identity.pid;
  }

  get alive(): boolean {
    return isAlive(this.#identity);
  }

  listen(onValue: (value: unknown) => void): void {
    this.#onValue = onValue;
    for (const value of this.#said.splice(0)) onValue(value);
  }

  send(line: unknown): void {
    if (this.#socket.writable) this.#socket.write(`${JSON.stringify(line)}\n`);
  }

  kill(): void {
    signalProcess(this.#identity, "SIGKILL");
  }

  /** It is not for this server: it waits for another, or for a signal. */
  disown(): void {
    this.#isDisowned = true;
    this.#socket.destroy();
  }

  #hear(value: unknown): void {
    if ((value as { type?: unknown } | null)?.type === "stopped") this.#isStopped = true;
    if (this.#onValue === null) this.#said.push(value);
    else this.#onValue(value);
  }

  /** Only a parent can wait for a process; the end of its connection says when to look. */
  async #end(): Promise<{ code: number | null; signal: null }> {
    await new Promise<void>((resolve) => {
      this.#socket.once("close", () => resolve());
      if (this.#socket.closed) resolve();
    });
    if (this.#isDisowned) return { code: null, signal: null };
    const timeoutMs = adoptedEndMsMax;
    if (!(await waitUntil(() => this.#isGone(), { timeoutMs, intervalMs: 5 }))) {
      // One that lives without its connection can be told nothing any more.
      this.kill();
      await waitUntil(() => this.#isGone(), { timeoutMs });
    }
    return { code: this.#isStopped ? 0 : null, signal: null };
  }

  /** Its files are closed only when its last thread is gone, while its first is a zombie already. */
  #isGone(): boolean {
    if (isAlive(this.#identity)) return false;
    try {
      return readdirSync(`/proc/${this.#identity.pid}/task`).length <= 1;
    } catch {
      return true;
    }
  }
}

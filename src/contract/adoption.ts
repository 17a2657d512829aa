/**
 * How a process outlives the server that started it, and comes to the next one. It listens on a Unix socket; whoever
 * connects is told an `AdoptionOffer` and every `AgentStatus` after it, and sends `AgentCommand` lines. The first of
 * them is `adopt`, or `stop` from a server that cannot use it.
 */

import type { AgentStatus, PassedDescriptor } from "./agent-startup.ts";

/** Raised when an offer can no longer be understood by servers of the version before. */
const adoptionProtocol = 1;

/** Each session's input or terminal, the disk, the lifeline, the log: as many as a worker keeps. */
const descriptorsMax = 1_100;
const keyLengthMax = 200;

export interface AdoptionOffer {
  type: "offer";
  protocol: number;
  /** As the server numbers processes too. */
  pid: number;
  version: string;
  /** What it was started with, but for what comes with each process of a sprite anew. */
  startup: Readonly<Record<string, unknown>>;
  /** Of its API; empty for an image server. */
  socketPath: string;
  status: "warm" | "running";
  /** What it has open that is to outlive it, by its own numbers. */
  descriptors: readonly PassedDescriptor[];
}

/** Null: it is of another version of the protocol, or nothing of the kind. */
export function parseOffer(value: unknown): AdoptionOffer | null {
  const offer = value as Partial<AdoptionOffer> | null;
  const isOffer =
    typeof offer === "object" &&
    offer?.type === "offer" &&
    offer.protocol === adoptionProtocol &&
    isCount(offer.pid) &&
    typeof offer.version === "string" &&
    typeof offer.startup === "object" &&
    offer.startup !== null &&
    typeof offer.socketPath === "string" &&
    (offer.status === "warm" || offer.status === "running") &&
    Array.isArray(offer.descriptors) &&
    offer.descriptors.length <= descriptorsMax &&
    offer.descriptors.every(isDescriptor);
  return isOffer ? (offer as AdoptionOffer) : null;
}

/** What a process would offer, kept up to date by all that it says to its server. */
export class OfferState {
  readonly #descriptors: Map<string, number>;
  #status: "warm" | "running" = "running";
  #socketPath = "";

  constructor(passed: readonly PassedDescriptor[]) {
    this.#descriptors = new Map(passed.map(({ key, descriptor }) => [key, descriptor]));
  }

  note(said: AgentStatus): void {
    if (said.type === "keep") this.#descriptors.set(said.key, said.descriptor);
    if (said.type === "release") this.#descriptors.delete(said.key);
    if (said.type === "rest") {
      this.#status = said.rest === "frozen" || said.rest === "thawing" ? "warm" : "running";
    }
    if (said.type === "ready") this.#socketPath = said.socketPath;
  }

  offer(
    of: Pick<AdoptionOffer, "pid" | "version"> & { startup: AdoptionOffer["startup"] },
  ): AdoptionOffer {
    return {
      ...{ type: "offer", protocol: adoptionProtocol, ...of },
      ...{ socketPath: this.#socketPath, status: this.#status },
      descriptors: [...this.#descriptors].map(([key, descriptor]) => ({ key, descriptor })),
    };
  }
}

function isDescriptor(value: unknown): boolean {
  const { key, descriptor } = (value ?? {}) as Partial<PassedDescriptor>;
  return typeof key === "string" && key.length <= keyLengthMax && isCount(descriptor);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

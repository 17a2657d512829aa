/** What the suites share. */
import type { Sprite } from "@fly/sprites";
import { childrenOf } from "../test/support/processes.ts";
import type { TestServer } from "../test/support/server.ts";
import type { Cleanup } from "./cleanup.ts";
import type { Plan } from "./plan.ts";
import type { Podman } from "./podman.ts";
import type { Row } from "./report.ts";
import type { BenchStore } from "./store.ts";

export interface Bench {
  plan: Plan;
  cleanup: Cleanup;
  /** Everything of the bench lies here, on the host's disk. */
  directory: string;
  /** The image's tree, read-only, as the lower layer of the host's places. */
  imageMount: string;
  server: TestServer;
  /** Null when podman does not run on this machine; then `podmanNote` says why. */
  podman: Podman | null;
  podmanNote: string | null;
  /** The S3 server and the server on it: started when the first row wants them. */
  far: () => Promise<FarBench>;
  wants: (name: string) => boolean;
  /** Whether any row is wanted of which the name begins with one of these. */
  wantsGroup: (groups: readonly string[]) => boolean;
  emit: (row: Row) => void;
}

export interface FarBench {
  store: BenchStore;
  /** Its sprites are in the store. */
  server: TestServer;
}

let spritesMade = 0;

export async function createSprite(bench: Bench): Promise<Sprite> {
  return await bench.server.client().createSprite(nextSpriteName());
}

export function nextSpriteName(): string {
  return `bench-${++spritesMade}`;
}

/** Processes that work for sprites in the background: agents and image servers. */
export async function backgroundPids(bench: Bench): Promise<number[]> {
  return (await childrenOf(bench.server.places)).map((identity) => identity.pid);
}

/** The peer of a row: podman's samples, or the reason why there are none. */
export function podmanPeer(
  bench: Bench,
  samples: readonly number[],
): { peer?: { name: string; samples: readonly number[] }; note?: string } {
  if (bench.podmanNote !== null) return { note: bench.podmanNote };
  return { peer: { name: "podman", samples } };
}

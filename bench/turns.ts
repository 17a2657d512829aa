/** Runs one workload in a sprite and at its peers in turn, so that all of them see the same machine. */
import { runCommand } from "../src/host/command.ts";
import { say } from "./cleanup.ts";
import type { Workload } from "./disk-workloads.ts";
import { settle } from "./machine.ts";
import type { Place, SpritePlace } from "./place.ts";
import { failedRow, rowOf, type Row } from "./report.ts";

export interface Turns {
  sprite: SpritePlace;
  /** Processes that work for the places in the background. */
  pids: readonly number[];
  /** The sprite's cache file, below which lies the host's page cache. */
  cacheFile: string;
  /** Where all of the bench lies, on the host's disk. */
  directory: string;
  emit: (row: Row) => void;
}

export interface Peer {
  place: Place;
  /** Of the row that compares the sprite with it. */
  row: string;
  note?: string;
}

/** One row for each peer. A peer that cannot do it costs its own row only. */
export async function takeTurns(
  turns: Turns,
  options: { workload: Workload; peers: readonly Peer[]; rounds: number },
): Promise<void> {
  const { workload, peers, rounds } = options;
  const { unit } = workload;
  const places = [turns.sprite, ...peers.map(({ place }) => place)];
  const samples = new Map<Place, number[]>(places.map((place) => [place, []]));
  const failures = new Map<Place, unknown>();
  for (let round = 0; round < rounds; round++) {
    // Who goes first changes, so that no side always follows another.
    for (const place of round % 2 === 0 ? places : places.toReversed()) {
      if (failures.has(place)) continue;
      try {
        const value = await measureOnce(turns, workload, place);
        samples.get(place)?.push(value);
        say(`${workload.name} ${place.name}: ${value.toFixed(1)} ${unit}`);
      } catch (error) {
        failures.set(place, error);
      }
    }
  }
  const own = samples.get(turns.sprite) ?? [];
  for (const { place, row: name, note = workload.note } of peers) {
    const failed = [turns.sprite, place].find((side) => failures.has(side));
    const peer = { name: place.name, samples: samples.get(place) ?? [] };
    const notes = note === undefined ? {} : { note };
    turns.emit(
      failed === undefined
        ? rowOf({ name, unit, samples: own, peer, ...notes })
        : failedRow(name, unit, failures.get(failed)),
    );
  }
}

async function measureOnce(turns: Turns, workload: Workload, place: Place): Promise<number> {
  await workload.prepare?.(place);
  await settle(turns.pids, turns.directory);
  if (workload.cold === true) await dropCache(turns.cacheFile);
  return await workload.measure(place);
}

/** Writes the file's dirty pages and forgets its clean ones. The host's own direct reads are never cached. */
async function dropCache(file: string): Promise<void> {
  await runCommand("sync", [file], { deadlineMs: 60_000 });
  await runCommand("dd", [`if=${file}`, "iflag=nocache", "count=0", "status=none"], {
    deadlineMs: 60_000,
  });
}

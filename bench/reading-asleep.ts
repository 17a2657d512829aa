/** Rows about reading a file of a sprite that sleeps: from nothing, and when somebody has just read another. */
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { spriteCacheDirectory } from "../src/worker/places.ts";
import { createSprite, podmanPeer, type Bench } from "./context.ts";
import { guarded, timeMs } from "./life.ts";
import { rowOf } from "./report.ts";

const names = ["read_asleep", "read_asleep_again", "read_asleep_bucket_only"] as const;
const path = "/home/sprite/kept";

export async function runReadingAsleep(bench: Bench): Promise<void> {
  if (!names.some(bench.wants)) return;
  await guarded(bench, names, "ms", async () => {
    const { server, podman } = bench;
    const sprite = await createSprite(bench);
    const samples: Record<(typeof names)[number] | "podman", number[]> = {
      ...{ read_asleep: [], read_asleep_again: [], read_asleep_bucket_only: [], podman: [] },
    };
    const read = async (): Promise<void> => {
      const target = `/v1/sprites/${sprite.name}/fs/read?path=${path}`;
      const answer = await server.request(target);
      assert.equal((await answer.text()).trim(), "kept");
    };
    const container = podman === null ? null : await podman.start();
    if (container !== null) await podman?.stop(container);
    const { id } = (await (await server.request(`/v1/sprites/${sprite.name}`)).json()) as {
      id: string;
    };
    for (let round = 0; round < bench.plan.wakeRounds; round++) {
      // A start sends the reader of the round before away.
      await sprite.execFile("sh", ["-c", `echo kept > ${path}`]);
      await server.request(`/v1/sprites/${sprite.name}/sleep`, { method: "POST" });
      samples.read_asleep.push(await timeMs(read));
      samples.read_asleep_again.push(await timeMs(read));
      await sprite.execFile("true");
      await server.request(`/v1/sprites/${sprite.name}/sleep`, { method: "POST" });
      await rm(spriteCacheDirectory(server.places, id), { recursive: true });
      samples.read_asleep_bucket_only.push(await timeMs(read));
      if (podman === null || container === null) continue;
      samples.podman.push(await timeMs(() => podman.copyOut(container, "/etc/os-release")));
    }
    if (container !== null) await podman?.remove(container);
    for (const name of names) {
      const peer = podmanPeer(bench, samples.podman);
      bench.emit(rowOf({ name, unit: "ms", samples: samples[name], ...peer }));
    }
    await sprite.delete();
  });
}

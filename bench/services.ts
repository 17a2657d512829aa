/** Rows about services. */
import { createSprite, podmanPeer, type Bench } from "./context.ts";
import { guarded, timeMs } from "./life.ts";
import { rowOf } from "./report.ts";

const name = "service_start";
const warmUps = 3;

/** From the call until the stream says that the process runs; podman's returns when it does. */
export async function runServices(bench: Bench): Promise<void> {
  if (!bench.wants(name)) return;
  await guarded(bench, [name], "ms", async () => {
    const sprite = await createSprite(bench);
    const container = bench.podman === null ? null : await bench.podman.start();
    const service = { cmd: "sleep", args: ["7200"] };
    await (await sprite.createService("sleeper", service, "1ms")).processAll(() => undefined);
    const samples: number[] = [];
    const peer: number[] = [];
    for (let round = 0; round < bench.plan.execRounds + warmUps; round++) {
      await (await sprite.stopService("sleeper")).processAll(() => undefined);
      const startedMs = await timeMs(async () => {
        const stream = await sprite.startService("sleeper", "1ms");
        const event = await stream.next();
        if (event?.type !== "started") throw new Error(`the service did not start: ${event?.type}`);
        stream.close();
      });
      if (round >= warmUps) samples.push(startedMs);
      if (bench.podman === null || container === null) continue;
      const { podman } = bench;
      peer.push(await timeMs(() => podman.execDetached(container, ["sleep", "7200"])));
    }
    bench.emit(rowOf({ name, unit: "ms", samples, ...podmanPeer(bench, peer) }));
    await sprite.delete();
    if (container !== null) await bench.podman?.remove(container);
  });
}

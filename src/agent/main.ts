/** The outer world of one sprite: the process that a worker starts for it (contract/agent-startup.ts). */
import { openControlPipe } from "../base/control-pipe.ts";
import { watchForCrash } from "../base/crash.ts";
import { createLog, type LogLevel } from "../base/log.ts";
import { keepCompiledCode } from "../base/node-process.ts";
import { aheadFlag, type AgentStartup } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import { prepareSlowLane } from "../storage/volume/lane-client.ts";
import { beginAgent } from "./beginnings.ts";

const pipe = openControlPipe<AgentStartup>();
if (process.argv.includes(aheadFlag)) {
  // Nothing of a sprite's is known yet; whoever gets it waits for less.
  prepareSlowLane();
  await import("./boot.ts");
}
const startup = await pipe.startup.catch(() => null);
// Also how the server has the agent's code compiled ahead of its first sprite (worker/warm-up.ts).
if (startup === null) {
  await import("./boot.ts");
  process.exit(0);
}
const log = createLog({ level: startup.logLevel as LogLevel, room: "agent" }).child({
  spriteId: startup.spriteId,
});
watchForCrash(log);

try {
  const beginnings = beginAgent(startup, pipe.say, log);
  const { bootAgent } = await import("./boot.ts");
  const agent = await bootAgent(startup, beginnings, log);
  const bootMs = Math.round(performance.now());
  const { adoptionSocket, orphanMsMax, version, descriptors: _, ...startedWith } = startup;
  await pipe.outlive({
    ...{ socketPath: adoptionSocket, orphanMsMax, version },
    startup: () => ({ ...startedWith, policy: agent.policy() }),
  });
  pipe.say({ type: "ready", socketPath: agent.socketPath, bootMs });
  keepCompiledCode();
  const { discard } = await pipe.stop;
  await agent.stop({ discard });
  pipe.say({ type: "stopped", synced: !discard });
  process.exit(0);
} catch (error) {
  log.error({ err: error }, "the agent cannot go on");
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof SpriteError ? error.code : "start_failed";
  pipe.say({ type: "failed", code, message });
  process.exit(1);
}

/**
 * An agent at the moment when only it sees its disk's mounts: the container has ended, and no helper
 * runs. Its argument is an AgentStartup as JSON. Says one line when it is there.
 */
import { createLog } from "../../base/log.ts";
import type { AgentStartup } from "../../contract/agent-startup.ts";
import { beginAgent } from "../beginnings.ts";
import { Disk } from "../disk.ts";
import { ShownCheckpoints } from "../shown-checkpoints.ts";

const log = createLog({ level: "error", room: "test" });
const startup = JSON.parse(process.argv[2] ?? "") as AgentStartup;
const { runDirectory } = startup;
const { helper, opening } = beginAgent(startup, () => undefined, log);
const volume = await opening;
const shown = new ShownCheckpoints({ volume, runDirectory });
const disk = new Disk({ volume, helper, shown, runDirectory, log });
await disk.open();
await disk.attach();
await helper.close();
process.stdout.write("ready\n");
setInterval(() => undefined, 60_000);

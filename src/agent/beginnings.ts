import type { Log } from "../base/log.ts";
import { createDescriptorKeeper, type DescriptorKeeper } from "../base/descriptor-keeper.ts";
import type { AgentStartup, AgentStatus } from "../contract/agent-startup.ts";
import { createHostHelper, type HostHelper } from "../host/host-helper.ts";
import { keepMountsUntilFilesClose } from "../host/own-mounts.ts";
import { openVolume } from "../storage/volume/open-volume.ts";
import type { Volume } from "../storage/volume/volume.ts";
import { syncIntervalMs } from "./limits.ts";

/** What runs in a process or a thread of its own, and takes the longest to come up. */
export interface AgentBeginnings {
  helper: HostHelper;
  keeper: DescriptorKeeper;
  opening: Promise<Volume>;
  say: (status: AgentStatus) => void;
}

/** Sets both going; the rest of the agent's code is loaded meanwhile. */
export function beginAgent(
  startup: AgentStartup,
  say: (status: AgentStatus) => void,
  log: Log,
): AgentBeginnings {
  keepMountsUntilFilesClose();
  const opening = openVolume({
    bucket: startup.bucket,
    prefix: `sprites/${startup.spriteId}`,
    server: startup.serverId,
    cacheDirectory: startup.cacheDirectory,
    cacheSizeBytesMax: startup.cacheSizeBytesMax,
    sizeBytes: startup.diskSizeBytes,
    readOnly: false,
    syncIntervalMs,
    durability: startup.durability,
    isStillOurs: startup.isStillOurs,
  });
  // Whoever boots the agent awaits it, if it gets that far.
  opening.catch(() => undefined);
  const helper = createHostHelper(log);
  helper.start();
  const keeper = createDescriptorKeeper({ passed: startup.descriptors, say });
  return { helper, keeper, opening, say };
}

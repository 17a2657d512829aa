/**
 * Which OCI runtime this machine's containers get, and the one call of it that others than a
 * container's own agent make. What is wrong with its version is `make doctor`'s business.
 */
import { runtimeNames, type RuntimeName } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import { cgroupMode, type CgroupMode } from "./cgroups.ts";
import { HostError, runCommand } from "./command.ts";
import { runtimeVersionMsMax } from "./limits.ts";

export interface RuntimeProbe {
  cgroups: CgroupMode;
  /** True when the program is there and answers. */
  isInstalled(name: RuntimeName): Promise<boolean>;
}

/**
 * The runtime that was asked for, or else what fits: runc wherever it is installed; crun only where
 * cgroups are purely version 2, since it refuses a hybrid hierarchy. runsc (gVisor) is refused by
 * name, so that whoever asks for it learns why.
 * @throws SpriteError unavailable
 */
export async function chooseRuntime(
  requested: string | null,
  probe: RuntimeProbe = machineProbe(),
): Promise<RuntimeName> {
  if (requested !== null) {
    const name = runtimeNames.find((known) => known === requested);
    if (name === undefined) {
      throw new SpriteError(
        "unavailable",
        `unknown runtime ${requested}: give runc, crun or runsc`,
      );
    }
    if (name === "runsc") {
      throw new SpriteError(
        "unavailable",
        "runsc (gVisor) cannot run sprites yet: it does not open the pipes that commands get from the host; use runc",
      );
    }
    if (!(await probe.isInstalled(name))) {
      throw new SpriteError("unavailable", `the runtime ${name} is not installed`);
    }
    return name;
  }
  if (await probe.isInstalled("runc")) return "runc";
  if (probe.cgroups === "v2" && (await probe.isInstalled("crun"))) return "crun";
  throw new SpriteError("unavailable", "no OCI runtime is installed; run: apt-get install runc");
}

/**
 * Ends every process of a container and forgets it. Does nothing to one that does not exist.
 * @throws HostError
 */
export async function deleteContainer(options: {
  runtime: RuntimeName;
  /** The runtime's state directory. */
  root: string;
  containerId: string;
  deadlineMs: number;
}): Promise<void> {
  const { runtime, root, containerId, deadlineMs } = options;
  await runCommand(runtime, ["--root", root, "delete", "--force", containerId], { deadlineMs });
}

function machineProbe(): RuntimeProbe {
  return {
    cgroups: cgroupMode(),
    isInstalled: async (name) => {
      try {
        await runCommand(name, ["--version"], { deadlineMs: runtimeVersionMsMax });
        return true;
      } catch (error) {
        if (error instanceof HostError) return false;
        throw error;
      }
    },
  };
}

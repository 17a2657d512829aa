/** Runs `ip`, `nft` and friends in a network namespace. */
import { runCommand } from "../host/command.ts";
import { networkCallMsMax } from "./limits.ts";

/** A namespace's handle: a path such as /proc/PID/ns/net, or null for this process's own. */
export type NamespacePath = string | null;

/** @throws HostError */
export async function runInNamespace(
  namespace: NamespacePath,
  command: readonly string[],
  input = "",
): Promise<string> {
  const inside = namespace === null ? command : ["nsenter", `--net=${namespace}`, ...command];
  const [program = "", ...args] = inside;
  const { stdout } = await runCommand(program, args, { deadlineMs: networkCallMsMax, input });
  return stdout;
}

/** All commands in one run of `ip`; stops at the first that fails. */
export async function configureInterfaces(
  namespace: NamespacePath,
  commands: readonly string[],
): Promise<void> {
  await runInNamespace(namespace, ["ip", "-batch", "-"], `${commands.join("\n")}\n`);
}

/** All rules in one transaction: either every one of them holds or nothing has changed. */
export async function applyRules(namespace: NamespacePath, rules: string): Promise<void> {
  await runInNamespace(namespace, ["nft", "-f", "-"], rules);
}

/** /proc/sys/net shows the settings of the namespace of whoever opens it. */
export async function readNetworkSetting(namespace: NamespacePath, name: string): Promise<string> {
  return (await runInNamespace(namespace, ["cat", settingPath(name)])).trim();
}

export async function writeNetworkSetting(
  namespace: NamespacePath,
  name: string,
  value: string,
): Promise<void> {
  await runInNamespace(namespace, ["tee", settingPath(name)], value);
}

/** An interface's name may hold dots, so the path comes in parts. */
function settingPath(name: string): string {
  return `/proc/sys/net/${name}`;
}

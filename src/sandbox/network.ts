/** A sprite's own network: the cable from the gateway to the container's namespace, and its addresses. */
import type { Log } from "../base/log.ts";
import type { AgentNetwork } from "../contract/agent-startup.ts";
import { HostError } from "../host/command.ts";
import { configureInterfaces, runInNamespace } from "./network-namespace.ts";

/**
 * Connects the container whose first process is given; with no gateway it has only its loopback.
 * @throws HostError
 */
export async function connectNetwork(network: AgentNetwork, firstProcessId: number): Promise<void> {
  const { gatewayNamespacePath: gateway, interfaceName, address, gatewayAddress } = network;
  if (gateway === null) return;
  const commands = [
    `link add ${interfaceName} type veth peer name eth0 netns ${firstProcessId}`,
    `link set ${interfaceName} up`,
    // The route that also proves whose packets may come from there.
    `route add ${address}/32 dev ${interfaceName} src ${gatewayAddress}`,
  ];
  try {
    await configureInterfaces(gateway, commands);
  } catch (error) {
    if (!(error instanceof HostError) || !error.stderr.includes("File exists")) throw error;
    // The cable of a container that was killed, whose namespace the kernel is still taking apart.
    await configureInterfaces(gateway, [`link delete ${interfaceName}`, ...commands]);
  }
  await configureInterfaces(`/proc/${firstProcessId}/ns/net`, [
    "link set lo up",
    `addr add ${address}/32 dev eth0`,
    "link set eth0 up",
    `route add ${gatewayAddress}/32 dev eth0`,
    `route add default via ${gatewayAddress}`,
  ]);
}

/** Pulls the cable at once; without this the kernel does it some time after the container has ended. */
export async function disconnectNetwork(network: AgentNetwork, log: Log): Promise<void> {
  const { gatewayNamespacePath, interfaceName } = network;
  if (gatewayNamespacePath === null) return;
  try {
    await runInNamespace(gatewayNamespacePath, ["ip", "link", "delete", interfaceName]);
  } catch (error) {
    // Usually it has gone with the container; a gateway that is gone took it along.
    log.debug({ err: error, interfaceName }, "no cable to pull");
  }
}

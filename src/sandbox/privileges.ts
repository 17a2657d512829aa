/** What a privileges policy means for a container. Pure. */
import type { PrivilegesPolicy } from "../contract/policy.ts";
import {
  containerCapabilities,
  minimalCapabilities,
  privilegedCapabilities,
} from "./capabilities.ts";

export interface Privileges {
  capabilities: readonly string[];
  /** Devices that are covered: reading them ends at once. */
  maskedDevices: readonly string[];
  noNewPrivileges: boolean;
}

/** `null` is always there: the runtime covers the others with it. */
const maskableDevices = ["zero", "full", "random", "urandom", "tty"];

export function privilegesOf(policy: PrivilegesPolicy): Privileges {
  const { devices } = policy;
  return {
    capabilities: capabilitiesOf(policy.profile ?? ""),
    maskedDevices:
      devices === undefined ? [] : maskableDevices.filter((name) => !devices.includes(name)),
    noNewPrivileges: policy.noNewPrivileges === true,
  };
}

function capabilitiesOf(profile: NonNullable<PrivilegesPolicy["profile"]>): readonly string[] {
  if (profile === "minimal") return minimalCapabilities;
  if (profile === "privileged") return privilegedCapabilities;
  return containerCapabilities;
}

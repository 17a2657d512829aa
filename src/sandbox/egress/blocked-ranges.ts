/** Addresses that no sprite reaches, whatever its policy and whichever name has them. Pure. */
import { BlockList } from "node:net";

/**
 * Private and link-local networks, and what is none of a sprite's business on any network. The
 * ranges for documentation (RFC 5737) are left out: nobody has them.
 */
export const blockedRanges: readonly string[] = [
  "0.0.0.0/8", // "this network"
  "10.0.0.0/8",
  "100.64.0.0/10", // behind a carrier's translation; Alibaba's metadata
  "127.0.0.0/8",
  "168.63.129.16/32", // Azure's metadata
  "169.254.0.0/16", // link-local: nearly all clouds' metadata
  "172.16.0.0/12",
  "192.0.0.0/24", // protocol assignments; Oracle's metadata
  "192.168.0.0/16",
  "198.18.0.0/15", // benchmarks between networks
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, and broadcast
];

/** Those of them at which clouds serve a machine's identity and secrets. */
export const metadataRanges: readonly string[] = [
  "100.100.100.200/32",
  "168.63.129.16/32",
  "169.254.0.0/16",
  "192.0.0.192/32",
];

/** For addresses that come as a name's. */
export class AddressFilter {
  readonly #blocked = new BlockList();

  /** `addresses`: single ones besides the ranges. */
  constructor(addresses: readonly string[]) {
    for (const range of blockedRanges) {
      const [network = "", length = ""] = range.split("/");
      this.#blocked.addSubnet(network, Number(length), "ipv4");
    }
    for (const address of addresses) this.#blocked.addAddress(address, "ipv4");
  }

  isBlocked(address: string): boolean {
    return this.#blocked.check(address, "ipv4");
  }
}

/**
 * Which addresses a sprite has been told, and for which names: what it may connect to, and what of
 * it stays reachable when its policy changes. Pure.
 */
import { namesPerAddressMax, toldAddressesMax } from "./limits.ts";

interface Entry {
  /** The asked names with their aliases, the newest last. */
  chains: Map<string, readonly string[]>;
  /** Until when new connections to it are let through. */
  openUntilMs: number;
}

export class AddressBook {
  /** In the order in which they were told last. */
  readonly #entries = new Map<string, Entry>();

  /**
   * Notes what an answer says. `renew`: addresses that have to be opened for longer than they are;
   * `evicted`: those that make room for them.
   */
  tell(
    names: readonly string[],
    told: { addresses: readonly string[]; openUntilMs: number; enoughUntilMs: number },
  ): { renew: string[]; evicted: string[] } {
    const name = names[0] ?? "";
    const renew: string[] = [];
    for (const address of told.addresses) {
      const entry = this.#entries.get(address) ?? { chains: new Map(), openUntilMs: 0 };
      this.#entries.delete(address);
      this.#entries.set(address, entry);
      entry.chains.delete(name);
      entry.chains.set(name, names);
      if (entry.chains.size > namesPerAddressMax) {
        const [oldest] = entry.chains.keys();
        if (oldest !== undefined) entry.chains.delete(oldest);
      }
      // Not for every answer, as long as it stays open for what this one says.
      if (entry.openUntilMs >= told.enoughUntilMs) continue;
      entry.openUntilMs = told.openUntilMs;
      renew.push(address);
    }
    return { renew, evicted: this.#evict() };
  }

  /** True when none of them has to be opened for longer. */
  isOpen(addresses: readonly string[], enoughUntilMs: number): boolean {
    return addresses.every(
      (address) => (this.#entries.get(address)?.openUntilMs ?? 0) >= enoughUntilMs,
    );
  }

  /** Opening them failed: the next answer tries again. */
  forgetOpening(addresses: readonly string[]): void {
    for (const address of addresses) {
      const entry = this.#entries.get(address);
      if (entry !== undefined) entry.openUntilMs = 0;
    }
  }

  /**
   * Forgets the names that `allows` refuses, and the addresses that are left without any.
   * @returns what is left: until when each is open
   */
  narrow(allows: (names: readonly string[]) => boolean): Map<string, number> {
    const left = new Map<string, number>();
    for (const [address, entry] of this.#entries) {
      for (const [name, names] of entry.chains) {
        if (!allows(names)) entry.chains.delete(name);
      }
      if (entry.chains.size === 0) this.#entries.delete(address);
      else left.set(address, entry.openUntilMs);
    }
    return left;
  }

  #evict(): string[] {
    const evicted: string[] = [];
    for (const address of this.#entries.keys()) {
      if (this.#entries.size <= toldAddressesMax) break;
      this.#entries.delete(address);
      evicted.push(address);
    }
    return evicted;
  }
}

/** Who watches an organization's sprites (contract.md section 2.4). */

import { SpriteError } from "../contract/errors.ts";
import { encodeNdjsonLine } from "../contract/ndjson.ts";
import type { SpriteWatchLine } from "../contract/sprite.ts";
import { watchersPerOrganizationMax } from "./limits.ts";

export interface Watcher {
  prefix: string;
  /** Those that a sprite must have, all of them. */
  labels: readonly string[];
  /** Takes one whole line. */
  write(line: string): void;
  end(): void;
}

export class Watchers {
  readonly #byOrganization = new Map<string, Set<Watcher>>();

  /** Returns the function that takes the watcher off again. @throws SpriteError unavailable */
  add(organizationSlug: string, watcher: Watcher): () => void {
    const watchers = this.#byOrganization.get(organizationSlug) ?? new Set<Watcher>();
    if (watchers.size >= watchersPerOrganizationMax) {
      const message = `the organization has ${watchersPerOrganizationMax} watchers, the most it may have`;
      throw new SpriteError("unavailable", message);
    }
    this.#byOrganization.set(organizationSlug, watchers.add(watcher));
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0) this.#byOrganization.delete(organizationSlug);
    };
  }

  /** Organizations that somebody watches. */
  organizationSlugs(): string[] {
    return [...this.#byOrganization.keys()];
  }

  /** A line about a sprite goes to those whose prefix and labels it has; one about none goes to all. */
  publish(
    organizationSlug: string,
    line: SpriteWatchLine,
    sprite: { name: string; labels: readonly string[] } | null,
  ): void {
    const text = encodeNdjsonLine({ ...line });
    for (const watcher of [...(this.#byOrganization.get(organizationSlug) ?? [])]) {
      const isWanted =
        sprite === null ||
        (sprite.name.startsWith(watcher.prefix) &&
          watcher.labels.every((label) => sprite.labels.includes(label)));
      if (isWanted) watcher.write(text);
    }
  }

  endAll(): void {
    for (const watchers of [...this.#byOrganization.values()]) {
      for (const watcher of [...watchers]) watcher.end();
    }
  }

  isWatched(organizationSlug: string): boolean {
    return this.#byOrganization.has(organizationSlug);
  }
}

/** What the sprites of this machine have used, as their agents tell, and as those of servers before this one wrote down. */
import { readdir, readFile, rm } from "node:fs/promises";
import { parseUsageReport, type UsageReport } from "../contract/usage-report.ts";
import { usageDirectory, usageFile, type Places } from "./places.ts";
import type { SpriteUsage } from "./worker.ts";

const fileSuffix = ".json";

export class UsageReports {
  readonly #places: Places;
  readonly #listeners = new Set<(usage: SpriteUsage) => void>();
  /** Of the sprites that run or are warm. */
  readonly #newest = new Map<string, UsageReport>();

  constructor(places: Places) {
    this.#places = places;
  }

  on(listener: (usage: SpriteUsage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes an agent's word for its own sprite, and for nothing that is no report. */
  note(spriteId: string, value: unknown): void {
    const report = parseUsageReport(value);
    if (report === null) return;
    this.#newest.set(spriteId, report);
    this.#tell({ spriteId, report });
  }

  /** It is cold: nothing of it changes any more. */
  onEnded(spriteId: string): void {
    this.#newest.delete(spriteId);
  }

  get newest(): ReadonlyMap<string, UsageReport> {
    return this.#newest;
  }

  /** Tells again what may not have been heard before a server was killed. */
  async tellKept(): Promise<void> {
    const names = await readdir(usageDirectory(this.#places)).catch(() => []);
    for (const name of names.filter((file) => file.endsWith(fileSuffix))) {
      await this.#tellFile(name.slice(0, -fileSuffix.length));
    }
  }

  /** The sprite is gone. What it used is told once more, for a server that was killed before it heard. */
  async remove(spriteId: string): Promise<void> {
    await this.#tellFile(spriteId);
    await rm(usageFile(this.#places, spriteId), { force: true });
    await rm(`${usageFile(this.#places, spriteId)}.new`, { force: true });
  }

  async #tellFile(spriteId: string): Promise<void> {
    try {
      const report = parseUsageReport(
        JSON.parse(await readFile(usageFile(this.#places, spriteId), "utf8")),
      );
      if (report !== null && !this.#newest.has(spriteId)) this.#tell({ spriteId, report });
    } catch {
      // A file that a power failure cut short says nothing, and the agent's next meter begins anew.
    }
  }

  #tell(usage: SpriteUsage): void {
    for (const listener of this.#listeners) listener(usage);
  }
}

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { isOrganizationSlug } from "../contract/names.ts";
import { Organization, type OrganizationRecord } from "./organization.ts";
import { randomOrganizationId, randomShortId } from "./random-ids.ts";

const fileSuffix = ".db";
/** With half a million short ids, more misses in a row than this mean a bug. */
const shortIdAttemptsMax = 100;

/**
 * The databases under `<data>/orgs`, opened when first asked for. Another process may add one at
 * any time.
 */
export class Organizations {
  readonly #directory: string;
  readonly #open = new Map<string, Organization>();

  constructor(dataDirectory: string) {
    this.#directory = join(dataDirectory, "orgs");
  }

  find(slug: string): Organization | null {
    const known = this.#open.get(slug);
    if (known !== undefined) return known;
    // The slug comes from a token that nobody has checked yet: it must not lead outside of the directory.
    if (!isOrganizationSlug(slug) || !existsSync(this.#path(slug))) return null;
    const organization = Organization.open(this.#path(slug));
    if (organization !== null) this.#open.set(slug, organization);
    return organization;
  }

  /** The caller has validated the slug. */
  findOrCreate(slug: string, nowMs: number): Organization {
    const known = this.find(slug);
    if (known !== null) return known;
    const record = { slug, id: randomOrganizationId(), shortId: this.#unusedShortId() };
    const organization = Organization.create(this.#path(slug), record, nowMs);
    this.#open.set(slug, organization);
    return organization;
  }

  all(): Organization[] {
    return this.#slugs()
      .map((slug) => this.find(slug))
      .filter((organization) => organization !== null);
  }

  close(): void {
    for (const organization of this.#open.values()) organization.close();
    this.#open.clear();
  }

  #path(slug: string): string {
    return join(this.#directory, slug + fileSuffix);
  }

  #slugs(): string[] {
    if (!existsSync(this.#directory)) return [];
    return readdirSync(this.#directory)
      .filter((file) => file.endsWith(fileSuffix))
      .map((file) => file.slice(0, -fileSuffix.length))
      .filter(isOrganizationSlug)
      .toSorted();
  }

  #unusedShortId(): OrganizationRecord["shortId"] {
    const used = new Set(this.all().map((organization) => organization.record.shortId));
    for (let attempt = 0; attempt < shortIdAttemptsMax; attempt += 1) {
      const shortId = randomShortId();
      if (!used.has(shortId)) return shortId;
    }
    throw new Error("find an unused short id for the organization");
  }
}

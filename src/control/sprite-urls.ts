/** Sprites by the name in their URL, for the edge: it asks at each request, so all here is cheap. */
import { SpriteError } from "../contract/errors.ts";
import type { UrlSettings } from "../contract/sprite-config.ts";
import type { UrlPort, Worker } from "../worker/worker.ts";
import { unknownShortIdLookMs } from "./limits.ts";
import type { Organization } from "./organization.ts";
import type { Organizations } from "./organizations.ts";
import { spriteSpec } from "./sprite-record.ts";
import type { Sprites } from "./sprites.ts";

export interface SpriteByUrl {
  id: string;
  name: string;
  organizationSlug: string;
  urlSettings: UrlSettings;
}

export class SpriteUrls {
  readonly #organizations: Organizations;
  readonly #sprites: Sprites;
  readonly #worker: Worker;
  readonly #byShortId = new Map<string, Organization>();
  #lookedAtMs = -Infinity;

  constructor(parts: { organizations: Organizations; sprites: Sprites; worker: Worker }) {
    this.#organizations = parts.organizations;
    this.#sprites = parts.sprites;
    this.#worker = parts.worker;
  }

  /** Null when no sprite has that URL. */
  find(name: string, organizationShortId: string): SpriteByUrl | null {
    const organization = this.#organization(organizationShortId);
    const row = organization?.spriteUrlByName(name) ?? null;
    if (organization === null || row === null) return null;
    return {
      id: row.id,
      name,
      organizationSlug: organization.record.slug,
      urlSettings: row.urlSettings,
    };
  }

  /** Starts the sprite when it is cold. @throws SpriteError */
  async open({ id, organizationSlug, name }: SpriteByUrl, signal: AbortSignal): Promise<UrlPort> {
    const organization = this.#organizations.find(organizationSlug);
    if (organization === null) throw new Error("an organization is never removed");
    const sprite = this.#sprites.findReady(organization, name);
    // Whoever was let in to the one that had the name before was not let in to this one.
    if (sprite.id !== id) throw new SpriteError("not_found", "the sprite was deleted");
    await this.#sprites.start(sprite, signal);
    return await this.#worker.openUrl(spriteSpec(sprite));
  }

  /** Another process may have added one. Strangers who try names must not have the directory read each time. */
  #organization(shortId: string): Organization | null {
    const known = this.#byShortId.get(shortId);
    if (known !== undefined) return known;
    const nowMs = performance.now();
    if (nowMs - this.#lookedAtMs < unknownShortIdLookMs) return null;
    this.#lookedAtMs = nowMs;
    for (const organization of this.#organizations.all()) {
      this.#byShortId.set(organization.record.shortId, organization);
    }
    return this.#byShortId.get(shortId) ?? null;
  }
}

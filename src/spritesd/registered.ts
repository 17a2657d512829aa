/** What the registries in a bucket name: nobody else knows which volumes are somebody's. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openOrganizationDatabase } from "../control/database.ts";
import type { Registered } from "../storage/audit/disposal.ts";
import { databaseNames } from "../storage/litestream/restore-missing.ts";
import { restoreDatabase } from "../storage/litestream/restore.ts";
import type { ObjectStore } from "../storage/object-store/object-store.ts";

/** Null when the bucket has none. @throws SpriteError when one cannot be read: then nothing can be told */
export async function readRegistered(store: ObjectStore): Promise<Registered | null> {
  const names = await databaseNames(store, "orgs");
  if (names.length === 0) return null;
  const sprites = new Set<string>();
  const images = new Set<string>();
  const scratch = await mkdtemp(join(tmpdir(), "opensprites-registry-"));
  try {
    for (const name of names) {
      const path = join(scratch, name);
      const target = { kind: "latest" } as const;
      await restoreDatabase({ store, prefix: `orgs/${name}`, target, path });
      for (const { id, image_hash } of spritesOf(path)) {
        sprites.add(`sprites/${id}`);
        images.add(`images/${image_hash}`);
      }
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return { sprites, images };
}

/** Of whatever state: one that is being destroyed is left to its server. */
function spritesOf(path: string): { id: string; image_hash: string }[] {
  const database = openOrganizationDatabase(path);
  try {
    return database
      .prepare<[], { id: string; image_hash: string }>("SELECT id, image_hash FROM sprite")
      .all();
  } finally {
    database.close();
  }
}

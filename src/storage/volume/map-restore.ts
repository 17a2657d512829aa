/** Puts the map together from the files of its chain. */
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { sidecarPaths } from "../database.ts";
import type { ChainFile } from "../litestream/database-replica.ts";
import { syncDirectory } from "../local-files.ts";
import { decodeLtx } from "../ltx/decode.ts";
import { ltxKey } from "../ltx/names.ts";
import { planRestore } from "../ltx/restore-plan.ts";
import type { ObjectStore } from "../object-store/object-store.ts";

export async function restoreFiles(options: {
  store: ObjectStore;
  prefix: string;
  files: readonly ChainFile[];
  path: string;
}): Promise<void> {
  const { store, prefix, files, path } = options;
  const draft = `${path}.restored`;
  const file = await open(draft, "w", 0o600);
  try {
    for (const name of planOf(files)) {
      const bytes = await store.get(ltxKey(prefix, name));
      if (bytes === null) throw new SpriteError("storage_failure", "a file of the map is missing");
      const { header, pages } = decodeLtx(bytes);
      for (const page of pages()) {
        await file.write(page.bytes, 0, page.bytes.length, (page.pgno - 1) * header.pageSizeBytes);
      }
      await file.truncate(header.commitPages * header.pageSizeBytes);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await rm(path, { force: true });
  for (const stale of sidecarPaths(path)) await rm(stale, { force: true });
  await rename(draft, path);
  await syncDirectory(dirname(path));
}

function planOf(files: readonly ChainFile[]): ChainFile[] {
  const plan = planRestore(files);
  if (plan.kind === "plan") return plan.files;
  throw new SpriteError("storage_failure", "the chain of the map has a gap");
}

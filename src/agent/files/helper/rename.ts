import { renameSync } from "node:fs";

import type { RenameRequest } from "../../../contract/file-requests.ts";
import type { RenamedFile } from "../file-operations.ts";
import { attempt, entryPath, type Root } from "./root.ts";

/** As rename(2): replaces a file by a file, an empty directory by a directory; links move themselves. */
export function rename(root: Root, { source, dest }: RenameRequest): RenamedFile {
  return root.withParent(source, (from) =>
    root.withParent(dest, (to) => {
      attempt("rename", source, () =>
        renameSync(entryPath(from.directory, from.name), entryPath(to.directory, to.name)),
      );
      return { source, dest };
    }),
  );
}

/** What a server writes down about each of its children, for the one that comes after it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { identifyProcess, type ProcessIdentity } from "../base/process-identity.ts";

const ending = ".json";

export interface ChildRecord extends ProcessIdentity {
  /** The FUSE connection that it serves, once it is ready. */
  connection?: number;
  /** It outlives its server, and then stops in order at SIGTERM. */
  canOutlive?: boolean;
}

/** Beside the record. */
export function adoptionSocketOf(identityFile: string): string {
  return `${identityFile.slice(0, -ending.length)}.sock`;
}

export function rememberChild(
  file: string,
  child: { pid: number | undefined; connection?: number },
): void {
  const identity = child.pid === undefined ? null : identifyProcess(child.pid);
  if (identity === null) return;
  const { connection } = child;
  const record: ChildRecord = {
    ...{ ...identity, canOutlive: true },
    ...(connection === undefined ? {} : { connection }),
  };
  // Nobody else may speak to a process that waits for its next server there.
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, JSON.stringify(record));
}

export interface FoundChild {
  file: string;
  record: ChildRecord;
}

export async function readChildren(directory: string): Promise<FoundChild[]> {
  const children: FoundChild[] = [];
  const names = await readdir(directory).catch(() => []);
  for (const name of names.filter((each) => each.endsWith(ending))) {
    const file = join(directory, name);
    try {
      const record = JSON.parse(await readFile(file, "utf8")) as ChildRecord;
      if (Number.isInteger(record.pid) && record.pid > 1) children.push({ file, record });
    } catch {
      // Cut off while being written: its process ended with the server.
    }
  }
  return children;
}

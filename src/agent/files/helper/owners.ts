/** Who files of a sprite belong to: the sprite's own ids, and the host's that stand for them. */
import { fstatSync, readSync } from "node:fs";

import { FileError } from "../../../contract/file-error.ts";
import { nameTableBytesMax } from "../limits.ts";

export interface Owner {
  uid: number;
  gid: number;
}

const root: Owner = { uid: 0, gid: 0 };
/** The image's own user, as whom commands run. */
const spriteUser: Owner = { uid: 1000, gid: 1000 };

/** Where a system keeps what is its own; sudo refuses settings that are not root's. */
const placesOfRoot = ["/root", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot"];

type WithContent = <T>(path: string, use: (descriptor: number) => T) => T;

export class Owners {
  readonly #hostIdBase: number;
  readonly #withContent: WithContent;

  constructor(hostIdBase: number, withContent: WithContent) {
    this.#hostIdBase = hostIdBase;
    this.#withContent = withContent;
  }

  /** Of a file or directory that did not exist (docs/contract-choices.md). */
  ofNew(path: string, asRoot: boolean): Owner {
    const isOfRoot = placesOfRoot.some((place) => path === place || path.startsWith(`${place}/`));
    return asRoot || isOfRoot ? root : spriteUser;
  }

  onHost({ uid, gid }: Owner): [uid: number, gid: number] {
    return [this.#hostIdBase + uid, this.#hostIdBase + gid];
  }

  fromHost(found: Owner): Owner {
    return { uid: found.uid - this.#hostIdBase, gid: found.gid - this.#hostIdBase };
  }

  /** @throws FileError EINVAL: the sprite has no such user or group */
  idOf(value: number | string, table: "/etc/passwd" | "/etc/group", path: string): number {
    if (typeof value === "number") return value;
    const text = this.#withContent(table, readBounded);
    for (const line of text.split("\n")) {
      const [name, , id = ""] = line.split(":");
      if (name === value && /^\d{1,5}$/.test(id)) return Number(id);
    }
    const kind = table === "/etc/passwd" ? "user" : "group";
    throw new FileError("EINVAL", { verb: "chown", path, reason: `no such ${kind}: ${value}` });
  }
}

function readBounded(descriptor: number): string {
  const buffer = Buffer.alloc(Math.min(fstatSync(descriptor).size, nameTableBytesMax));
  return buffer.toString("utf8", 0, readSync(descriptor, buffer, 0, buffer.length, 0));
}

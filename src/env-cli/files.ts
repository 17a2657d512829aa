import { readFileSync } from "node:fs";
import { unixPipeExecutable } from "./unix-pipe.ts";

/** A file that the agent puts into every sprite. */
export interface EnvCliFile {
  /** Relative to `/.sprite`. */
  path: string;
  mode: number;
  content: Uint8Array;
}

/**
 * What makes `sprite-env` work inside a sprite. It runs on `/.sprite/bin/busybox`, which is not among
 * these files: it is the host's own and also pid 1.
 */
export function envCliFiles(): EnvCliFile[] {
  return [
    { path: "bin/sprite-env", mode: 0o755, content: source("sprite-env") },
    // The machine code is for x86-64; elsewhere sprite-env goes through the guest's curl.
    ...(process.arch === "x64"
      ? [{ path: "bin/unix-pipe", mode: 0o755, content: unixPipeExecutable() }]
      : []),
    { path: "bin/sprite-browser", mode: 0o755, content: source("sprite-browser") },
    // Programs that open pages look for one of these two names.
    ...["xdg-open", "www-browser"].map((name) => {
      return { path: `bin/${name}`, mode: 0o755, content: source("sprite-browser") };
    }),
    { path: "bin/sprite-console", mode: 0o755, content: source("sprite-console") },
    { path: "etc/profile.d/sprite.sh", mode: 0o444, content: source("profile.sh") },
    { path: "llm.txt", mode: 0o444, content: source("llm.txt") },
  ];
}

function source(name: string): Uint8Array {
  return readFileSync(new URL(name, import.meta.url));
}

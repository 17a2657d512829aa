/** Stands in for `node:fs/promises` in the storage room while it is simulated: every call takes a moment. */
import type * as fs from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { runningProcess, scheduler } from "../scheduler.ts";
import { never, toError } from "../simulated-process.ts";
import {
  closeNow,
  contentOf,
  listNow,
  makeDirectoryNow,
  markSynced,
  nameOf,
  openNow,
  readFileNow,
  readNow,
  removeNow,
  renameNow,
  statNow,
  statOf,
  syncStep,
  truncateNow,
  writeNow,
} from "./file-access.ts";

export * from "node:fs/promises";

/** Lets others go on before the work is done; its steps are those of the calls in it. */
async function later<T>(work: () => T): Promise<T> {
  const process = runningProcess();
  if (process === null) return work();
  if (process.isDead) return await never();
  return await new Promise<T>((resolve, reject) => {
    scheduler().schedule(process.scheduler.random() / 4, process, () => {
      try {
        resolve(work());
      } catch (error) {
        if (!process.isDead) reject(toError(error));
      }
    });
  });
}

class SimulatedFile {
  readonly fd: number;
  #at = 0;

  constructor(descriptor: number) {
    this.fd = descriptor;
  }

  writeFile(content: Uint8Array | string): Promise<void> {
    return later(() => {
      const bytes = Buffer.from(content as string);
      for (let done = 0; done < bytes.length;) {
        done += writeNow(this.fd, bytes, done, bytes.length - done, done);
      }
    });
  }

  write(
    bytes: Uint8Array,
    offset = 0,
    length = bytes.length - offset,
    at: number | null = null,
  ): Promise<{ bytesWritten: number; buffer: Uint8Array }> {
    return later(() => {
      const where = at ?? this.#at;
      const bytesWritten = writeNow(this.fd, bytes, offset, length, where);
      if (at === null) this.#at += bytesWritten;
      return { bytesWritten, buffer: bytes };
    });
  }

  read(
    into: Uint8Array,
    offset = 0,
    length = into.length - offset,
    at: number | null = null,
  ): Promise<{ bytesRead: number; buffer: Uint8Array }> {
    return later(() => {
      const bytesRead = readNow(this.fd, into, offset, length, at ?? this.#at);
      if (at === null) this.#at += bytesRead;
      return { bytesRead, buffer: into };
    });
  }

  readFile(): Promise<Buffer> {
    return later(() => contentOf(this.fd));
  }

  truncate(sizeBytes = 0): Promise<void> {
    return later(() => truncateNow(this.fd, sizeBytes));
  }

  stat(): Promise<fs.Stats> {
    return later(() => statOf(this.fd));
  }

  async sync(): Promise<void> {
    const process = runningProcess();
    if (process === null) return;
    await process.wait(syncStep(this.fd), process.scheduler.random(), () => markSynced(this.fd));
  }

  datasync(): Promise<void> {
    return this.sync();
  }

  close(): Promise<void> {
    return later(() => closeNow(this.fd));
  }
}

export function open(path: string, flags = "r", mode?: number): Promise<FileHandle> {
  return later(() => new SimulatedFile(openNow(path, flags, mode)) as unknown as FileHandle);
}

export function rename(from: string, to: string): Promise<void> {
  return later(() => renameNow(from, to));
}

export function rm(path: string, options?: fs.RmOptions): Promise<void> {
  return later(() => removeNow(path, options));
}

export function mkdir(path: string, options?: fs.MakeDirectoryOptions): Promise<void> {
  return later(() => makeDirectoryNow(path, options));
}

export function readFile(path: string, encoding?: BufferEncoding): Promise<string | Buffer> {
  return later(() => {
    runningProcess()?.takeStep(`read ${nameOf(path)}`);
    const bytes = readFileNow(path);
    return encoding === undefined ? bytes : bytes.toString(encoding);
  });
}

export async function writeFile(path: string, content: Uint8Array | string): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.writeFile(content);
  } finally {
    await file.close();
  }
}

export function readdir(path: string): Promise<string[]> {
  return later(() => listNow(path));
}

export function stat(path: string): Promise<fs.Stats> {
  return later(() => statNow(path));
}

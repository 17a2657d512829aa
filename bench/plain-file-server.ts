/**
 * The peer of the rows about files: an HTTP server that sends and stores files of one directory and does
 * nothing else. Its argument is the directory; it prints its port, and ends when its input closes.
 */
import { createReadStream } from "node:fs";
import { open, rename } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";

const directory = process.argv[2] ?? "";

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = join(directory, basename(request.url ?? ""));
  if (request.method !== "PUT") {
    await pipeline(createReadStream(path), response);
    return;
  }
  // What is compared with it does the same: a new file, synced, in the place of the old one.
  const file = await open(`${path}.new`, "w");
  await pipeline(request, file.createWriteStream({ flush: true }));
  await rename(`${path}.new`, path);
  response.end();
}

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy());
});
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
process.stdin.resume();
process.stdin.on("close", () => process.exit(0));

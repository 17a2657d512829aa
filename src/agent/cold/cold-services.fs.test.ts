import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { createLog } from "../../base/log.ts";
import { FileError } from "../../contract/file-error.ts";
import { createRouterServer } from "../api/server.ts";
import type { FileOperations } from "../files/file-operations.ts";
import { coldServiceRoutes } from "./cold-services.ts";

const definitions = "/var/lib/sprite/services.json";
const log = "/var/log/sprite/services/web.log";
const one = { name: "web", cmd: "sh", args: [], env: {}, needs: [], http_port: null };

/** As a connection to the file helper: what was read to its end stays open for what could still be sent. */
class Body extends Duplex {
  constructor(bytes: Buffer) {
    super({ allowHalfOpen: true });
    this.push(bytes);
    this.push(null);
  }

  override _read(): void {
    // All of it is there.
  }
}

async function withFiles(
  files: Readonly<Record<string, string>>,
  body: (
    get: (path: string) => Promise<{ status: number; problem: string; text: string }>,
  ) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "cold-services-"));
  const socketPath = join(directory, "s");
  const opened: Body[] = [];
  const read: FileOperations["read"] = async ({ path, range }) => {
    const content = files[path];
    if (content === undefined) throw new FileError("ENOENT", { verb: "read", path });
    let bytes = Buffer.from(content);
    if (range !== null && "last" in range) bytes = bytes.subarray(-range.last);
    const stream = new Body(bytes);
    opened.push(stream);
    const sizes = { sizeBytes: bytes.length, start: 0, length: bytes.length };
    return { path, ...sizes, mode: "0644", modTimeMs: 0, tag: "", body: stream };
  };
  const server = createRouterServer({
    routes: coldServiceRoutes({ read }),
    prefix: "public",
    version: "1",
    log: createLog({ level: "silent", room: "test" }),
  });
  await server.listen(socketPath);
  try {
    await body(async (path) => {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        request({ socketPath, path: `/v1/sprites/x/${path}` }, resolve)
          .on("error", reject)
          .end();
      });
      const problem = String(response.headers["x-sprite-services-problem"] ?? "");
      return { status: response.statusCode ?? 0, problem, text: await text(response) };
    });
    assert.ok(
      opened.every(({ destroyed }) => destroyed),
      "no connection stays open",
    );
  } finally {
    await server.close({ graceMs: 0 });
    rmSync(directory, { recursive: true, force: true });
  }
}

const fileOf = (services: readonly object[]): string => JSON.stringify({ version: 1, services });

test("services of a disk without any, of a damaged one, and of a good one", async () => {
  await withFiles({}, async (get) => {
    assert.deepEqual(await get("services"), { status: 200, problem: "", text: "[]" });
    assert.equal((await get("services/web")).status, 404);
  });
  await withFiles({ [definitions]: "{" }, async (get) => {
    const { status, problem, text: body } = await get("services");
    assert.deepEqual([status, body], [200, "[]"]);
    assert.match(decodeURI(problem), /is damaged \(the file is not JSON\)/);
  });
  await withFiles({ [definitions]: fileOf([{ ...one, stopped: true }]) }, async (get) => {
    const [found] = JSON.parse((await get("services")).text) as [{ name: string; state: object }];
    assert.equal(found.name, "web");
    assert.equal((found.state as { starts_on_wake: boolean }).starts_on_wake, false);
  });
});

test("a log's last lines, also of the file before it, and whatever somebody wrote into it", async () => {
  const line = (second: number, said: string): string =>
    `2026-11-24T00:00:0${second}.000Z [stderr] ${said}\n`;
  const files = {
    [definitions]: fileOf([one]),
    [`${log}.1`]: line(1, "first"),
    [log]: `${line(2, "second")}\u0000not ours\n`,
  };
  await withFiles(files, async (get) => {
    const { text: body } = await get("services/web/logs?lines=10");
    const events = body
      .trim()
      .split("\n")
      .map((each) => JSON.parse(each) as { type: string; data?: string });
    assert.deepEqual(
      events.map(({ type, data }) => [type, data]),
      [
        ["stderr", "first\n"],
        ["stderr", "second\n"],
        ["stdout", "\u0000not ours\n"],
        ["complete", undefined],
      ],
    );
    const last = (await get("services/web/logs?lines=1")).text.trim().split("\n");
    assert.equal(last.length, 2);
    assert.equal((await get("services/web/logs?lines=x")).status, 400);
    assert.equal((await get("services/other/logs")).status, 404);
  });
});

import assert from "node:assert/strict";
import { Readable } from "node:stream";
import test from "node:test";

import { FileError } from "../../contract/file-error.ts";
import type { Entry, FileContent, FileOperations } from "../files/file-operations.ts";
import { FileOperation } from "./file-operation.ts";
import { listedBytesMax } from "./limits.ts";
import type { OperationLine } from "./operation.ts";

/** Keeps what is sent; a piece that is not the last of its message ends with a plus. */
class Line implements OperationLine {
  readonly sent: string[] = [];
  readonly abort = new AbortController();
  readonly signal = this.abort.signal;
  readonly queuedBytes = 0;
  readonly isPaused = false;
  isFull = false;
  isDone = false;
  send(data: string | Buffer, { isLast } = { isLast: true }): void {
    this.sent.push(`${data.toString("latin1")}${isLast ? "" : "+"}`);
  }
  pause(): void {}
  resume(): void {}
  done(): void {
    this.isDone = true;
  }
  close(code: number, reason: string): void {
    this.sent.push(`close ${code} ${reason}`);
    this.isDone = true;
  }
}

function begin(files: Partial<FileOperations>, verb: string, args: string) {
  const line = new Line();
  const operation = new FileOperation(files as FileOperations, line);
  return { line, operation, ended: operation.run(verb, args) };
}

const completion = '{"type":"op.complete"}';

function content(parts: readonly string[], length: number): FileContent {
  const body = Readable.from(parts.map((part) => Buffer.from(part)));
  return {
    ...{ path: "/a", sizeBytes: length, start: 0, length, mode: "0644", modTimeMs: 0, tag: "t" },
    body,
  };
}

test("a read is a JSON text, one binary message in pieces, and the end, without the prefix", async () => {
  const asked: unknown[] = [];
  const read: FileOperations["read"] = (request) => {
    asked.push(request);
    return Promise.resolve(content(["abc", "def"], 6));
  };
  const { line, ended } = begin({ read }, "fs.read", "path=a&workingDir=%2Fhome&start=1&end=7");
  await ended;
  assert.deepEqual(asked, [{ path: "/home/a", range: { start: 1, end: 7 } }]);
  assert.deepEqual(line.sent, ['{"path":"/a","size":6}', "abc+", "def", completion]);
  assert.ok(line.isDone);
});

test("an empty file is one empty message", async () => {
  const read = () => Promise.resolve(content([], 0));
  const { line, ended } = begin({ read }, "fs.read", "path=/a");
  await ended;
  assert.deepEqual(line.sent, ['{"path":"/a","size":0}', "", completion]);
});

test("a read that breaks off in the middle ends the connection: half a file is never a file", async () => {
  const read = () => Promise.resolve(content(["abc"], 6));
  const { line, ended } = begin({ read }, "fs.read", "path=/a");
  await ended;
  assert.deepEqual(line.sent.slice(0, 3), [
    ...['{"path":"/a","size":6}', "abc+", "close 1011 the file cannot be read"],
  ]);
});

test("a client that does not read holds the file back", async () => {
  const read = () => Promise.resolve(content(["abc", "def"], 6));
  const { line, operation, ended } = begin({ read }, "fs.read", "path=/a");
  line.isFull = true;
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(line.sent, ['{"path":"/a","size":6}', "abc+"]);
  line.isFull = false;
  operation.drained();
  await ended;
  assert.equal(line.sent.at(-1), completion);
});

test("a write takes one message as its content", async () => {
  const write: FileOperations["write"] = async (request, body) => {
    let text = "";
    for await (const bytes of body) text += bytes.toString();
    return { path: request.path, size: text.length, mode: text };
  };
  const { line, operation, ended } = begin({ write }, "fs.write", "path=%2Fa&workingDir=%2F");
  operation.push(Buffer.from("hello"));
  operation.push(Buffer.from("ignored"));
  await ended;
  assert.deepEqual(line.sent, ['{"path":"/a","size":5,"mode":"hello"}', completion]);
});

test("a write whose client leaves before its content ends", async () => {
  const { line, ended } = begin({}, "fs.write", "path=%2Fa");
  line.abort.abort();
  await ended;
  assert.ok(line.isDone);
});

test("an error is its three fields, and then the end", async () => {
  const remove = () => Promise.reject(new FileError("ENOENT", { verb: "remove", path: "/x" }));
  const { line, ended } = begin({ remove }, "fs.delete", "path=/x");
  await ended;
  assert.deepEqual(line.sent, [
    '{"error":"remove /x: no such file or directory","code":"ENOENT","path":"/x"}',
    completion,
  ]);
  const bad = begin({}, "fs.chmod", "path=%");
  await bad.ended;
  assert.match(bad.line.sent[0] ?? "", /^\{"error":"[^"]+","code":"EINVAL","path":""\}$/);
});

test("a listing is one message, and too long a one an error", async () => {
  const entry: Entry = {
    ...{ name: "a", path: "/a", type: "file", size: 1, mode: "0644", modTime: "", isDir: false },
  };
  const batches = async function* (count: number): AsyncIterable<readonly Entry[]> {
    await Promise.resolve();
    for (let n = 0; n < count; n += 1) yield Array.from({ length: 500 }, () => entry);
  };
  const list = (count: number) => () => Promise.resolve({ path: "/", batches: batches(count) });
  const short = begin({ list: list(2) }, "fs.list", "path=/");
  await short.ended;
  const listed = JSON.parse(short.line.sent[0] ?? "") as { entries: unknown[]; count: number };
  assert.deepEqual([listed.count, listed.entries.length], [1000, 1000]);
  const long = begin({ list: list(listedBytesMax / 500 / 100) }, "fs.list", "path=/");
  await long.ended;
  assert.match(long.line.sent[0] ?? "", /"code":"EOVERFLOW"/);
});

/** Requests and frames that nobody means well with, made of what the endpoints say of themselves. */
import { connect } from "node:net";

import fc from "fast-check";

import type { Endpoint } from "../../src/contract/endpoints/endpoint.ts";

/** What parsers, paths and shells trip over. */
const nastyText = fc.constantFrom(
  "",
  ".",
  "..",
  "../../etc/passwd",
  "/",
  "//",
  "/proc/1/root",
  "/proc/self/mem",
  "/dev/zero",
  "/dev/tty",
  "/.sprite/api.sock",
  "\0",
  "a\0b",
  "\n",
  "\r\nX-Injected: 1",
  "%00",
  "%",
  "\ud800",
  "ü日😀",
  "-1",
  "0",
  "1e309",
  "NaN",
  "9007199254740993",
  "true",
  "null",
  "[]",
  "{}",
  "__proto__",
  "constructor",
  "$(reboot)",
  "'; exit 1; '",
  "x".repeat(300),
  "y".repeat(70_000),
  "5s",
  "-5s",
  "99999h",
  "0644",
  "9999",
  "v0",
  "Current",
  "*",
  "**/**/**",
  "KEY=value",
  "=",
);
const text = fc.oneof(nastyText, fc.string({ unit: "binary", maxLength: 20 }));

/** Any bytes in percent-encoding; unpaired surrogates become what UTF-8 makes of them. */
function encode(value: string): string {
  return encodeURIComponent(value.toWellFormed());
}

const brokenEscapes = fc.constantFrom("%", "%zz", "%ff%fe", "%c0%ae", "+", "&&", "=", "?", "#");

/** A raw query with the endpoint's own parameters, strangers, repetitions and broken escapes. */
function queryOf(endpoint: Endpoint): fc.Arbitrary<string> {
  const known = (endpoint.query ?? []).map(({ name }) => name);
  const name = fc.oneof(fc.constantFrom("x", "id", "path", ...known), text);
  const pair = fc.tuple(name, text).map(([key, value]) => `${encode(key)}=${encode(value)}`);
  const part = fc.oneof({ weight: 9, arbitrary: pair }, { weight: 1, arbitrary: brokenEscapes });
  return fc.array(part, { maxLength: 6 }).map((parts) => parts.join("&"));
}

/** A JSON value like the example, with parts replaced, dropped and added. */
function mutated(example: unknown): fc.Arbitrary<unknown> {
  const anything = fc.oneof(fc.jsonValue({ maxDepth: 3 }), text);
  if (typeof example !== "object" || example === null) {
    return fc.oneof(fc.constant(example), anything);
  }
  const fields = Object.entries(example).map(([key, value]) => [key, mutated(value)] as const);
  if (Array.isArray(example))
    return fc.oneof(fc.array(anything, { maxLength: 5 }), fc.constant(example));
  const like = fc.record(Object.fromEntries(fields), { requiredKeys: [] });
  return fc.oneof(
    { weight: 4, arbitrary: like },
    {
      weight: 2,
      arbitrary: fc.tuple(like, fc.dictionary(text, anything, { maxKeys: 3 })).map(merge),
    },
    { weight: 1, arbitrary: anything },
  );
}

function merge([left, right]: [object, object]): object {
  return { ...left, ...right };
}

function bodyOf(endpoint: Endpoint): fc.Arbitrary<Buffer> {
  const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
  if (endpoint.body === undefined) return fc.oneof(fc.constant(Buffer.alloc(0)), bytes);
  const broken = fc.constantFrom("{", '{"a":', "[".repeat(100_000), '"\\ud800"', "{}{}", "\u0000");
  const json = mutated(endpoint.body.example ?? {}).map((value) => JSON.stringify(value));
  return fc.oneof(
    { weight: 6, arbitrary: json.map((value) => Buffer.from(value ?? "")) },
    { weight: 1, arbitrary: broken.map((value) => Buffer.from(value)) },
    { weight: 1, arbitrary: bytes },
  );
}

/** The path with something for each of its parameters; `fixed` has those that must hold. */
function pathOf(endpoint: Endpoint, fixed: Readonly<Record<string, string>>): fc.Arbitrary<string> {
  const parts = endpoint.path.split(/(\{\w+\})/).map((part) => {
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name === undefined) return fc.constant(part);
    const value = fixed[name];
    // Without a last segment it would be another endpoint's path.
    const segment = text.map((chosen) => (chosen === "" ? "%20" : encode(chosen)));
    return value === undefined ? segment : fc.constant(value);
  });
  return fc.tuple(...parts).map((chosen) => chosen.join(""));
}

export function nameOf({ method, path }: Endpoint): string {
  return `${method} ${path}`;
}

export interface FuzzRequest {
  /** By its method and path, so that a counterexample can be read. */
  endpoint: string;
  method: string;
  target: string;
  body: Buffer;
}

export function requestOf(
  endpoint: Endpoint,
  fixed: Readonly<Record<string, string>>,
): fc.Arbitrary<FuzzRequest> {
  return fc.record({
    endpoint: fc.constant(nameOf(endpoint)),
    method: fc.constant(endpoint.method),
    target: fc
      .tuple(pathOf(endpoint, fixed), queryOf(endpoint))
      .map(([path, query]) => (query === "" ? path : `${path}?${query}`)),
    body: bodyOf(endpoint),
  });
}

const openings = [
  '{"type":"resize","cols":80,"rows":24}',
  '{"type":"signal","signal":"SIGTERM"}',
  'control:{"type":"op.start","op":"exec","args":{"cmd":["true"]}}',
  '{"type":"op.start","op":"fs.read","args":"path=/etc/passwd&workingDir=/"}',
  '{"host":"localhost","port":1}',
  '{"type":"subscribe","paths":["/tmp"],"recursive":true,"workingDir":"/"}',
  '{"type":"release"}',
  '{"type":"start","operation":"proxy","params":{"host":"localhost","port":1}}',
];

/** Messages as clients send them, nearly. */
export const message: fc.Arbitrary<string | Buffer> = fc.oneof(
  fc.constantFrom(...openings),
  fc.constantFrom(...openings).chain((opening) => {
    const start = opening.indexOf("{");
    const like = mutated(JSON.parse(opening.slice(start)) as unknown);
    return like.map((value) => opening.slice(0, start) + (JSON.stringify(value) ?? ""));
  }),
  text,
  fc
    .tuple(fc.constantFrom(0, 1, 2, 3, 4, 5, 255), fc.uint8Array({ maxLength: 50 }))
    .map(([id, bytes]) => Buffer.from([id, ...bytes])),
);

/** Bytes that are no WebSocket frames of a client, or only the beginning of one. */
export const brokenFrames: fc.Arbitrary<Buffer> = fc.oneof(
  fc
    .constantFrom(
      // Not masked; reserved bits; an unknown kind; a control frame in parts, and one that is too long.
      [0x81, 0x01, 0x61],
      [0xf1, 0x80, 0, 0, 0, 0],
      [0x83, 0x80, 0, 0, 0, 0],
      [0x09, 0x80, 0, 0, 0, 0],
      [0x89, 0xfe, 0x01, 0x00, 0, 0, 0, 0],
      // A continuation of nothing; 2^63 bytes; text that is not UTF-8; close codes that none may send.
      [0x80, 0x80, 0, 0, 0, 0],
      [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
      [0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe],
      [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed],
      [0x88, 0x81, 0, 0, 0, 0, 0x03],
      [0x82, 0xfe],
    )
    .map((bytes) => Buffer.from(bytes)),
  fc.uint8Array({ minLength: 1, maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
);

export interface RawAnswer {
  status: number;
  head: string;
  body: string;
  /** The connection has ended behind it. */
  isWhole: boolean;
}

const answerMsMax = 20_000;
/** An answer that goes on is left after this. */
const bodyMsMax = 300;
const bodySizeBytesMax = 256 * 1024;

/**
 * Sends the bytes and reads an answer's head, and of its body what comes soon. Status 0 when the connection ended without
 * one. @throws when nothing comes at all
 */
export function exchangeRaw(port: number, bytes: Buffer): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let received = Buffer.alloc(0);
    let timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no answer to ${bytes.toString("latin1", 0, 300)}`));
    }, answerMsMax);
    const finish = (isWhole: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ ...readAnswer(received), isWhole });
    };
    let hasHead = false;
    socket.on("data", (part) => {
      received = Buffer.concat([received, part]);
      if (received.length > bodySizeBytesMax) return finish(false);
      if (hasHead || !received.includes("\r\n\r\n")) return;
      hasHead = true;
      clearTimeout(timer);
      timer = setTimeout(() => finish(false), bodyMsMax);
    });
    socket.on("error", () => finish(false));
    socket.on("close", () => finish(true));
    socket.write(bytes);
  });
}

function readAnswer(bytes: Buffer): Omit<RawAnswer, "isWhole"> {
  const end = bytes.indexOf("\r\n\r\n");
  const head = bytes.toString("latin1", 0, Math.max(end, 0));
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0);
  const rest = bytes.subarray(end + 4);
  const isChunked = /^transfer-encoding: chunked/im.test(head);
  return { status, head, body: (isChunked ? joinChunks(rest) : rest).toString("utf8") };
}

function joinChunks(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf("\r\n");
    const length = Number.parseInt(rest.toString("latin1", 0, Math.max(end, 0)), 16);
    if (!(length > 0)) return Buffer.concat(parts);
    parts.push(rest.subarray(end + 2, end + 2 + length));
    rest = rest.subarray(end + 2 + length + 2);
  }
}

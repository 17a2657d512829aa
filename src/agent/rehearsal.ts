/**
 * What a sprite's first commands go through, done once before anybody waits for it: Node compiles a function when it is first called, and
 * the guest's programs are first read then. It leaves nothing behind.
 */
import { connect } from "node:net";
import { withDeadline } from "../base/wait.ts";
import { rehearsalBytesMax, rehearsalMsMax } from "./limits.ts";

const path = "/v1/sprites/sprite";
const endOfHead = "\r\n\r\n";
const closeFrame = 8;
/** Says that the length follows in two bytes. */
const longLength = 126;

/** Settles when all of it was done. @throws what went wrong: then the first command takes longer, and no more */
export async function rehearse(socketPath: string): Promise<void> {
  await converse(socketPath, request(`PUT ${path}/durability`, '{"durability":"local"}'));
  await converse(socketPath, upgrade(`GET ${path}/exec?cmd=true&stdin=false`));
  await converse(socketPath, upgrade(`GET ${path}/exec?cmd=sh&cmd=-c&cmd=true`));
}

function request(target: string, body: string): string {
  const headers = ["Host: agent", "Connection: close", "Content-Type: application/json"];
  const length = `Content-Length: ${Buffer.byteLength(body)}`;
  return [`${target} HTTP/1.1`, ...headers, length, "", body].join("\r\n");
}

function upgrade(target: string): string {
  const headers = [
    ...["Host: agent", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
    `Sec-WebSocket-Key: ${Buffer.alloc(16).toString("base64")}`,
  ];
  return [`${target} HTTP/1.1`, ...headers, "", ""].join("\r\n");
}

/** Sends it and reads the answer to its end, or as far as the frame that closes a WebSocket. */
async function converse(socketPath: string, text: string): Promise<void> {
  const socket = connect(socketPath);
  const answered = new Promise<void>((resolve, reject) => {
    let answer = Buffer.alloc(0);
    socket.on("data", (bytes) => {
      answer = Buffer.concat([answer, bytes]);
      const isOver = answer.length > rehearsalBytesMax || hasCloseFrame(answer);
      if (isOver) socket.end();
    });
    socket.on("close", () => {
      const [statusLine = ""] = answer.toString("latin1").split("\r\n", 1);
      if (/^HTTP\/1\.1 (101|204) /.test(statusLine)) resolve();
      else reject(new Error(`the answer was: ${statusLine}`));
    });
    socket.on("error", reject);
    socket.write(text);
  });
  try {
    await withDeadline(answered, {
      timeoutMs: rehearsalMsMax,
      onTimeout: () => new Error(`no answer within ${rehearsalMsMax} ms`),
    });
  } finally {
    socket.destroy();
  }
}

/** Of a server's frames, which are not masked, and shorter than 64 KiB here. */
function hasCloseFrame(answer: Buffer): boolean {
  const head = answer.indexOf(endOfHead);
  let at = head < 0 ? answer.length : head + endOfHead.length;
  while (at + 4 <= answer.length) {
    if ((answer.readUInt8(at) & 0x0f) === closeFrame) return true;
    const length = answer.readUInt8(at + 1);
    at += length === longLength ? 4 + answer.readUInt16BE(at + 2) : 2 + length;
  }
  return false;
}

/** Debian's `pebble`, an ACME service for tests, on loopback, with a name server that knows one zone. */
import { spawn, type ChildProcess } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { waitUntil } from "../base/wait.ts";
import { Authority } from "../edge/certificates/authority.ts";
import { freePorts, isListening } from "./loopback-ports.ts";

const program = "/usr/bin/pebble";
const startsMax = 5;
const startTimeoutMs = 30_000;

export interface Pebble extends AsyncDisposable {
  directoryUrl: string;
  /** The authority that vouches for the service itself. */
  rootsPath: string;
  /** Lines of `NAME VALUE`: the TXT records there are. */
  recordsPath: string;
}

/** @param httpPort where it looks for HTTP-01, instead of 80 */
export async function startPebble(options: {
  directory: string;
  httpPort: number;
}): Promise<Pebble> {
  if (!existsSync(program)) throw new Error("apt-get install pebble");
  const { directory, httpPort } = options;
  const rootsPath = join(directory, "pebble-roots.pem");
  const recordsPath = join(directory, "records");
  const authority = await Authority.open({ directory, domain: "localhost" });
  const { certificatePem, keyPem } = await authority.issue(["localhost"]);
  writeFileSync(rootsPath, authority.certificatePem);
  writeFileSync(join(directory, "pebble.pem"), certificatePem);
  writeFileSync(join(directory, "pebble-key.pem"), keyPem);
  writeFileSync(recordsPath, "");
  const nameServer = await startNameServer(recordsPath);
  const { port: dnsPort } = nameServer.address();
  for (let start = 1; ; start += 1) {
    const [port = 0, managementPort = 0] = await freePorts(2);
    const configuration = {
      listenAddress: `127.0.0.1:${port}`,
      managementListenAddress: `127.0.0.1:${managementPort}`,
      certificate: join(directory, "pebble.pem"),
      privateKey: join(directory, "pebble-key.pem"),
      ...{ httpPort, tlsPort: 1, ocspResponderURL: "", externalAccountBindingRequired: false },
    };
    const path = join(directory, "pebble.json");
    writeFileSync(path, JSON.stringify({ pebble: configuration }));
    const words = ["-config", path, "-strict", "-dnsserver", `127.0.0.1:${dnsPort}`];
    const child = spawn("setpriv", ["--pdeathsig", "KILL", program, ...words], {
      stdio: "ignore",
      env: { PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "5", PEBBLE_AUTHZREUSE: "0" },
    });
    const answers = async () => child.exitCode !== null || (await isListening(port));
    await waitUntil(answers, { timeoutMs: startTimeoutMs });
    if (child.exitCode === null && (await isListening(port))) {
      return {
        ...{ rootsPath, recordsPath, directoryUrl: `https://localhost:${port}/dir` },
        async [Symbol.asyncDispose]() {
          await end(child);
          nameServer.close();
        },
      };
    }
    await end(child);
    // Somebody may have taken the port meanwhile.
    if (start === startsMax) throw new Error("pebble does not start");
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
}

const typeA = 1;
const typeTxt = 16;

/** Every name is at 127.0.0.1; TXT records are read from the file at each question. */
async function startNameServer(recordsPath: string): Promise<Socket> {
  const server = createSocket("udp4");
  server.on("message", (message, from) => {
    server.send(answerTo(message, recordsPath), from.port, from.address);
  });
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

function answerTo(message: Buffer, recordsPath: string): Buffer {
  let at = 12;
  const labels: string[] = [];
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  const name = `${labels.join(".").toLowerCase()}.`;
  const type = message.readUInt16BE(at + 1);
  const question = message.subarray(12, at + 5);
  const values: Buffer[] = [];
  if (type === typeA) values.push(Buffer.from([127, 0, 0, 1]));
  if (type === typeTxt) {
    for (const line of readFileSync(recordsPath, "utf8").split("\n")) {
      const [owner, value = ""] = line.split(" ");
      if (owner === name) values.push(Buffer.from([value.length, ...Buffer.from(value)]));
    }
  }
  const records = values.map((value) => {
    const head = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, value.length]);
    return Buffer.concat([head, value]);
  });
  const header = Buffer.from([0, 0, 0x84, 0, 0, 1, 0, records.length, 0, 0, 0, 0]);
  message.copy(header, 0, 0, 2);
  return Buffer.concat([header, question, ...records]);
}

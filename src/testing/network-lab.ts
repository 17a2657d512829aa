/**
 * Network namespaces that stand for the internet, a machine and guests, with servers in them. No
 * packet leaves them.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { runCommand } from "../host/command.ts";
import type { HostHelper } from "../host/host-helper.ts";
import type { Zone } from "./lab-name-server.ts";

/**
 * Serves what its environment names: TCP says who is asking, UDP answers each datagram with its
 * text and the sender.
 */
const serverProgram = `
const { createServer } = require("node:net");
const { createSocket } = require("node:dgram");
const listeners = JSON.parse(process.argv[1]);
Promise.all(listeners.map(({ protocol, address, port }) => new Promise((resolve) => {
  if (protocol === "tcp") {
    createServer((stream) => {
      stream.on("error", () => {});
      stream.end("from " + stream.remoteAddress);
    }).listen(port, address, resolve);
  } else {
    const socket = createSocket("udp4");
    socket.on("message", (bytes, from) => {
      socket.send(bytes + " from " + from.address, from.port, from.address);
      process.stdout.write("got " + bytes + "\\n");
    });
    socket.bind(port, address, resolve);
  }
}))).then(() => process.stdout.write("ready\\n"));
process.stdin.on("end", () => process.exit()).resume();
`;

/** Prints what a server says, or the error's code. */
const clientProgram = `
const [protocol, address, port, text, source, patience] = process.argv.slice(1);
const finish = (answer) => { process.stdout.write(answer); process.exit(); };
setTimeout(() => finish("timeout"), Number(patience));
if (protocol === "tcp") {
  const stream = require("node:net").connect({ host: address, port: Number(port), localAddress: source || undefined });
  let all = "";
  stream.on("data", (bytes) => { all += bytes; }).on("end", () => finish(all)).on("error", (error) => finish(error.code));
} else {
  const socket = require("node:dgram").createSocket("udp4");
  socket.on("message", (bytes) => finish(String(bytes))).on("error", (error) => finish(error.code));
  socket.bind(0, source || undefined, () => {
    socket.connect(Number(port), address, (error) => error ? finish(error.code) : socket.send(text));
  });
}
`;

export interface Listener {
  protocol: "tcp" | "udp";
  address: string;
  port: number;
}

export interface LabServer {
  /** Everything that it has written, such as the datagrams it got. */
  output(): string;
}

export interface Question {
  protocol: "tcp" | "udp";
  address: string;
  port: number;
  text?: string;
  source?: string;
  /** Until silence counts as an answer. */
  patienceMs?: number;
}

export class NetworkLab {
  readonly directory = mkdtempSync(join(tmpdir(), "network-lab-"));
  readonly #helper: HostHelper;
  readonly #namespaces: string[] = [];
  readonly #children: ChildProcess[] = [];

  constructor(helper: HostHelper) {
    this.#helper = helper;
  }

  /** A new namespace with its loopback up and the given further addresses on it; resolves with its path. */
  async addNamespace(name: string, addresses: readonly string[] = []): Promise<string> {
    const path = join(this.directory, name);
    await this.#helper.run({ type: "make_network_namespace", path, sysctls: [] });
    this.#namespaces.push(path);
    const commands = addresses.map((address) => `addr add ${address}/32 dev lo`);
    await this.configure(path, ["link set lo up", ...commands]);
    return path;
  }

  async configure(namespace: string, commands: readonly string[]): Promise<void> {
    await this.run(namespace, ["ip", "-batch", "-"], `${commands.join("\n")}\n`);
  }

  async run(namespace: string, command: readonly string[], input = ""): Promise<string> {
    const args = [`--net=${namespace}`, ...command];
    return (await runCommand("nsenter", args, { deadlineMs: 10_000, input })).stdout;
  }

  /** A process that only stays, in a new namespace: what a container is to the network. */
  async addGuest(name: string): Promise<{ namespacePath: string; pid: number }> {
    const namespacePath = await this.addNamespace(name);
    const child = this.#spawn(namespacePath, ["cat"]);
    const pid = child.pid ?? 0;
    // The process is that namespace's own once it has become the program that echoes.
    child.stdin?.write("here\n");
    await once(child.stdout ?? child, "data");
    return { namespacePath, pid };
  }

  async serve(namespace: string, listeners: readonly Listener[]): Promise<LabServer> {
    const child = this.#spawn(namespace, [
      process.execPath,
      "-e",
      serverProgram,
      JSON.stringify(listeners),
    ]);
    return await this.#whenReady(child);
  }

  async #whenReady(child: ChildProcess): Promise<LabServer> {
    let output = "";
    await new Promise<void>((resolve, reject) => {
      child.stdout?.on("data", (bytes: Buffer) => {
        output += bytes.toString("utf8");
        if (output.includes("ready\n")) resolve();
      });
      child.on("exit", () => reject(new Error("the lab's server ended")));
    });
    return { output: () => output };
  }

  /** Sends back what it gets. */
  async serveEcho(namespace: string, at: { address: string; port: number }): Promise<void> {
    const program = `require("node:net").createServer((stream) => {
      stream.on("error", () => {}).pipe(stream);
    }).listen(${at.port}, ${JSON.stringify(at.address)}, () => process.stdout.write("ready\\n"));`;
    await this.#whenReady(this.#spawn(namespace, [process.execPath, "-e", program]));
  }

  /** Answers for a zone; its output has a line for every name that it is asked for. */
  async serveNames(
    namespace: string,
    options: { address: string; zone: Zone },
  ): Promise<LabServer> {
    const program = join(import.meta.dirname, "lab-name-server.ts");
    const child = this.#spawn(namespace, [
      ...[process.execPath, "--disable-warning=ExperimentalWarning", program],
      ...[options.address, JSON.stringify(options.zone)],
    ]);
    return await this.#whenReady(child);
  }

  /** What a server answers; `ECONNREFUSED`, `EHOSTUNREACH` and so on, or `timeout`. */
  async ask(namespace: string, question: Question): Promise<string> {
    const { protocol, address, port, text = "question", source = "" } = question;
    const patience = String(question.patienceMs ?? 5000);
    const args = [protocol, address, String(port), text, source, patience];
    return await this.run(namespace, [process.execPath, "-e", clientProgram, ...args]);
  }

  async dispose(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    for (const path of this.#namespaces) {
      await this.#helper.run({ type: "unmount", target: path, lazy: true });
    }
    rmSync(this.directory, { recursive: true });
  }

  #spawn(namespace: string, command: readonly string[]): ChildProcess {
    const child = spawn("nsenter", [`--net=${namespace}`, ...command], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#children.push(child);
    return child;
  }
}

/** Rows about TCP through the API into a sprite, beside socat in front of the same program on the machine. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import WebSocket from "ws";
import { createSprite, type Bench } from "./context.ts";
import { guarded, timeMs } from "./life.ts";
import { freePorts } from "../src/testing/loopback-ports.ts";
import { killChildren } from "./machine.ts";
import { rowOf } from "./report.ts";

const names = ["tunnel_download", "tunnel_upload", "tunnel_round_trip"] as const;

const streamBytes = 256 * 1024 * 1024;
const chunkBytes = 64 * 1024;
/** What may wait in the measuring program's own socket. */
const aheadBytesMax = 1024 * 1024;
const rounds = 5;
const roundTrips = 400;

/** What a connection's first byte asks for: `d` sends the stream, `u` takes it and says so, `e` sends back. */
const program = (port: number): string => `
use IO::Socket::INET; $SIG{CHLD} = "IGNORE"; $| = 1;
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => ${port}, Listen => 50, ReuseAddr => 1) or die $!;
print "up\\n";
while (my $c = $s->accept) {
  next if fork;
  sysread($c, my $what, 1); my $left = ${streamBytes};
  if ($what eq "d") { my $b = "x" x ${chunkBytes}; while ($left > 0) { $left -= syswrite($c, $b) or exit } }
  elsif ($what eq "u") { while ($left > 0 and my $n = sysread($c, my $b, ${chunkBytes})) { $left -= $n } syswrite($c, "k") }
  else { while (sysread($c, my $b, ${chunkBytes})) { syswrite($c, $b) } }
  exit }`;

/** A connection to the program, however it gets there. */
interface Line {
  send(bytes: Buffer): void;
  /** Bytes that wait here. */
  queuedBytes(): number;
  drained(): Promise<unknown>;
  onBytes(listener: (count: number) => void): void;
  close(): void;
}

export async function runTunnel(bench: Bench): Promise<void> {
  if (!names.some(bench.wants)) return;
  await guarded(bench, names, "MB/s", async () => {
    const sprite = await createSprite(bench);
    const inside = sprite.spawn("perl", ["-e", program(5000)]);
    await once(inside.stdout, "data");
    const socatPort = await startSocat(bench);
    const ways = [() => openTunnel(bench, sprite.name), () => openDirect(socatPort)];
    const samples = names.map(() => ways.map((): number[] => []));
    for (let round = 0; round < rounds; round += 1) {
      for (const [index, open] of ways.entries()) {
        samples[0]?.[index]?.push(await download(await open()));
        samples[1]?.[index]?.push(await upload(await open()));
        samples[2]?.[index]?.push(...(await echo(await open())));
      }
    }
    for (const [index, name] of names.entries()) {
      const [own = [], peer = []] = samples[index] ?? [];
      const unit = name === "tunnel_round_trip" ? "ms" : "MB/s";
      bench.emit(rowOf({ name, unit, samples: own, peer: { name: "socat", samples: peer } }));
    }
    await sprite.delete();
  });
}

/** socat on a port of its own, in front of the program as a process of the machine. */
async function startSocat(bench: Bench): Promise<number> {
  const [target = 0, port = 0] = await freePorts(2);
  const server = spawn("perl", ["-e", program(target)], { stdio: ["ignore", "pipe", "inherit"] });
  const socat = spawn("socat", [
    ...["-b", String(chunkBytes), `TCP-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr,nodelay`],
    `TCP:127.0.0.1:${target},nodelay`,
  ]);
  bench.cleanup.add("end socat", async () => {
    socat.kill();
    server.kill();
    await killChildren();
  });
  await once(server.stdout, "data");
  const deadlineMs = performance.now() + 10_000;
  for (;;) {
    const line = await openDirect(port).catch(() => null);
    line?.close();
    if (line !== null) return port;
    if (performance.now() > deadlineMs) throw new Error("socat does not listen");
  }
}

async function openDirect(port: number): Promise<Line> {
  const socket = connect({ port, host: "127.0.0.1" });
  await once(socket, "connect");
  socket.setNoDelay(true);
  return {
    send: (bytes) => socket.write(bytes),
    ...waiting(socket),
    onBytes: (listener) => socket.on("data", (bytes: Buffer) => listener(bytes.length)),
    close: () => socket.destroy(),
  };
}

async function openTunnel(bench: Bench, name: string): Promise<Line> {
  const { url, token } = bench.server;
  const headers = { authorization: `Bearer ${token}` };
  const options = { headers, perMessageDeflate: false };
  const webSocket = new WebSocket(`${url.replace("http", "ws")}/v1/sprites/${name}/proxy`, options);
  const upgraded = once(webSocket, "upgrade") as Promise<[{ socket: Socket }]>;
  await once(webSocket, "open");
  const [{ socket }] = await upgraded;
  webSocket.send(JSON.stringify({ host: "localhost", port: 5000 }));
  const [answer] = (await once(webSocket, "message")) as [Buffer];
  if (!answer.includes('"connected"')) throw new Error(answer.toString());
  return {
    send: (bytes) => webSocket.send(bytes),
    ...waiting(socket),
    onBytes: (listener) => webSocket.on("message", (bytes: Buffer) => listener(bytes.length)),
    close: () => webSocket.terminate(),
  };
}

function waiting(socket: Socket): Pick<Line, "queuedBytes" | "drained"> {
  return { queuedBytes: () => socket.writableLength, drained: () => once(socket, "drain") };
}

async function download(line: Line): Promise<number> {
  const ms = await timeMs(async () => {
    const whole = received(line, streamBytes);
    line.send(Buffer.from("d"));
    await whole;
  });
  line.close();
  return streamBytes / 1000 / ms;
}

async function upload(line: Line): Promise<number> {
  const chunk = Buffer.alloc(chunkBytes, 1);
  const ms = await timeMs(async () => {
    const taken = received(line, 1);
    line.send(Buffer.from("u"));
    for (let sent = 0; sent < streamBytes; sent += chunk.length) {
      line.send(chunk);
      if (line.queuedBytes() > aheadBytesMax) await line.drained();
    }
    await taken;
  });
  line.close();
  return streamBytes / 1000 / ms;
}

/** Milliseconds of each of them. */
async function echo(line: Line): Promise<number[]> {
  line.send(Buffer.from("e"));
  let onEcho = (): void => {};
  line.onBytes(() => onEcho());
  const samples: number[] = [];
  for (let count = 0; count < roundTrips; count += 1) {
    samples.push(
      await timeMs(
        () =>
          new Promise<void>((resolve) => {
            onEcho = resolve;
            line.send(Buffer.from("ping"));
          }),
      ),
    );
  }
  line.close();
  return samples;
}

function received(line: Line, total: number): Promise<void> {
  let left = total;
  return new Promise((resolve) => {
    line.onBytes((count) => {
      left -= count;
      if (left <= 0) resolve();
    });
  });
}

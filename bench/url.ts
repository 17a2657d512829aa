/** Rows about a sprite's URL, beside nginx in front of the same program on the machine. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { runCommand } from "../src/host/command.ts";
import { freePorts } from "../src/testing/loopback-ports.ts";
import { spriteUrl } from "../test/support/sprite-url.ts";
import { createSprite, type Bench } from "./context.ts";
import { answerEnd, LoadConnection, requestsPerSecond, type LoadTarget } from "./https-load.ts";
import { guarded, timeMs } from "./life.ts";
import { killChildren } from "./machine.ts";
import { rowOf } from "./report.ts";

const names = ["url_added", "url_requests"] as const;
const port = 8080;
const connectionsAtOnce = 32;
const asksEachRound = 300;
const rounds = 8;
const secondsEachRound = 1;

/** Answers each request with the same few bytes; a process for each connection, so that it is not what is measured. */
const program = (at: number): string => `
use IO::Socket::INET; use Socket qw(IPPROTO_TCP TCP_NODELAY); $SIG{CHLD} = "IGNORE"; $| = 1;
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => ${at},
  Listen => 500, ReuseAddr => 1) or die $!;
my $body = "x" x 200 . "${answerEnd.trim()}\\n";
my $answer = "HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: " . length($body);
$answer .= "\\r\\n\\r\\n$body";
print "up\\n";
while (my $c = $s->accept) {
  next if fork;
  setsockopt($c, IPPROTO_TCP, TCP_NODELAY, 1); my $got = "";
  while (sysread($c, $got, 65536, length $got)) {
    while ($got =~ s/^.*?\\r\\n\\r\\n//s) { syswrite($c, $answer) } }
  exit }`;

export async function runUrl(bench: Bench): Promise<void> {
  if (!names.some(bench.wants)) return;
  await guarded(bench, names, "ms", async () => {
    const sprite = await createSprite(bench);
    const inside = sprite.spawn("perl", ["-e", program(port)]);
    await once(inside.stdout, "data");
    const { direct, nginx } = await startPeer(bench);
    const edge = await edgeTarget(bench, sprite.name);
    if (bench.wants("url_added")) await measureAdded(bench, { edge, nginx, direct });
    if (bench.wants("url_requests")) await measureRequests(bench, { edge, nginx });
    await sprite.delete();
  });
}

/** One request at a time, less what the program alone takes. */
async function measureAdded(
  bench: Bench,
  targets: { edge: LoadTarget; nginx: LoadTarget; direct: LoadTarget },
): Promise<void> {
  const samples: Record<keyof typeof targets, number[]> = { edge: [], nginx: [], direct: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const way of ["direct", "edge", "nginx"] as const) {
      const connection = await LoadConnection.open(targets[way]);
      await connection.ask();
      for (let count = 0; count < asksEachRound; count += 1) {
        samples[way].push(await timeMs(() => connection.ask()));
      }
      connection.close();
    }
  }
  const alone = rowOf({ name: "alone", unit: "ms", samples: samples.direct }).p50 ?? 0;
  const added = (way: "edge" | "nginx"): number[] => samples[way].map((ms) => ms - alone);
  const peer = { name: "nginx", samples: added("nginx") };
  const note = `the program alone answers in ${alone} ms`;
  bench.emit(rowOf({ name: "url_added", unit: "ms", samples: added("edge"), peer, note }));
}

async function measureRequests(
  bench: Bench,
  targets: { edge: LoadTarget; nginx: LoadTarget },
): Promise<void> {
  const samples: Record<keyof typeof targets, number[]> = { edge: [], nginx: [] };
  for (let round = 0; round <= rounds; round += 1) {
    for (const way of ["edge", "nginx"] as const) {
      const opening = Array.from({ length: connectionsAtOnce }, () =>
        LoadConnection.open(targets[way]),
      );
      const connections = await Promise.all(opening);
      const rate = await requestsPerSecond(connections, secondsEachRound);
      // The first one warms both up.
      if (round > 0) samples[way].push(rate);
      for (const connection of connections) connection.close();
    }
  }
  const peer = { name: "nginx", samples: samples.nginx };
  const note = `${connectionsAtOnce} connections at once; generator, proxy and program share the machine`;
  bench.emit(rowOf({ name: "url_requests", unit: "1/s", samples: samples.edge, peer, note }));
}

async function edgeTarget(bench: Bench, name: string): Promise<LoadTarget> {
  const body = JSON.stringify({ url_settings: { auth: "public" } });
  const headers = { "content-type": "application/json" };
  await bench.server.request(`/v1/sprites/${name}`, { method: "PUT", headers, body });
  const url = await spriteUrl(bench.server, name);
  const { port: tlsPort, servername, ca } = url.options();
  const tls = { serverName: String(servername), ca: String(ca) };
  return { host: url.host, port: Number(tlsPort), tls };
}

/** nginx on loopback with one worker, as a child of ours, in front of the program as a process of the machine. */
async function startPeer(bench: Bench): Promise<{ direct: LoadTarget; nginx: LoadTarget }> {
  const [directPort = 0, tlsPort = 0] = await freePorts(2);
  const server = spawn("perl", ["-e", program(directPort)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const directory = join(bench.directory, "nginx");
  await mkdir(directory);
  await makeCertificate(directory);
  await writeFile(join(directory, "nginx.conf"), configuration({ directory, directPort, tlsPort }));
  const words = ["-c", join(directory, "nginx.conf"), "-e", join(directory, "error.log")];
  const nginx = spawn("/usr/sbin/nginx", words, { stdio: ["ignore", "ignore", "inherit"] });
  bench.cleanup.add("end nginx", async () => {
    nginx.kill();
    server.kill();
    await killChildren();
  });
  await once(server.stdout, "data");
  const tls = { serverName: "localhost", ca: await readFile(join(directory, "cert.pem"), "utf8") };
  const target = { host: "localhost", port: tlsPort, tls };
  const deadlineMs = performance.now() + 10_000;
  for (;;) {
    const connection = await LoadConnection.open(target).catch(() => null);
    connection?.close();
    if (connection !== null) break;
    if (performance.now() > deadlineMs) throw new Error("nginx does not listen");
  }
  return { direct: { host: "localhost", port: directPort }, nginx: target };
}

/** Of the kind that our own authority gives. */
async function makeCertificate(directory: string): Promise<void> {
  const words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  words.push("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost");
  words.push("-keyout", join(directory, "key.pem"), "-out", join(directory, "cert.pem"));
  await runCommand("openssl", words, { deadlineMs: 10_000 });
}

function configuration(options: {
  directory: string;
  directPort: number;
  tlsPort: number;
}): string {
  const { directory, directPort, tlsPort } = options;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${directory}/${name};`,
  );
  return `
daemon off; worker_processes 1; pid ${directory}/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000000; ${temporary.join(" ")}
  upstream program { server 127.0.0.1:${directPort}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${tlsPort} ssl;
    ssl_certificate ${directory}/cert.pem; ssl_certificate_key ${directory}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {
      proxy_pass http://program; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https; proxy_buffering off;
    }
  }
}
`;
}

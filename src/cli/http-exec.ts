import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { execStream } from "../contract/exec-frames.ts";
import type { Query } from "./api-client.ts";
import { apiError, connectionError } from "./api-errors.ts";
import { ChunkedDecoder, type ResponseHead } from "./chunked-decoder.ts";
import type { Cli } from "./cli.ts";
import { BrokenPipeError, CliError } from "./errors.ts";
import { errorBodyBytesMax } from "./limits.ts";

export interface HttpExecRequest {
  path: string;
  query: Query;
  sendsStdin: boolean;
}

/** Runs a command through one POST (contract.md section 3.8) and returns its exit code. */
export async function httpExec(cli: Cli, request: HttpExecRequest): Promise<number> {
  const url = new URL(cli.client.url(request.path, request.query));
  const spinner = cli.spinner("Waiting for the command");
  const socket = await openSocket(url).catch((cause: Error) => {
    spinner.stop();
    throw connectionError(cause, cli.client.target);
  });
  const stopSending = new AbortController();
  try {
    socket.write(requestHead(cli, url, request));
    const sending = sendBody(socket, request.sendsStdin, stopSending.signal);
    const exitCode = await readFrames(cli, socket, () => spinner.stop());
    stopSending.abort();
    await sending;
    return exitCode;
  } finally {
    spinner.stop();
    socket.destroy();
    if (request.sendsStdin) process.stdin.destroy();
  }
}

async function openSocket(url: URL): Promise<Socket> {
  const isTls = url.protocol === "https:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port || (isTls ? 443 : 80));
  if (isTls) {
    const tls = await import("node:tls");
    const socket = tls.connect({ host, port, servername: host, ALPNProtocols: ["http/1.1"] });
    await once(socket, "secureConnect");
    return socket;
  }
  const socket = connect({ host, port });
  await once(socket, "connect");
  return socket;
}

function requestHead(cli: Cli, url: URL, request: HttpExecRequest): string {
  const headers: Record<string, string> = {
    Host: url.host,
    ...cli.client.headers,
    Accept: "application/octet-stream, application/json",
    Connection: "close",
    "Content-Type": "application/octet-stream",
    ...(request.sendsStdin ? { "Transfer-Encoding": "chunked" } : { "Content-Length": "0" }),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** Stdin as chunks, at the pace of the socket. An answer that comes first ends it early. */
async function sendBody(socket: Socket, sendsStdin: boolean, signal: AbortSignal): Promise<void> {
  if (!sendsStdin) return;
  try {
    const { addAbortSignal } = await import("node:stream");
    for await (const chunk of addAbortSignal(signal, process.stdin)) {
      const bytes = chunk as Buffer;
      socket.write(`${bytes.byteLength.toString(16)}\r\n`);
      socket.write(bytes);
      if (!socket.write("\r\n")) await once(socket, "drain", { signal });
    }
  } catch {
    // Stdin that cannot be read has ended; a broken socket is told by the side that reads it.
  }
  if (socket.writable && !signal.aborted) socket.write("0\r\n\r\n");
}

async function readFrames(cli: Cli, socket: Socket, onAnswer: () => void): Promise<number> {
  const decoder = new ChunkedDecoder();
  let head: ResponseHead | undefined;
  let exitCode: number | undefined;
  let errorBody = "";
  try {
    reading: for await (const bytes of socket) {
      for (const part of decoder.push(bytes as Buffer)) {
        if (part.kind === "end") break reading;
        onAnswer();
        if (part.kind === "head") head = part.head;
        else if (head?.status !== 200) {
          if (errorBody.length < errorBodyBytesMax) errorBody += part.bytes.toString("utf8");
        } else exitCode = (await takeFrame(cli, part.bytes)) ?? exitCode;
      }
      if (head !== undefined && head.status !== 200 && isWhole(head, errorBody)) break;
    }
  } catch (error) {
    if (error instanceof BrokenPipeError || error instanceof CliError) throw error;
    throw lost(error);
  }
  if (head !== undefined && head.status !== 200) {
    const headers = Object.fromEntries(head.headers);
    const { target } = cli.client;
    throw apiError({ status: head.status, body: errorBody.trim(), headers, target });
  }
  if (exitCode === undefined) throw lost(undefined);
  return exitCode;
}

/** Handles one frame; returns the exit code if it is the last one. */
async function takeFrame(cli: Cli, frame: Buffer): Promise<number | undefined> {
  const { out, err } = cli.surroundings;
  const payload = frame.subarray(1);
  if (frame[0] === execStream.exit) return payload[0];
  const pipe = frame[0] === execStream.stderr ? err : out;
  if (frame[0] === execStream.stdout || frame[0] === execStream.stderr) pipe.write(payload);
  // Not reading on is what slows the command down to our reader's pace.
  if (pipe.isFull) await pipe.flush();
  if (out.failure?.code === "EPIPE") throw new BrokenPipeError("output");
  return undefined;
}

function isWhole(head: ResponseHead, body: string): boolean {
  const length = Number(head.headers.get("content-length") ?? Number.NaN);
  return Buffer.byteLength(body) >= length;
}

function lost(cause: unknown): CliError {
  return new CliError("the command's exit code is not known: the connection was lost", {
    code: "connection_lost",
    cause,
  });
}

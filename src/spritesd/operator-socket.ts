/**
 * What an operator asks of a running server on its own machine: JSON lines over a Unix socket in the run directory,
 * which only root may connect to.
 */
import { once } from "node:events";
import { chmodSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { errorCode } from "../base/error-code.ts";
import { readJsonLines } from "../base/json-lines.ts";
import { SpriteError } from "../contract/errors.ts";

const lineBytesMax = 4_096;
const connectionsMax = 16;

export type OperatorOrder = { type: "drain" } | { type: "undrain" };

export type OperatorAnswer =
  /** Sprites that have yet to go to sleep. */
  | { type: "progress"; left: number }
  /** `unstored`: sprites of whose disks this machine has more than the bucket. */
  | { type: "done"; unstored: number }
  | { type: "failed"; message: string };

export type ObeyOperator = (
  order: OperatorOrder,
  tell: (answer: OperatorAnswer) => void,
) => Promise<OperatorAnswer>;

export function operatorSocketOf(runDirectory: string): string {
  return join(runDirectory, "operator.sock");
}

export async function serveOperators(
  path: string,
  obey: ObeyOperator,
): Promise<{ close: () => Promise<void> }> {
  rmSync(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    serve(socket, obey);
  });
  server.maxConnections = connectionsMax;
  server.listen({ path });
  await once(server, "listening");
  chmodSync(path, 0o600);
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
  };
  return { close };
}

function serve(socket: Socket, obey: ObeyOperator): void {
  const tell = (answer: OperatorAnswer): void => {
    if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`);
  };
  let isBusy = false;
  const onValue = async (value: unknown): Promise<void> => {
    const { type } = (value ?? {}) as { type?: unknown };
    // One order a connection.
    if (isBusy) return;
    isBusy = true;
    if (type !== "drain" && type !== "undrain") {
      tell({ type: "failed", message: "this server does not know such an order" });
    } else {
      const failed = (error: unknown): OperatorAnswer => ({
        ...{ type: "failed", message: error instanceof Error ? error.message : String(error) },
      });
      tell(await obey({ type }, tell).catch(failed));
    }
    socket.end();
  };
  socket.on("error", () => socket.destroy());
  readJsonLines(socket, {
    lineBytesMax,
    onValue: (value) => void onValue(value),
    onOther: () => socket.destroy(),
  });
}

/** The last answer. @throws SpriteError unavailable: no server runs there, or it ended meanwhile */
export async function askServer(
  path: string,
  order: OperatorOrder,
  onProgress: (left: number) => void,
): Promise<Exclude<OperatorAnswer, { type: "progress" }>> {
  const socket = connect({ path });
  return await new Promise((resolve, reject) => {
    socket.on("error", (cause) => {
      const isAbsent = ["ENOENT", "ECONNREFUSED"].includes(errorCode(cause) ?? "");
      const why = isAbsent ? "no server runs on this data directory" : cause.message;
      reject(new SpriteError("unavailable", why, { cause }));
    });
    socket.on("close", () => {
      reject(new SpriteError("unavailable", "the server has ended before it was done"));
    });
    readJsonLines(socket, {
      lineBytesMax,
      onValue: (value) => {
        const answer = value as OperatorAnswer;
        if (answer.type === "progress") onProgress(answer.left);
        else resolve(answer);
      },
      onOther: () => socket.destroy(),
    });
    socket.write(`${JSON.stringify(order)}\n`);
  });
}

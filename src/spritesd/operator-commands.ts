/** `spritesd drain` and `spritesd stop`: what an operator tells the server that runs on a data directory. */
import type { Command } from "commander";
import { isAlive, signalProcess } from "../base/process-identity.ts";
import { waitUntil } from "../base/wait.ts";
import { SpriteError } from "../contract/errors.ts";
import { placesOf } from "../worker/places.ts";
import { serverOf } from "../worker/server-lock.ts";
import { askServer, operatorSocketOf } from "./operator-socket.ts";
import { dataDirectoryDefault } from "./options.ts";

/** A server ends in 10 s, whatever hangs. */
const stopTimeoutMs = 15_000;

/** @param write what the commands print goes there */
export function addOperatorCommands(program: Command, write: (text: string) => void): void {
  const dataOption = [
    "--data <dir>",
    "the server's data directory",
    process.env["SPRITES_DATA"] ?? dataDirectoryDefault,
  ] as const;
  program
    .command("drain")
    .description(
      "have the server put every sprite to sleep, their disks stored, and take no more work; returns when that is so",
    )
    .option(...dataOption)
    .option("--undo", "take work again")
    .action(async ({ data, undo }: { data: string; undo?: true }) => {
      await drain(data, { isUndone: undo === true, write });
    });
  program
    .command("stop")
    .description("end the server; its sprites sleep then, their disks stored")
    .option(...dataOption)
    .option("--leave-sprites", "they run on, and the next server goes on with them")
    .action(async ({ data, leaveSprites }: { data: string; leaveSprites?: true }) => {
      await stop(data, leaveSprites === true ? "SIGTERM" : "SIGINT");
    });
}

async function drain(
  dataDirectory: string,
  { isUndone, write }: { isUndone: boolean; write: (text: string) => void },
): Promise<void> {
  const path = operatorSocketOf(placesOf(dataDirectory).runDirectory);
  const order = { type: isUndone ? "undrain" : "drain" } as const;
  const answer = await askServer(path, order, (left) => {
    write(`${left} ${left === 1 ? "sprite has" : "sprites have"} yet to go to sleep\n`);
  });
  if (answer.type === "failed") throw new SpriteError("unavailable", answer.message);
  if (isUndone) return write("the server takes work again\n");
  if (answer.unstored > 0) {
    const what = `${answer.unstored} sprites have changes that are on this machine only`;
    throw new SpriteError("storage_failure", `${what}: the bucket did not take them in time`);
  }
  write("drained: every sprite sleeps, and its disk is in the bucket\n");
}

/** @throws SpriteError unavailable: no server runs; deadline_exceeded */
async function stop(dataDirectory: string, signal: "SIGINT" | "SIGTERM"): Promise<void> {
  const server = await serverOf(placesOf(dataDirectory).runDirectory);
  if (server === null) {
    throw new SpriteError("unavailable", "no server runs on this data directory");
  }
  signalProcess(server, signal);
  if (await waitUntil(() => !isAlive(server), { timeoutMs: stopTimeoutMs, intervalMs: 50 })) return;
  throw new SpriteError("deadline_exceeded", `process ${server.pid} does not end`);
}

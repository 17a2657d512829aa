import type { ApiClient, Query } from "./api-client.ts";
import { CliError } from "./errors.ts";
import { remoteOutputBytesMax } from "./limits.ts";
import { SessionSocket, type SocketEnd } from "./session-socket.ts";
import { printable } from "./text.ts";

/** Runs a short command and gives its stdout. @throws CliError with its stderr when it fails */
export async function runRemoteCommand(
  client: ApiClient,
  path: string,
  argv: readonly string[],
): Promise<Buffer> {
  const output = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  let sizeBytes = 0;
  const query: Query = [
    ...argv.map((word): [string, string] => ["cmd", word]),
    ["path", argv[0] ?? ""],
    ["stdin", "false"],
  ];
  let finish: (end: SocketEnd | "tooMuch") => void = () => {};
  const finished = new Promise<SocketEnd | "tooMuch">((resolve) => (finish = resolve));
  const socket = await SessionSocket.open({
    client,
    path: `${path}/exec`,
    query,
    mode: "pipe",
    listener: {
      onInfo: () => {},
      onMessage: () => {},
      onSendable: () => {},
      onOutput: (stream, bytes) => {
        sizeBytes += bytes.byteLength;
        if (sizeBytes > remoteOutputBytesMax) finish("tooMuch");
        else output[stream].push(bytes);
      },
      onEnd: finish,
    },
  });
  const end = await finished;
  await socket.close();
  if (end !== "tooMuch" && end.kind === "exited" && end.exitCode === 0) {
    return Buffer.concat(output.stdout);
  }
  const words = printable(Buffer.concat(output.stderr).toString("utf8").trim().slice(0, 500));
  const why = end === "tooMuch" ? "it printed too much" : words || "it gave no reason";
  throw new CliError(`${argv[0] ?? ""} failed in the sprite: ${why}`, { code: "command_failed" });
}

import { spawn } from "node:child_process";

export type Report = (line: string) => void;

export interface CommandOptions {
  /** Receives each line the command prints, on either stream. */
  onLine?: Report;
  environment?: Record<string, string>;
  workingDirectory?: string;
  timeoutMs: number;
}

/** Lines of a failed command that its error message quotes. */
const quotedLinesMax = 15;

/**
 * Runs a command in mount and pid namespaces of its own. When it ends, or whoever started it dies
 * by whatever signal, the kernel kills what it started and drops what it mounted: a killed build
 * leaves nothing but files.
 */
export function runIsolated(command: readonly string[], options: CommandOptions): Promise<string> {
  const isolation = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
  ];
  return run(["setpriv", "--pdeathsig", "KILL", ...isolation, ...command], options);
}

/** Resolves with what the command wrote to stdout. @throws Error that quotes the command's last lines. */
export async function run(command: readonly string[], options: CommandOptions): Promise<string> {
  const [file, ...args] = command;
  if (file === undefined) throw new Error("run a command: it is empty");
  const child = spawn(file, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C.UTF-8", ...options.environment },
    cwd: options.workingDirectory,
    timeout: options.timeoutMs,
    killSignal: "SIGKILL",
  });
  const lastLines: string[] = [];
  const note = (line: string): void => {
    lastLines.push(line);
    if (lastLines.length > quotedLinesMax) lastLines.shift();
    options.onLine?.(line);
  };
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  splitLines(child.stdout, note);
  splitLines(child.stderr.setEncoding("utf8"), note);
  const outcome = await new Promise<string | null>((resolve, reject) => {
    child.once("error", (error) =>
      reject(new Error(`start ${file}: ${error.message}`, { cause: error })),
    );
    child.once("close", (code, signal) =>
      resolve(code === 0 ? null : (signal ?? `exit code ${code}`)),
    );
  });
  if (outcome === null) return output;
  const quote = lastLines.map((line) => `\n  ${line}`).join("");
  throw new Error(`${command.slice(0, 12).join(" ")}: ${outcome}${quote}`);
}

function splitLines(stream: NodeJS.ReadableStream, onLine: Report): void {
  let rest = "";
  stream.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
  stream.on("end", () => {
    if (rest !== "") onLine(rest);
  });
}

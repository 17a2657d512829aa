import type { Log } from "../../base/log.ts";
import { withDeadline } from "../../base/wait.ts";
import type { Launcher, PipeProcess } from "../../sandbox/process.ts";
import { guestScript } from "./guest-command.ts";
import {
  logAnswerLengthMax,
  logFileBytesMax,
  logRetryMs,
  logWriterIdleMs,
  logWriteMsMax,
} from "./limits.ts";

/**
 * Takes requests `NAME BYTES ROTATE` on its input, each followed by so many bytes, and answers each
 * with the size of the file, or `-` when they could not be written. Where the file cannot be opened
 * the bytes are read all the same, so that the next request is found. Nothing but an ordinary file
 * is opened, since a FIFO would never be.
 */
const writerProgram = `
[ -d "$1" ] || mkdir -p "$1"
while read -r name bytes rotate; do
  file=$1/$name.log
  [ "$rotate" = no ] || mv -f "$file" "$file.1"
  if { [ -f "$file" ] || ! [ -e "$file" ]; } && command exec 3>>"$file"; then
    if dd bs="$bytes" count=1 iflag=fullblock status=none >&3; then
      stat -L -c %s "$file" || echo -
    else echo -
    fi
    exec 3>&-
  else
    dd bs="$bytes" count=1 iflag=fullblock status=none | :
    echo -
  fi
done 2>&-
`;

/**
 * Appends to the log files, by one process inside that is there while there is something to write.
 * One write at a time: what comes meanwhile goes together in the next.
 */
export class LogWriter {
  readonly #launcher: Pick<Launcher, "launch">;
  readonly #directory: string;
  readonly #log: Log;
  /** Sizes of the files as the writer told them last. */
  readonly #sizes = new Map<string, number>();
  #running: WriterProcess | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | null = null;
  #notBeforeMs = 0;
  #isEnded = false;

  constructor(parts: { launcher: Pick<Launcher, "launch">; directory: string; log: Log }) {
    this.#launcher = parts.launcher;
    this.#directory = parts.directory;
    this.#log = parts.log;
  }

  /** False when it could not be written, and never will be. */
  async append(name: string, text: string): Promise<boolean> {
    const turn = this.#last.then(() => this.#append(name, Buffer.from(text)));
    this.#last = turn.catch(() => undefined);
    return await turn;
  }

  /** Ends the process once what was asked for is written; with its container it ends anyway. */
  async end(): Promise<void> {
    this.#isEnded = true;
    await this.#last;
    this.#endProcess();
  }

  async #append(name: string, bytes: Buffer): Promise<boolean> {
    if (performance.now() < this.#notBeforeMs) return false;
    try {
      const running = (this.#running ??= await this.#start());
      const isFull = (this.#sizes.get(name) ?? 0) + bytes.length > logFileBytesMax;
      const head = `${name} ${bytes.length} ${isFull ? "yes" : "no"}\n`;
      const answer = await withDeadline(running.ask([Buffer.from(head), bytes]), {
        timeoutMs: logWriteMsMax,
        onTimeout: () => new Error("a service's log was not written in time"),
      });
      this.#arrangeIdle();
      if (!/^[0-9]+$/.test(answer)) return false;
      this.#sizes.set(name, Number(answer));
      return true;
    } catch (error) {
      this.#log.warn({ err: error }, "lines of a service's log are lost");
      this.#running?.kill();
      this.#endProcess();
      this.#notBeforeMs = performance.now() + logRetryMs;
      return false;
    }
  }

  async #start(): Promise<WriterProcess> {
    if (this.#isEnded) throw new Error("the services' logs are closed");
    const command = guestScript(writerProgram, [this.#directory]);
    return new WriterProcess(await this.#launcher.launch(command, { stdin: true }));
  }

  #arrangeIdle(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#endProcess(), logWriterIdleMs);
    this.#idle.unref();
  }

  /** Its input ends, and so does it. */
  #endProcess(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = null;
    this.#running?.end();
    this.#running = null;
    // Whoever wrote or removed the files meanwhile is believed by the next.
    this.#sizes.clear();
  }
}

/** The process, asked one thing at a time. The guest may write answers too: those to no question count for nothing. */
class WriterProcess {
  readonly #process: PipeProcess;
  #rest = "";
  #question: PromiseWithResolvers<string> | null = null;
  #hasEnded = false;

  constructor(process: PipeProcess) {
    this.#process = process;
    process.stderr.resume();
    process.stdout.on("data", (bytes: Buffer) => this.#onOutput(bytes.toString("latin1")));
    process.stdout.once("close", () => this.#onEnd());
    void process.exited.then(() => this.#onEnd());
  }

  /** @throws Error when it has ended */
  async ask(parts: readonly Buffer[]): Promise<string> {
    if (this.#hasEnded) throw writerEnded();
    const question = Promise.withResolvers<string>();
    this.#question = question;
    for (const part of parts) this.#process.stdin?.write(part);
    return await question.promise;
  }

  end(): void {
    this.#process.stdin?.end();
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  #onOutput(text: string): void {
    this.#rest += text;
    const end = this.#rest.indexOf("\n");
    if (end >= 0 && end <= logAnswerLengthMax) {
      this.#question?.resolve(this.#rest.slice(0, end));
      this.#question = null;
      this.#rest = "";
    } else if (this.#rest.length > logAnswerLengthMax) {
      this.#process.stdout.destroy();
    }
  }

  #onEnd(): void {
    this.#hasEnded = true;
    this.#question?.reject(writerEnded());
    this.#question = null;
  }
}

function writerEnded(): Error {
  return new Error("the writer of the services' logs has ended");
}

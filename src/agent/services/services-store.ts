import type { Log } from "../../base/log.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { Launcher } from "../../sandbox/process.ts";
import { guestScript, runInGuest } from "./guest-command.ts";
import { servicesFileBytesMax } from "./limits.ts";
import { decodeServices, encodeServices, type KeptService } from "./services-file.ts";

const fileName = "services.json";

/** Exit codes of the program that reads. */
const exitCode = { none: 3, notAFile: 4 } as const;

const readProgram = `
[ -e "$1" ] || [ -L "$1" ] || exit ${exitCode.none}
[ -f "$1" ] || exit ${exitCode.notAFile}
wc -c < "$1" >&2
exec head -c "$2" "$1"
`;

/** What was written whole takes the old one's place at once, or never. */
const writeProgram = `
[ -d "$1" ] || mkdir -p "$1" || exit 1
rm -rf "$1/${fileName}.new"
cat > "$1/${fileName}.new" || exit 1
[ "$(wc -c < "$1/${fileName}.new")" -eq "$2" ] || exit 1
sync "$1/${fileName}.new" && mv -f "$1/${fileName}.new" "$1/${fileName}" && sync "$1"
`;

const setAsideProgram = `mv "$1" "$2" && sync "$3"`;

/** Keeps the definitions on the sprite's own disk, so that checkpoints and forks carry them. */
export class ServicesStore {
  readonly #launcher: Pick<Launcher, "launch">;
  readonly #directory: string;
  readonly #log: Log;

  constructor(parts: { launcher: Pick<Launcher, "launch">; directory: string; log: Log }) {
    this.#launcher = parts.launcher;
    this.#directory = parts.directory;
    this.#log = parts.log;
  }

  /**
   * The services there are, with what could not be read of them: that file is put aside first, so
   * that nothing of it is lost when the next one is written. @throws SpriteError
   */
  async load(): Promise<{ services: KeptService[]; problem: string | null }> {
    const path = this.#path;
    const args = [path, String(servicesFileBytesMax + 1)];
    const { status, stdout, stderr } = await runInGuest(
      this.#launcher,
      guestScript(readProgram, args),
      { outputBytesMax: servicesFileBytesMax + 1 },
    );
    const code = status.kind === "exited" ? status.code : -1;
    if (code === exitCode.none) return { services: [], problem: null };
    if (code === exitCode.notAFile) return await this.#setAside([], ["it is not a file"]);
    if (code !== 0) {
      throw new SpriteError("storage_failure", `the sprite's services cannot be read: ${stderr}`);
    }
    if (stdout.length > servicesFileBytesMax) return await this.#setAside([], ["it is too large"]);
    if (stdout.length !== Number(stderr)) {
      // Somebody writes to it: nothing is wrong with the file by what was seen of it.
      throw new SpriteError("storage_failure", `${path} was not read whole`);
    }
    const { services, problems } = decodeServices(stdout.toString("utf8"));
    if (problems.length === 0) return { services, problem: null };
    return await this.#setAside(services, problems);
  }

  /** Resolves when it is on the disk. @throws SpriteError disk_full, storage_failure */
  async save(services: Iterable<KeptService>): Promise<void> {
    const input = encodeServices(services);
    const args = [this.#directory, String(Buffer.byteLength(input))];
    const { status, stderr } = await runInGuest(this.#launcher, guestScript(writeProgram, args), {
      input,
      outputBytesMax: 1024,
    });
    if (status.kind === "exited" && status.code === 0) return;
    const isFull = stderr.includes("No space left");
    throw new SpriteError(
      isFull ? "disk_full" : "storage_failure",
      `the sprite's services cannot be kept in ${this.#path}: ${stderr.slice(0, 200)}`,
    );
  }

  async #setAside(
    services: KeptService[],
    problems: readonly string[],
  ): Promise<{ services: KeptService[]; problem: string }> {
    const aside = `${this.#path}.damaged-${new Date().toISOString().replaceAll(":", "-")}`;
    const moved = await runInGuest(
      this.#launcher,
      guestScript(setAsideProgram, [this.#path, aside, this.#directory]),
      { outputBytesMax: 1024 },
    );
    if (moved.status.kind !== "exited" || moved.status.code !== 0) {
      const message = `the sprite's services are damaged and cannot be put aside: ${moved.stderr}`;
      throw new SpriteError("storage_failure", message);
    }
    const problem = `${this.#path} was damaged (${problems.join("; ")}) and is kept as ${aside}`;
    this.#log.warn({ problems }, problem);
    if (services.length > 0) await this.save(services);
    return { services, problem };
  }

  get #path(): string {
    return `${this.#directory}/${fileName}`;
  }
}

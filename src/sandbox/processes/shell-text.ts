/**
 * The shell programs that start commands, for the static busybox at `/.sprite/bin`, and the start
 * file that says which. Its shell prefers its own applets to programs of the same name, so a
 * command is always executed by a path with a slash.
 */
import { SpriteError } from "../../contract/errors.ts";
import type { Command, TerminalSize } from "../process.ts";

/** The path that a command without PATH searches. */
const fallbackSearchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Variables that the shell itself acts on or computes. Commands that set one go through `env`. */
const shellVariables: ReadonlySet<string> = new Set([
  "IFS",
  "LINENO",
  "RANDOM",
  "OPTIND",
  "OPTARG",
  "OPTERR",
  "PPID",
  "PS1",
  "PS2",
  "PS4",
  "MAIL",
  "MAILPATH",
  "MAILCHECK",
  "HISTFILE",
  "FUNCNAME",
  "EPOCHSECONDS",
  "EPOCHREALTIME",
  "SECONDS",
  "ENV",
  "PWD",
  "OLDPWD",
  "SHLVL",
  "_",
  "TMOUT",
]);

/** Any text without NUL as one word of a shell. */
export function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The paths where the command's executable may be, in the order of its own PATH. */
export function executableCandidates(command: Command): string[] {
  if (command.path.includes("/")) {
    // A leading hyphen would read as an option of `env`.
    return [command.path.startsWith("-") ? `./${command.path}` : command.path];
  }
  if (command.path === "") return [];
  const path = effectiveEnvironment(command).get("PATH") ?? fallbackSearchPath;
  return path
    .split(":")
    .map((directory) => (directory === "" ? "." : directory))
    .map((directory) => `${directory.replace(/\/$/, "")}/${command.path}`);
}

/**
 * Descriptor 9 takes the status lines: `p PID INDEX` once the executable is looked up, with its
 * place among the candidates or -1, and at the end `x CODE`.
 */
const startFunctions = `
sprite_fail() {
  echo "p $$ -1" >&9
  exec 9>&-
  printf 'sprite: %s\\n' "$2" >&2
  exit "$1"
}
sprite_enter() {
  cd -P -- "$1" 2>/dev/null && return
  [ -n "$2" ] && cd -P -- "$2" 2>/dev/null && return
  if [ -d "$1" ]; then sprite_fail 126 "cannot enter directory $1: permission denied"
  elif [ -e "$1" ]; then sprite_fail 126 "cannot enter directory $1: not a directory"
  else sprite_fail 126 "cannot enter directory $1: no such directory"
  fi
}
sprite_find() {
  sprite_name=$1
  shift
  sprite_index=0
  sprite_seen=
  for sprite_executable do
    if [ -f "$sprite_executable" ]; then
      if [ -x "$sprite_executable" ]; then
        echo "p $$ $sprite_index" >&9
        exec 9>&-
        sprite_connect_input
        unset PATH HOME PWD OLDPWD SHLVL
        return
      fi
      sprite_seen=1
    fi
    sprite_index=$((sprite_index + 1))
  done
  if [ "$sprite_seen" ]; then sprite_fail 126 "$sprite_name: permission denied"
  elif [ "$sprite_name" = "$1" ] && [ -d "$1" ]; then sprite_fail 126 "$sprite_name: is a directory"
  else sprite_fail 127 "$sprite_name: command not found"
  fi
}
`;

/**
 * What the programs are called in the FIFO directory; these names show in the guest's process list.
 */
export const programNames = { spawner: "spawner", command: "command", zygote: "terminal" } as const;

/**
 * The loop that forks commands. Arguments: the FIFO directory, the number of this spawner, and
 * busybox. Process substitution is the one way by which this shell forks without waiting, without
 * ignoring SIGINT and without needing /dev/null. The first process leaves at once: the loop becomes
 * a child of the container's init, and no runtime process stays behind.
 *
 * Who waits for a command holds the reading ends of its FIFOs too, for as long as it runs: when the
 * agent dies, the command's output waits for the next one instead of ending it.
 */
const spawnerProgram = `
wait_for_command() {
  exec 0<&- 7<&- 8>&-
  exec 9<>"$sprite_run/$1.status" 4<>"$sprite_run/$1.out" 5<>"$sprite_run/$1.err" || exit
  (
    exec 4<&- 5<&-
    set -- "$sprite_run/${programNames.command}" "$sprite_run" "$1" "$sprite_busybox" "$2"
    exec "$sprite_busybox" setsid "$sprite_busybox" sh "$@"
  )
  sprite_code=$?
  exec 4<&- 5<&-
  echo "x $sprite_code" >&9
}
serve() {
  exec 7<"$sprite_run/$1.requests" 8>"$sprite_run/$1.alive"
  exec 0<&- 1>&- 2>&-
  echo ready >&8
  while read -r verb slot stdin <&7; do
    case $verb in
      r) : <(wait_for_command "$slot" "$stdin") ;;
      j) jobs ;;
    esac
  done
}
sprite_run=$1
sprite_busybox=$3
: <(serve "$2")
`;

/**
 * Begins one command: the leader of a session of its own, so that signals reach its whole group and
 * nobody else's.
 *
 * Its input is an anonymous pipe, since a FIFO whose writer has gone cannot be opened a second
 * time, as `cat /dev/stdin` does. The shell makes one for an empty here-document. The agent opens
 * the pipe's writing end through /proc once it knows the process id, and then answers on the input
 * FIFO; where it could not, the FIFO itself becomes the input.
 */
const commandProgram = `
sprite_run=$1
sprite_busybox=$3
sprite_input=$4
exec 1>"$sprite_run/$2.out" 2>"$sprite_run/$2.err" 6<"$sprite_run/$2.in"
if [ "$sprite_input" = i ]; then exec 0<<END
END
elif [ -c /dev/null ] && command exec 0</dev/null; then exec 6<&-
else exec 0<&6 6<&-
fi
${startFunctions}
sprite_connect_input() {
  [ "$sprite_input" = i ] || return 0
  # Without -u the shell would put the FIFO in the pipe's place while it waits.
  read -r -u 6 sprite_answer
  [ "$sprite_answer" = pipe ] || exec 0<&6
  exec 6<&-
}
. "$sprite_run/$2.start"
`;

/**
 * Waits on a terminal of its own for one start file. Arguments: the FIFO directory, the zygote's
 * number and busybox.
 */
const zygoteProgram = `
sprite_run=$1
sprite_busybox=$3
exec 9>"$sprite_run/$2.status"
echo ready >&9
${startFunctions}
sprite_connect_input() { :; }
read -r sprite_slot <"$sprite_run/$2.go" && . "$sprite_run/$sprite_slot.start"
`;

export const programs: ReadonlyArray<readonly [name: string, text: string]> = [
  [programNames.spawner, spawnerProgram],
  [programNames.command, commandProgram],
  [programNames.zygote, zygoteProgram],
];

/** The start file of a command on pipes. @throws SpriteError invalid_request */
export function pipeStartFile(command: Command): string {
  return startFile(command, "");
}

/**
 * The start file of a command on a zygote's terminal, whose session it takes over. @throws
 * SpriteError invalid_request
 */
export function terminalStartFile(command: Command, size: TerminalSize): string {
  // The runtime switches `onlcr` off, since its own outer terminal translates too; there it is
  // switched off instead.
  const settings = `onlcr iutf8 rows ${size.rows} cols ${size.columns}`;
  return startFile(command, `"$sprite_busybox" stty ${settings} 2>/dev/null\n`);
}

function startFile(command: Command, before: string): string {
  rejectNul(command);
  const fallback = quoteForShell(command.fallbackDirectory ?? "");
  const candidates = executableCandidates(command).map(quoteForShell).join(" ");
  return [
    `${before}sprite_enter ${quoteForShell(absoluteDirectory(command.directory))} ${fallback}`,
    `sprite_find ${quoteForShell(command.path)} ${candidates}`,
    ...executionLines(command),
    "",
  ].join("\n");
}

function executionLines(command: Command): string[] {
  const environment = [...effectiveEnvironment(command)];
  const argv0 = quoteForShell(command.argv[0] ?? command.path);
  const words = command.argv.slice(1).map(quoteForShell);
  if (environment.every(([name]) => isShellName(name))) {
    const exports = environment.map(([name, value]) => `export ${name}=${quoteForShell(value)}`);
    const call = ["exec", "-a", argv0, '"$sprite_executable"', ...words];
    return [...exports, call.join(" ")];
  }
  // `env` cannot name a program other than its path, so here argv[0] becomes the path.
  const pairs = environment.map(([name, value]) => quoteForShell(`${name}=${value}`));
  const call = [
    "exec",
    '"$sprite_busybox"',
    "env",
    "-i",
    ...pairs,
    '"$sprite_executable"',
    ...words,
  ];
  return [call.join(" ")];
}

function isShellName(name: string): boolean {
  return (
    /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) &&
    !shellVariables.has(name) &&
    !name.startsWith("sprite_")
  );
}

/** Later pairs win. */
function effectiveEnvironment(command: Command): Map<string, string> {
  return new Map(command.environment);
}

/** `cd -` would mean another directory, and `cd ''` none. */
function absoluteDirectory(directory: string): string {
  return directory.startsWith("/") ? directory : `./${directory}`;
}

function rejectNul(command: Command): void {
  const environment = command.environment.flat();
  const texts = [...command.argv, command.path, command.directory, ...environment];
  if (texts.some((text) => text.includes("\0"))) {
    throw new SpriteError(
      "invalid_request",
      "a command, its directory and its environment cannot hold NUL",
    );
  }
  if (command.environment.some(([name]) => name === "" || name.includes("="))) {
    throw new SpriteError(
      "invalid_request",
      "a variable's name is not empty and holds no equals sign",
    );
  }
}

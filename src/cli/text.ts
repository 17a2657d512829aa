/** Columns as wide as their widest cell, two spaces apart, nothing behind the last one. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) =>
    Math.max(...all.map((row) => displayWidth(row[column] ?? ""))),
  );
  return all
    .map((row) =>
      row
        .map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - displayWidth(cell)))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/**
 * The same in so many columns: what does not fit loses the columns that are told first, then the ends of its lines.
 * @param options.dropOrder names of columns, the least needed first
 */
export function formatTableWithin(
  table: { header: readonly string[]; rows: readonly (readonly string[])[] },
  options: { columns: number; dropOrder: readonly string[] },
): string {
  let { header, rows } = table;
  const lines = (): string[] => formatTable(header, rows).split("\n");
  for (const name of options.dropOrder) {
    if (lines().every((line) => displayWidth(line) <= options.columns)) break;
    const keeps = header.map((title) => title !== name);
    header = header.filter((_, index) => keeps[index]);
    rows = rows.map((row) => row.filter((_, index) => keeps[index]));
  }
  return lines()
    .map((line) => shorten(line, options.columns))
    .join("\n");
}

/** Ends in "…" when it does not fit. */
export function shorten(text: string, widthMax: number): string {
  const characters = Array.from(text);
  if (characters.length <= widthMax) return text;
  return `${characters.slice(0, Math.max(0, widthMax - 1)).join("")}…`;
}

/** `key: value` lines with the values aligned; one without a key goes on with the value before. */
export function formatFields(fields: readonly (readonly [string, string])[]): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  const label = (name: string): string => (name === "" ? "" : `${name}:`).padEnd(width + 2);
  return fields.map(([name, value]) => `${label(name)}${value}\n`).join("");
}

/** Text from a server may hold control characters that would rewrite the terminal: they are shown. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) =>
    character === "\n" || character === "\t"
      ? " "
      : `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

const byteUnits = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

/** "12.3 MiB": three digits at most, in the largest unit that leaves at least one before the point. */
export function formatBytes(sizeBytes: number): string {
  let size = sizeBytes;
  let unit = 0;
  while (size >= 999.5 && unit < byteUnits.length - 1) {
    size /= 1024;
    unit++;
  }
  if (unit === 0) return `${size} ${size === 1 ? "byte" : "bytes"}`;
  return `${size < 9.95 ? size.toFixed(1) : Math.round(size)} ${byteUnits[unit]}`;
}

function displayWidth(text: string): number {
  return Array.from(text).length;
}

const timeUnits: readonly (readonly [name: string, seconds: number])[] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** "3 minutes ago": the largest unit that fits, rounded down, as people say it. */
export function relativeTime(isoTime: string | null | undefined, now: Date): string {
  if (isoTime === null || isoTime === undefined || isoTime === "") return "-";
  const time = Date.parse(isoTime);
  if (Number.isNaN(time)) return printable(isoTime);
  const seconds = Math.round((now.getTime() - time) / 1000);
  const distance = Math.abs(seconds);
  const unit = timeUnits.find(([, unitSeconds]) => distance >= unitSeconds);
  if (unit === undefined) return seconds < -10 ? "in a moment" : "just now";
  const count = Math.floor(distance / unit[1]);
  const words = `${count} ${unit[0]}${count === 1 ? "" : "s"}`;
  return seconds >= 0 ? `${words} ago` : `in ${words}`;
}

/** "3 min 20 s": the two largest units; never below nought. */
export function durationText(durationMs: number): string {
  const seconds = Math.max(0, Math.round(durationMs / 1000));
  const units: readonly (readonly [string, number])[] = [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
    ["s", 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [[name, size] = ["s", 1], second] = units.slice(first, first + 2);
  const rest = second === undefined ? 0 : Math.floor((seconds % size) / second[1]);
  const whole = `${Math.floor(seconds / size)} ${name}`;
  return second === undefined || rest === 0 ? whole : `${whole} ${rest} ${second[0]}`;
}

/** A word as a POSIX shell reads it back, for commands that the user is told to run. */
export function shellQuote(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The names closest to a mistyped one, best first: few edits, or one name beginning with the other. */
export function closestNames(
  wanted: string,
  names: readonly string[],
  limits: { distanceMax: number; countMax: number },
): string[] {
  const scored = names.map((name) => {
    const isPrefix = wanted.length >= 2 && (name.startsWith(wanted) || wanted.startsWith(name));
    return { name, distance: isPrefix ? 1 : editDistance(wanted, name) };
  });
  const allowed = Math.min(limits.distanceMax, Math.max(1, Math.floor(wanted.length / 2)));
  return scored
    .filter(({ distance }) => distance <= allowed)
    .toSorted((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, limits.countMax)
    .map(({ name }) => name);
}

/** Levenshtein distance, one row at a time. */
export function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      row.push(Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, substitution));
    }
    previous = row;
  }
  return previous[to.length] ?? 0;
}

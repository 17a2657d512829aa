/** The rows of the bench: one JSON object a line, or a table for SPECIFICATION.md. */
import { isRate, ratioToPeer, rounded, summarize, type Summary, type Unit } from "./statistics.ts";
import { targetOf, type Target } from "./targets.ts";

export interface Row {
  name: string;
  unit: Unit;
  n: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  peer: { name: string; p50: number } | null;
  /** Against the peer's p50: 1 = equal, more is better, for times as for rates. */
  ratio: number | null;
  /** What the issues ask for; null where it asks for nothing. */
  target: string | null;
  met: boolean | null;
  note?: string;
}

export interface Measurement {
  name: string;
  unit: Unit;
  samples: readonly number[];
  /** The peer's samples of the same run. */
  peer?: { name: string; samples: readonly number[] };
  note?: string;
}

export function rowOf(measurement: Measurement): Row {
  const { name, unit, samples, peer, note } = measurement;
  const own = summarize(samples, unit);
  const peerP50 = peer === undefined ? Number.NaN : summarize(peer.samples, unit).p50;
  const hasPeer = peer !== undefined && peer.samples.length > 0;
  const ratio = hasPeer ? rounded(ratioToPeer({ own: own.p50, peer: peerP50, unit })) : null;
  const target = targetOf(name);
  return {
    name,
    unit,
    n: own.n,
    p50: rounded(own.p50),
    p95: rounded(own.p95),
    p99: rounded(own.p99),
    peer: hasPeer ? { name: peer.name, p50: rounded(peerP50) } : null,
    ratio,
    target: target === null ? null : target.text,
    met: target === null ? null : isMet(target, { ...own, ratio }),
    ...(note === undefined ? {} : { note }),
  };
}

/** A row that could not be measured says why, and its target is missed. */
export function failedRow(name: string, unit: Unit, error: unknown): Row {
  const target = targetOf(name);
  const message = error instanceof Error ? error.message : String(error);
  return {
    ...{ name, unit, n: 0, p50: null, p95: null, p99: null, peer: null, ratio: null },
    target: target?.text ?? null,
    met: target === null ? null : false,
    note: `failed: ${message.slice(0, 400)}`,
  };
}

function isMet(target: Target, figures: Summary & { ratio: number | null }): boolean {
  const { kind, value } = target;
  if (kind === "p50-max") return figures.p50 <= value;
  if (kind === "p99-max") return figures.p99 <= value;
  if (kind === "p50-min") return figures.p50 >= value;
  return figures.ratio !== null && figures.ratio >= value;
}

export function markdownTable(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const unit = isRate(row.unit) ? row.unit : ` ${row.unit}`;
    const figure = (value: number | null): string => (value === null ? "-" : String(value));
    const peer = row.peer === null ? "-" : `${row.peer.name}: ${row.peer.p50}`;
    const verdict = row.met === null ? "" : row.met ? "yes" : "**no**";
    const cells = [
      `\`${row.name}\``,
      unit.trim(),
      ...[row.n, row.p50, row.p95, row.p99].map(figure),
      peer,
      figure(row.ratio),
      row.target ?? "",
      verdict,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  const notes = rows.flatMap((row) =>
    row.note === undefined ? [] : [`- \`${row.name}\`: ${row.note}`],
  );
  return [
    "| row | unit | n | p50 | p95 | p99 | peer (p50) | ratio | target | met |",
    "|---|---|---|---|---|---|---|---|---|---|",
    ...lines,
    ...(notes.length === 0 ? [] : ["", ...notes]),
  ].join("\n");
}

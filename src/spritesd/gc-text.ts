/** What `spritesd gc` prints. */
import type { AuditedVolume, BucketSummary } from "../storage/audit/bucket-audit.ts";
import type { Disposal } from "../storage/audit/disposal.ts";
import { keysNamedMax } from "../storage/audit/limits.ts";
import type { LocalOrphan } from "../storage/audit/local-orphans.ts";
import { objectClasses, type ObjectCount, type ObjectCounts } from "../storage/audit/objects.ts";

const classTexts: Record<(typeof objectClasses)[number], string> = {
  live: "in use",
  metadata: "metadata",
  forks: "kept for forks",
  pending: "pending",
  leaked: "leaked",
  unknown: "not ours",
};

const disposalTexts: Record<Exclude<Disposal, null>, string> = {
  unregistered: "no registry names it (--volumes deletes it)",
  unused: "no sprite has this image (--images deletes it)",
  young: "no registry names it yet",
};

export function volumeText(volume: AuditedVolume): string {
  const { prefix, condition, server, txid, disposal, deleted, problems, leaked, surplus } = volume;
  const by = server === null ? "" : ` by ${server}`;
  const at = txid === 0 ? "" : `, transaction ${txid}`;
  const lines = [`${prefix}  ${condition}${by}${at}: ${countsText(volume.counts)}`];
  if (disposal !== null) lines.push(`  ${disposalTexts[disposal]}`);
  for (const { key, sizeBytes } of leaked.slice(0, keysNamedMax)) {
    lines.push(`  leaked  ${key}  ${sizeText(sizeBytes)}`);
  }
  for (const { owner, count } of surplus) {
    lines.push(`  its marker keeps ${count} segments of ${owner} that it does not read any more`);
  }
  if (deleted !== null && deleted.count > 0) lines.push(`  deleted ${countText(deleted)}`);
  for (const problem of problems) lines.push(`  PROBLEM  ${problem}`);
  return `${lines.join("\n")}\n`;
}

export function summaryText(summary: BucketSummary, isDryRun: boolean): string {
  const { volumes, counts, disposable, deleted, problems, isBudgetSpent } = summary;
  const lines = [`${volumes} volumes: ${countsText(counts)}`];
  if (disposable.count > 0) lines.push(`in volumes that nobody needs: ${countText(disposable)}`);
  if (isDryRun) lines.push("a dry run: nothing was deleted");
  else lines.push(`deleted ${countText(deleted)}`);
  if (isBudgetSpent) lines.push("the budget is spent: run it again for the rest");
  lines.push(problems === 0 ? "no problems" : `${problems} PROBLEMS`);
  return `${lines.join("\n")}\n`;
}

export function strayText(keys: readonly string[]): string {
  if (keys.length === 0) return "";
  const many = keys.length === keysNamedMax ? `${keys.length} or more` : String(keys.length);
  return `${many} objects are not ours and stay, such as ${keys[0]}\n`;
}

export function orphanText(orphan: LocalOrphan, nowMs: number): string {
  const { path, sizeBytes, setAsideAtMs, reason } = orphan;
  const days = Math.floor((nowMs - setAsideAtMs) / 86_400_000);
  const why = reason === null ? "" : `: ${reason}`;
  return `set aside ${days} days ago  ${path}  ${sizeText(sizeBytes)}${why}\n`;
}

function countsText(counts: ObjectCounts): string {
  const parts = objectClasses
    .filter((name) => counts[name].count > 0)
    .map((name) => `${classTexts[name]} ${countText(counts[name])}`);
  return parts.length === 0 ? "nothing" : parts.join(", ");
}

function countText({ count, sizeBytes }: ObjectCount): string {
  return `${count} (${sizeText(sizeBytes)})`;
}

function sizeText(sizeBytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let value = sizeBytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

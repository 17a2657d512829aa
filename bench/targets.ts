/** What issue 2 wants reached ("Reach"); a row without an entry has no target. */
export interface Target {
  kind: "p50-max" | "ratio-min";
  value: number;
  text: string;
}

const p50MaxOf: Readonly<Record<string, number>> = {
  exec: 5,
  create_to_first_output: 600,
  checkpoint: 150,
  checkpoint_100mb: 150,
  checkpoint_5gb: 150,
  restore: 400,
  restore_100mb: 400,
  restore_5gb: 400,
  agent_rss_mb: 80,
  server_start: 3000,
};
/** Of the host's own ext4, on every `disk.` row; the rows against s3backer are for comparison. */
const diskRatioMin = 0.8;

export function targetOf(name: string): Target | null {
  const p50Max = p50MaxOf[name];
  if (p50Max !== undefined) return { kind: "p50-max", value: p50Max, text: `p50 <= ${p50Max}` };
  if (!name.startsWith("disk.")) return null;
  return { kind: "ratio-min", value: diskRatioMin, text: `ratio >= ${diskRatioMin}` };
}

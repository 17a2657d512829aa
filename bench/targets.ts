/** What issues 2 to 5 want reached ("Reach"); a row without an entry has no target. */
export interface Target {
  kind: "p50-max" | "p99-max" | "p50-min" | "ratio-min";
  value: number;
  text: string;
}

const textOf: Readonly<Record<Target["kind"], string>> = {
  "p50-max": "p50 <=",
  "p99-max": "p99 <=",
  "p50-min": "p50 >=",
  "ratio-min": "ratio >=",
};

/** Each for the row of that name; a name that ends in `*` is the beginning of others'. */
const targets: ReadonlyArray<readonly [name: string, kind: Target["kind"], value: number]> = [
  ["exec", "p50-max", 5],
  ["service_start", "p50-max", 10],
  ["create_to_first_output", "p50-max", 600],
  ["server_start", "p50-max", 3000],
  ["tunnel_download", "p50-min", 300],
  ["tunnel_upload", "p50-min", 300],
  // A connection of the machine to itself takes a few hundredths; the rest is what the tunnel adds.
  ["tunnel_round_trip", "p50-max", 1],
  ["url_added", "p50-max", 1],
  ["url_requests", "ratio-min", 0.8],
  ["agent_rss_mb", "p50-max", 80],
  ["storage_rss_*", "p50-max", 60],
  ["pool_create_to_first_output", "p50-max", 30],
  ["pool_burst", "p50-max", 5000],
  ["wake_warm", "p50-max", 5],
  ["wake_cold", "p50-max", 300],
  ["sleep_cold", "p50-max", 200],
  ["checkpoint", "p50-max", 100],
  ["checkpoint_100mb", "p50-max", 100],
  ["checkpoint_50gb", "p50-max", 100],
  ["checkpoint_pause*", "p99-max", 50],
  ["restore", "p50-max", 250],
  ["restore_100mb", "p50-max", 250],
  ["restore_50gb", "p50-max", 250],
  ["cold_first_block", "p50-max", 150],
  ["cold_map", "p50-max", 500],
  ["file_read", "p50-min", 500],
  ["file_write", "p50-min", 500],
  // "The store's own speed", less what two measurements on one machine differ by.
  ["cold_seq_read_*", "ratio-min", 0.9],
  ["fsync_local", "p50-min", 1000],
  ["write_amplification_*", "p50-max", 6],
  // Of the host's own ext4; the rows beside other uses of a bucket are for comparison.
  ["disk.*", "ratio-min", 0.9],
];

export function targetOf(name: string): Target | null {
  const found = targets.find(([wanted]) =>
    wanted.endsWith("*") ? name.startsWith(wanted.slice(0, -1)) : name === wanted,
  );
  if (found === undefined) return null;
  const [, kind, value] = found;
  return { kind, value, text: `${textOf[kind]} ${value}` };
}

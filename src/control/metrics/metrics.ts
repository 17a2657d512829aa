/**
 * Counts and durations since the server started. Nothing but numbers in memory until somebody asks: prom-client, which knows the
 * process's own figures, is loaded then.
 */
import { assert } from "../../base/assert.ts";
import { bucketBoundsSeconds, metricTable, type MetricName } from "./metric-table.ts";

type Labels = Readonly<Record<string, string>>;

interface Histogram {
  /** By bound, not added up; the last is beyond all bounds. */
  counts: number[];
  sum: number;
}

/** What others call; `noMetrics` is for those that nobody gave any. */
export interface Metrics {
  count(name: MetricName, labels?: Labels, by?: number): void;
  /** A duration. */
  observe(name: MetricName, seconds: number, labels?: Labels): void;
}

export const noMetrics: Metrics = { count: () => undefined, observe: () => undefined };

/** More combinations of labels than this are a mistake: the rest goes uncounted. */
const seriesMax = 5_000;

export class MetricRecorder implements Metrics {
  readonly #values = new Map<MetricName, Map<string, number>>();
  readonly #histograms = new Map<MetricName, Map<string, Histogram>>();

  count(name: MetricName, labels: Labels = {}, by = 1): void {
    const series = seriesOf(this.#values, name);
    const key = keyOf(name, labels);
    if (series.has(key) || series.size < seriesMax) series.set(key, (series.get(key) ?? 0) + by);
  }

  observe(name: MetricName, seconds: number, labels: Labels = {}): void {
    const series = seriesOf(this.#histograms, name);
    const key = keyOf(name, labels);
    let histogram = series.get(key);
    if (histogram === undefined) {
      if (series.size >= seriesMax) return;
      histogram = {
        counts: Array.from({ length: bucketBoundsSeconds.length + 1 }, () => 0),
        sum: 0,
      };
      series.set(key, histogram);
    }
    const index = bucketBoundsSeconds.findIndex((bound) => seconds <= bound);
    const bucket = index < 0 ? bucketBoundsSeconds.length : index;
    histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1;
    histogram.sum += seconds;
  }

  /**
   * In Prometheus's text format, version 0.0.4.
   * @param now what is looked up when asked for, beside what was counted
   */
  render(now: readonly { name: MetricName; labels?: Labels; value: number }[]): string {
    const lines: string[] = [];
    for (const name of Object.keys(metricTable) as MetricName[]) {
      const { type, help } = metricTable[name];
      const samples = [
        ...valueLines(name, this.#values.get(name)),
        ...now
          .filter((sample) => sample.name === name)
          .map(({ labels = {}, value }) => `${name}${keyOf(name, labels)} ${value}`),
        ...histogramLines(name, this.#histograms.get(name)),
      ];
      if (samples.length > 0)
        lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples);
    }
    return `${lines.join("\n")}\n`;
  }
}

function seriesOf<T>(all: Map<MetricName, Map<string, T>>, name: MetricName): Map<string, T> {
  const series = all.get(name) ?? new Map<string, T>();
  all.set(name, series);
  return series;
}

/** `{a="1",b="2"}`, in the table's order. */
function keyOf(name: MetricName, labels: Labels): string {
  const names: readonly string[] = metricTable[name].labels;
  assert(Object.keys(labels).length === names.length, `${name} has the labels ${names.join(", ")}`);
  if (names.length === 0) return "";
  const pairs = names.map((label) => `${label}="${escape(labels[label] ?? "")}"`);
  return `{${pairs.join(",")}}`;
}

function escape(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function valueLines(name: string, series: Map<string, number> | undefined): string[] {
  return [...(series ?? [])].map(([key, value]) => `${name}${key} ${value}`);
}

function histogramLines(name: string, series: Map<string, Histogram> | undefined): string[] {
  return [...(series ?? [])].flatMap(([key, { counts, sum }]) => {
    let count = 0;
    const inner = key === "" ? "" : `${key.slice(1, -1)},`;
    const buckets = counts.map((found, index) => {
      count += found;
      const bound = bucketBoundsSeconds[index] ?? "+Inf";
      return `${name}_bucket{${inner}le="${bound}"} ${count}`;
    });
    return [...buckets, `${name}_sum${key} ${sum}`, `${name}_count${key} ${count}`];
  });
}

/** Measures work that succeeds, and counts work that fails. */
export async function timed<T>(
  metrics: Metrics,
  as: { seconds: MetricName; failures: MetricName; labels?: Labels },
  work: () => Promise<T>,
): Promise<T> {
  const startMs = performance.now();
  try {
    const result = await work();
    metrics.observe(as.seconds, (performance.now() - startMs) / 1_000, as.labels);
    return result;
  } catch (error) {
    metrics.count(as.failures, as.labels);
    throw error;
  }
}

/**
 * Every metric of a cell, by name, and the text that Prometheus reads ("Exposition formats", version 0.0.4). Dashboards, alerts and autoscalers of the stacks name
 * metrics of this table only (a test compares). Metrics are counts and times: no id of a tenant, a job or a key, and nothing of a picture or a result. There is no
 * count of cats among them: with one job in its interval it would be that job's result (docs/threat-model.md).
 */
export interface Described {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  readonly by: readonly ('gateway' | 'broker' | 'counter')[];
}

export const METRICS = {
  ccc_due_jobs: { type: 'gauge', help: 'Jobs that could be leased now; the same from every gateway of a ledger.', labels: [], by: ['gateway'] },
  ccc_oldest_due_seconds: { type: 'gauge', help: 'Since when the oldest of them could be; 0 without any.', labels: [], by: ['gateway'] },
  ccc_jobs_total: { type: 'counter', help: 'Jobs accepted and ended by this process, by state.', labels: ['state'], by: ['gateway'] },
  ccc_releases_total: { type: 'counter', help: 'Data keys released, by the receipts of brokers at a gateway, by what it did at a broker.', labels: [], by: ['gateway', 'broker'] },
  ccc_release_seconds: { type: 'histogram', help: 'From a request for keys to its answer.', labels: [], by: ['gateway'] },
  ccc_release_p99_seconds: { type: 'gauge', help: 'The same, 99th percentile of the last minute; absent without any.', labels: [], by: ['gateway'] },
  ccc_refusals_total: { type: 'counter', help: 'Refusals of evidence, messages and policy, by code.', labels: ['code'], by: ['gateway', 'broker', 'counter'] },
  ccc_problems_total: { type: 'counter', help: 'Problem documents answered, by listener and code; refusals among them.', labels: ['listener', 'code'], by: ['gateway'] },
  ccc_replication_lag_seconds: { type: 'gauge', help: 'What a peer has not confirmed yet, by age; absent where that is not known.', labels: ['peer'], by: ['gateway'] },
  ccc_replication_alarms: { type: 'gauge', help: 'Alarms of replication that stand: a peer is down or lost, lag is beyond its bound, sync is degraded.', labels: [], by: ['gateway'] },
  ccc_check: { type: 'gauge', help: '1: this part answers. As in /v1/health.', labels: ['check'], by: ['gateway'] },
  ccc_events_total: { type: 'counter', help: 'Log entries, by event.', labels: ['event'], by: ['broker', 'counter'] },
  ccc_session_live: { type: 'gauge', help: '1: the counter has an attested session.', labels: [], by: ['counter'] },
} as const satisfies Record<string, Described>;
export type MetricName = keyof typeof METRICS;
export type Labels = Readonly<Record<string, string>>;

/** As the stacks of Azure and Google name what a gateway sends them; AWS leaves the prefix out. */
export const pushedName = (name: MetricName): string => name.replace(/^ccc_/, 'ccc/');

/** Seconds. */
export const BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10] as const;
/** Label values are words of ours or names of cells: whatever else comes is not shown. */
const VALUE = /^[A-Za-z0-9_.-]{1,64}$/;
const OTHER = 'other';
const MAX_SERIES = 512;

interface Series { readonly labels: Labels; value: number; readonly buckets: number[]; count: number }

export class Metrics {
  readonly #series = new Map<MetricName, Map<string, Series>>();

  add(name: MetricName, labels: Labels = {}, by = 1): void {
    if (Number.isFinite(by) && by > 0) this.#of(name, labels).value += by;
  }

  /** `undefined`: not known, so not shown. */
  set(name: MetricName, value: number | undefined, labels: Labels = {}): void {
    if (value === undefined || !Number.isFinite(value)) this.#series.get(name)?.delete(keyOf(cleaned(name, labels)));
    else this.#of(name, labels).value = value;
  }

  observe(name: MetricName, seconds: number, labels: Labels = {}): void {
    if (!Number.isFinite(seconds) || seconds < 0) return;
    const series = this.#of(name, labels);
    series.value += seconds;
    series.count++;
    BUCKETS.forEach((bound, i) => { if (seconds <= bound) series.buckets[i] = (series.buckets[i] ?? 0) + 1; });
  }

  /** Of the whole table that this process has values of: value by name and labels. */
  values(): { readonly name: MetricName; readonly labels: Labels; readonly value: number }[] {
    return [...this.#series].flatMap(([name, all]) => (METRICS[name].type === 'histogram' ? [] : [...all.values()].map(({ labels, value }) => ({ name, labels, value }))));
  }

  text(): string {
    const lines: string[] = [];
    for (const [name, all] of this.#series) {
      if (all.size === 0) continue;
      const { type, help } = METRICS[name];
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      for (const { labels, value, buckets, count } of all.values()) {
        if (type !== 'histogram') { lines.push(`${name}${shown(labels)} ${value}`); continue; }
        BUCKETS.forEach((bound, i) => lines.push(`${name}_bucket${shown({ ...labels, le: String(bound) })} ${buckets[i] ?? 0}`));
        lines.push(`${name}_bucket${shown({ ...labels, le: '+Inf' })} ${count}`, `${name}_sum${shown(labels)} ${value}`, `${name}_count${shown(labels)} ${count}`);
      }
    }
    return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
  }

  #of(name: MetricName, labels: Labels): Series {
    const clean = cleaned(name, labels);
    const all = this.#series.get(name) ?? new Map<string, Series>();
    this.#series.set(name, all);
    // Labels come from closed lists; if one ever does not, memory is bounded all the same.
    const kept = all.size < MAX_SERIES || all.has(keyOf(clean)) ? clean : Object.fromEntries(Object.keys(clean).map((label) => [label, OTHER]));
    const key = keyOf(kept);
    const series = all.get(key) ?? { labels: kept, value: 0, buckets: [], count: 0 };
    all.set(key, series);
    return series;
  }
}

const keyOf = (labels: Labels): string => JSON.stringify(labels);
const shown = (labels: Labels): string => (Object.keys(labels).length === 0 ? '' : `{${Object.entries(labels).map(([label, value]) => `${label}="${value}"`).join(',')}}`);

/** The table's labels, all of them, in its order. */
function cleaned(name: MetricName, labels: Labels): Labels {
  return Object.fromEntries(METRICS[name].labels.map((label) => {
    const value = labels[label] ?? OTHER;
    return [label, VALUE.test(value) ? value : OTHER];
  }));
}

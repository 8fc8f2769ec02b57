/** What a history looks like over time, one value a second, for the charts. Pure. */
import type { HistoryEvent } from './history.ts';

export interface Series {
  /** Seconds after the beginning; one bucket each. */
  readonly seconds: number;
  /** Jobs that clients read a verified result of. */
  readonly finals: readonly number[];
  readonly acknowledged: readonly number[];
  /** Requests that failed. */
  readonly errors: readonly number[];
  /** From the first acknowledgement to the verified result, milliseconds: the median and the 95th percentile of jobs that ended in that second; `undefined` where none did. */
  readonly p50: readonly (number | undefined)[];
  readonly p95: readonly (number | undefined)[];
  /** Acknowledged and not over, at the end of the second. */
  readonly open: readonly number[];
}

const nearestRank = (sorted: readonly number[], p: number): number | undefined => sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)];

export function seriesOf(history: readonly HistoryEvent[], began: number): Series {
  const timed = history.filter((one): one is Extract<HistoryEvent, { kind: 'acknowledged' | 'final' | 'request' }> => one.kind === 'acknowledged' || one.kind === 'final' || one.kind === 'request');
  const seconds = Math.max(1, Math.ceil(Math.max(0, ...lasts(timed, began))));
  const empty = (): number[] => new Array<number>(seconds).fill(0);
  const bucket = (at: number): number => Math.min(seconds - 1, Math.max(0, Math.floor((at - began) / 1000)));
  const [finals, acknowledged, errors, change] = [empty(), empty(), empty(), empty()];
  const bump = (list: number[], index: number, by = 1): void => { list[index] = (list[index] ?? 0) + by; };
  const first = new Map<string, number>();
  const over = new Set<string>();
  const latencies: number[][] = Array.from({ length: seconds }, () => []);
  for (const one of [...timed].sort((a, b) => a.at - b.at)) {
    const index = bucket(one.at);
    if (one.kind === 'request') {
      if (one.code !== undefined) bump(errors, index);
    } else if (one.kind === 'acknowledged') {
      bump(acknowledged, index);
      if (!first.has(one.job)) {
        first.set(one.job, one.at);
        bump(change, index);
      }
    } else {
      bump(finals, index);
      const from = first.get(one.job);
      if (from !== undefined && !over.has(one.job)) {
        latencies[index]?.push(one.at - from);
        bump(change, index, -1);
      }
      over.add(one.job);
    }
  }
  for (const list of latencies) list.sort((a, b) => a - b);
  let open = 0;
  return {
    seconds, finals, acknowledged, errors, p50: latencies.map((list) => nearestRank(list, 0.5)), p95: latencies.map((list) => nearestRank(list, 0.95)), open: change.map((by) => (open += by)),
  };
}

/** Not spread into Math.max at once: histories are long. */
function* lasts(timed: readonly { readonly at: number }[], began: number): Generator<number> {
  let last = 0;
  for (const { at } of timed) last = Math.max(last, (at - began) / 1000);
  yield last;
}

/** Per second, between two moments. */
export function rateBetween(history: readonly HistoryEvent[], kind: 'final' | 'acknowledged', from: number, to: number): number {
  const count = history.filter((one) => one.kind === kind && one.at >= from && one.at < to).length;
  return to > from ? (1000 * count) / (to - from) : 0;
}

/** When three seconds in a row had a 95th percentile of at most twice the baseline's, seconds after the hurt; `undefined`: never again. */
export function normalAgain({ p95 }: Series, baseline: { readonly from: number; readonly to: number }, hurt: number): number | undefined {
  const known = (from: number, to: number): number[] => p95.slice(Math.max(0, Math.floor(from)), Math.max(0, Math.floor(to))).filter((value): value is number => value !== undefined).sort((a, b) => a - b);
  const before = known(baseline.from, baseline.to);
  const limit = 2 * (before[Math.floor(before.length / 2)] ?? Number.NaN);
  if (Number.isNaN(limit)) return undefined;
  for (let at = Math.floor(hurt) + 1; at + 3 <= p95.length; at++) {
    const three = known(at, at + 3);
    if (three.length > 0 && (three.at(-1) as number) <= limit) return at - hurt;
  }
  return undefined;
}

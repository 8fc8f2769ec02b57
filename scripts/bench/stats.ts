/** Numbers from samples. Shared machines are noisy: what is compared runs interleaved, and the minimum and the median are what is said. */

export interface Spread { readonly n: number; readonly min: number; readonly median: number; readonly p99: number }

/** Nearest rank. @param q 0 to 1 */
export function quantile(sorted: readonly number[], q: number): number {
  const value = sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))];
  if (value === undefined) throw new RangeError('no samples');
  return value;
}

export function spread(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  return { n: sorted.length, min: quantile(sorted, 0), median: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) };
}

export interface Timed extends Spread { /** CPU time of all threads of this process, mean, milliseconds. */ readonly cpu: number }

/** Runs the cases in turn, again and again, so that whatever else the machine does hits all of them alike. Milliseconds of one call each. */
export async function interleaved<K extends string>(rounds: number, cases: Readonly<Record<K, () => Promise<unknown>>>, { warmup = 3 } = {}): Promise<Record<K, Timed>> {
  const names = Object.keys(cases) as K[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<K, number[]>;
  const cpu = Object.fromEntries(names.map((name) => [name, 0])) as Record<K, number>;
  for (let round = -warmup; round < rounds; round++) {
    for (const name of names) {
      const before = process.cpuUsage();
      const began = performance.now();
      await cases[name]();
      if (round < 0) continue;
      samples[name].push(performance.now() - began);
      const { user, system } = process.cpuUsage(before);
      cpu[name] += (user + system) / 1000;
    }
  }
  return Object.fromEntries(names.map((name) => [name, { ...spread(samples[name]), cpu: cpu[name] / rounds }])) as Record<K, Timed>;
}

/** When clients send, decided by a seed before anything runs: an open loop, so that a slow cell does not slow its load down. */
import { Random } from '../fuzz/random.ts';

export interface Arrival {
  /** Milliseconds after the beginning. */
  readonly at: number;
  readonly tenant: string;
  /** Which of the pictures. */
  readonly picture: number;
}

export interface ArrivalOptions {
  readonly seed: number;
  /** Of all tenants together, per second. */
  readonly rate: number;
  readonly seconds: number;
  readonly tenants: readonly string[];
  readonly pictures: number;
}

/** A Poisson process: exponential gaps of mean 1 / rate, each arrival of a tenant drawn evenly. In order of time. */
export function arrivals({ seed, rate, seconds, tenants, pictures }: ArrivalOptions): Arrival[] {
  if (!(rate > 0) || tenants.length === 0 || pictures < 1) throw new RangeError('a load has a rate, tenants and pictures');
  const random = new Random(seed);
  const uniform = (): number => (random.next() + 0.5) / 2 ** 32;
  const out: Arrival[] = [];
  for (let at = 0; ;) {
    at += (-Math.log(uniform()) / rate) * 1000;
    if (at >= seconds * 1000) return out;
    out.push({ at, tenant: random.pick(tenants), picture: random.below(pictures) });
  }
}

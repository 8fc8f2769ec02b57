/** Token buckets by name, on the injected clock, in bounded memory. */
import type { Clock } from '../protocol/clock.ts';
import { CccError } from '../protocol/problem.ts';
import type { Rate } from './limits.ts';

interface Bucket { tokens: number; at: number }

export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();
  readonly #now: Clock;
  readonly #max: number;

  constructor(now: Clock, max: number) {
    this.#now = now;
    this.#max = max;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one token. @throws CccError RATE_LIMITED with the seconds until there is one. */
  take(name: string, rate: Rate): void {
    const bucket = this.#refill(name, rate);
    if (bucket.tokens < 1) {
      const wait = Math.max(1, Math.ceil((1 - bucket.tokens) / rate.perSecond));
      throw new CccError('RATE_LIMITED', `Wait ${wait} s.`, { detail: `More than ${rate.perSecond} requests a second`, retryAfter: wait });
    }
    bucket.tokens -= 1;
  }

  /** Whether a token is left; takes none. */
  has(name: string, rate: Rate): boolean {
    return this.#refill(name, rate).tokens >= 1;
  }

  #refill(name: string, rate: Rate): Bucket {
    const now = this.#now();
    const old = this.#buckets.get(name);
    const bucket = old ?? { tokens: rate.burst, at: now };
    // A clock that was set back gives nothing and takes nothing.
    bucket.tokens = Math.min(rate.burst, bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * rate.perSecond);
    bucket.at = now;
    // Deleting first keeps the map in order of use: the one that goes is the one that was quiet for longest.
    this.#buckets.delete(name);
    this.#buckets.set(name, bucket);
    if (this.#buckets.size > this.#max) this.#buckets.delete(this.#buckets.keys().next().value as string);
    return bucket;
  }
}

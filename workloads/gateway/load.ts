/** Back-pressure: how much the gateway has taken on and not finished. Over the limit the answer is 503, at once, before a body is read. */
import type { Ledger } from '../ledger/ledger.ts';
import type { Clock } from '../protocol/clock.ts';
import { CccError } from '../protocol/problem.ts';
import type { Limits } from './limits.ts';

export class Load {
  readonly #ledger: Pick<Ledger, 'counts'>;
  readonly #limits: Limits;
  readonly #now: Clock;
  #depth = 0;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #flight: Promise<void> | undefined;
  #uploading = 0;

  constructor(options: { ledger: Pick<Ledger, 'counts'>; limits: Limits; now: Clock }) {
    this.#ledger = options.ledger;
    this.#limits = options.limits;
    this.#now = options.now;
  }

  get uploadingBytes(): number {
    return this.#uploading;
  }

  /** @throws CccError BACK_PRESSURE; LEDGER_UNAVAILABLE when it cannot say */
  async requireRoom(): Promise<void> {
    if (this.#now() - this.#checkedAt >= this.#limits.queueCheckMs) {
      this.#flight ??= this.#count().finally(() => { this.#flight = undefined; });
      await this.#flight;
    }
    if (this.#depth >= this.#limits.queueDepth) {
      throw new CccError('BACK_PRESSURE', 'Send the same request again later.', { detail: `${this.#depth} jobs wait`, retryAfter: this.#limits.retryAfterSeconds });
    }
  }

  /** Memory for one upload; returns its release. @throws CccError BACK_PRESSURE */
  reserve(bytes: number): () => void {
    if (this.#uploading + bytes > this.#limits.uploadBudgetBytes) {
      throw new CccError('BACK_PRESSURE', 'Send the same request again shortly.', { detail: 'Too many messages are being uploaded', retryAfter: this.#limits.retryAfterSeconds });
    }
    this.#uploading += bytes;
    let held = true;
    return () => {
      if (held) this.#uploading -= bytes;
      held = false;
    };
  }

  async #count(): Promise<void> {
    const { jobs } = await this.#ledger.counts();
    this.#depth = jobs.accepted + jobs.leased;
    this.#checkedAt = this.#now();
  }
}

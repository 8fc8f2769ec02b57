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
  readonly #byTenant = new Map<string, number>();

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

  /** Memory for one upload; returns its release. No tenant may take all of it: slow uploads of one would lock out the others. @throws CccError BACK_PRESSURE */
  reserve(bytes: number, tenantId = ''): () => void {
    const mine = this.#byTenant.get(tenantId) ?? 0;
    if (this.#uploading + bytes > this.#limits.uploadBudgetBytes || mine + bytes > this.#limits.uploadTenantBytes) {
      throw new CccError('BACK_PRESSURE', 'Send the same request again shortly.', { detail: 'Too many messages are being uploaded', retryAfter: this.#limits.retryAfterSeconds });
    }
    this.#uploading += bytes;
    this.#byTenant.set(tenantId, mine + bytes);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#uploading -= bytes;
      const left = (this.#byTenant.get(tenantId) ?? bytes) - bytes;
      if (left > 0) this.#byTenant.set(tenantId, left);
      else this.#byTenant.delete(tenantId);
    };
  }

  async #count(): Promise<void> {
    const { jobs } = await this.#ledger.counts();
    this.#depth = jobs.accepted + jobs.leased;
    this.#checkedAt = this.#now();
  }
}

/** The leases this counter holds, renewed together at a third of their length. A lease that was lost meanwhile is marked: nothing is sent for it any more. */
import { type Log, errorFields } from '../protocol/log.ts';
import type { Lease } from '../protocol/messages.ts';
import type { CounterGateway } from './gateway-client.ts';
import type { SessionKeeper } from './session.ts';

export interface HeldLease { readonly lease: Lease; readonly lost: boolean }

const sizeOf = (some: readonly { readonly lease: Lease }[]): number => some.reduce((sum, { lease }) => sum + lease.size, 0);

export class Leases {
  readonly #gateway: CounterGateway;
  readonly #sessions: SessionKeeper;
  readonly #log: Log;
  readonly #held = new Map<string, { lease: Lease; lost: boolean; fetched: boolean }>();
  #timer: NodeJS.Timeout | undefined;
  #everyMs = 0;

  constructor(options: { gateway: CounterGateway; sessions: SessionKeeper; log: Log }) {
    this.#gateway = options.gateway;
    this.#sessions = options.sessions;
    this.#log = options.log;
  }

  get size(): number {
    return this.#held.size;
  }

  hold(lease: Lease, leaseMs: number): HeldLease {
    const held = { lease, lost: false, fetched: false };
    this.#held.set(lease.lease_token, held);
    this.#everyMs = Math.max(50, Math.floor(leaseMs / 3));
    this.#timer ??= setTimeout(() => void this.beat(), this.#everyMs);
    return held;
  }

  /** Whether their messages fit beside those that are in memory; alone they always do. */
  hasRoom(portion: readonly HeldLease[], maxBytes: number): boolean {
    const there = sizeOf([...this.#held.values()].filter(({ fetched }) => fetched));
    return there === 0 || there + sizeOf(portion) <= maxBytes;
  }

  /** Their messages are in memory until they are dropped; the lost ones of them are not fetched. */
  fetching(portion: readonly HeldLease[]): readonly HeldLease[] {
    for (const { lease } of portion) {
      const held = this.#held.get(lease.lease_token);
      if (held !== undefined) held.fetched = true;
    }
    return portion.filter(({ lost }) => !lost);
  }

  drop({ lease }: HeldLease): void {
    this.#held.delete(lease.lease_token);
    if (this.#held.size === 0) this.#stop();
  }

  /** Not knowing is not losing: the lease token decides in the end. */
  async beat(): Promise<void> {
    this.#stop();
    const now = [...this.#held.values()];
    try {
      if (now.length > 0) {
        const lost = new Set(await this.#sessions.use((session) => this.#gateway.heartbeat(now.map(({ lease }) => lease), session)));
        for (const held of now) {
          if (!lost.has(held.lease.job_id)) continue;
          held.lost = true;
          this.drop(held);
          this.#log.warn('lease-lost', { job_id: held.lease.job_id });
        }
      }
    } catch (error) {
      this.#log.warn('heartbeat-failed', errorFields(error));
    }
    if (this.#held.size > 0) this.#timer ??= setTimeout(() => void this.beat(), this.#everyMs);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

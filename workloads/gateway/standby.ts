/** Which cell has to have a tenant's job before it is acknowledged: the first of the order that would take over and that copies now. */
import type { Replication, ReplicationState } from '../ledger/replication.ts';

const LOOK_MS = 500;

/** One look at the copies serves all requests of half a second. */
export class Standbys {
  readonly #replication: Pick<Replication, 'state'> | undefined;
  #looked: { readonly at: number; readonly state: Promise<ReplicationState> } | undefined;

  constructor(replication: Pick<Replication, 'state'> | undefined) {
    this.#replication = replication;
  }

  /**
   * @param others cells of the tenant's order but this one, first choice first
   * @returns the first of them where none copies: a job waits for it in vain, and is refused, unless the operator does without a standby
   */
  async of(others: readonly string[]): Promise<string | undefined> {
    if (others.length < 2 || this.#replication === undefined) return others[0];
    if (this.#looked === undefined || performance.now() - this.#looked.at > LOOK_MS) this.#looked = { at: performance.now(), state: this.#replication.state() };
    const state = await this.#looked.state.catch(() => undefined);
    return others.find((name) => state?.peers.some((peer) => peer.peer === name && peer.state === 'streaming')) ?? others[0];
  }
}

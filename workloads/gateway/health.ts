/** Whether the gateway can do its work now: it asks the parts it depends on, it does not remember that they once answered. */
import { z } from 'zod';
import type { Ledger } from '../ledger/ledger.ts';
import type { CellConfig } from '../protocol/cell.ts';
import type { Clock } from '../protocol/clock.ts';
import { cellName } from '../protocol/wire.ts';
import type { BrokerClient, BrokerTrust } from './broker.ts';
import type { Limits } from './limits.ts';
import { within } from './guard.ts';
import type { OwnerDocuments } from './policy.ts';
import type { MessageStore } from './store.ts';

const check = z.enum(['ok', 'failing']);
export const healthSchema = z.strictObject({
  status: z.enum(['ready', 'not-ready']),
  cell: cellName,
  /** The cell's TEEs are software: they prove nothing about hardware. */
  simulated: z.boolean(),
  policy_revision: z.number().int(),
  checks: z.strictObject({ ledger: check, broker: check, store: check, policy: check }),
});
export type HealthReport = z.infer<typeof healthSchema>;

export interface HealthOptions {
  readonly cell: CellConfig; readonly ledger: Ledger; readonly broker: BrokerClient; readonly trust: BrokerTrust; readonly store: MessageStore; readonly documents: OwnerDocuments; readonly limits: Limits; readonly now: Clock;
}

export class Health {
  readonly #options: HealthOptions;
  #report: HealthReport | undefined;
  #at = Number.NEGATIVE_INFINITY;
  #flight: Promise<HealthReport> | undefined;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** At most one look per `limits.healthMs`, however many ask. */
  async report(): Promise<HealthReport> {
    const { now, limits } = this.#options;
    if (this.#report !== undefined && Math.abs(now() - this.#at) < limits.healthMs) return this.#report;
    this.#flight ??= this.#look().finally(() => { this.#flight = undefined; });
    return this.#flight;
  }

  async #look(): Promise<HealthReport> {
    const { cell, ledger, broker, trust, store, documents, limits, now } = this.#options;
    const tried = async (work: Promise<unknown>): Promise<'ok' | 'failing'> => {
      try {
        return await within(work, limits.ledgerMs, () => new Error('late')) === false ? 'failing' : 'ok';
      } catch {
        return 'failing';
      }
    };
    const [ledgerState, brokerState, storeState, policyState] = await Promise.all([
      tried(ledger.policy()), tried(broker.healthy().then(async (answers) => answers && (await trust.requireVerified(), true))), tried(store.probe()), tried(documents.policy().then(() => documents.directory())),
    ]);
    const checks = { ledger: ledgerState, broker: brokerState, store: storeState, policy: policyState };
    const ready = Object.values(checks).every((state) => state === 'ok');
    this.#report = { status: ready ? 'ready' : 'not-ready', cell: cell.cell, simulated: cell.simulated, policy_revision: documents.revision, checks };
    this.#at = now();
    return this.#report;
  }
}

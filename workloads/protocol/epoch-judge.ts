/**
 * Whether this cell may work for a tenant, as broker and counter judge it for themselves: promises and directory come over the gateway, which is trusted for
 * neither. The owner's policy says that there is a directory to judge by, so withholding it is no way around.
 */
import { Refusal, refuse } from '../../attestation/refusal.ts';
import type { Clock } from './clock.ts';
import { type DirectoryInForce, DirectorySource } from './directory-source.ts';
import { verifyLease } from './epoch.ts';
import { errorFields, type Log } from './log.ts';
import type { EpochProof, TenantEpoch } from './messages.ts';
import type { OwnerPolicy } from './owner.ts';

export interface EpochJudgeOptions {
  readonly cell: string;
  /** Of the cell's configuration: what counts without observers. */
  readonly epoch: number;
  /** Raw Ed25519. */
  readonly ownerKey: Uint8Array;
  /** The cell directory's JWS, from the gateway. */
  readonly fetch: () => Promise<string>;
  readonly now: Clock;
  readonly log: Log;
}

export interface JudgedEpoch { readonly epoch: number; /** Epoch ms; absent without observers. */ readonly until?: number; readonly directoryRevision: number }

const FRESH_MS = 2_000;
/** Tenants whose highest epoch is remembered. */
const MAX_TENANTS = 200_000;

export class EpochJudge {
  readonly #options: EpochJudgeOptions;
  readonly #directory: DirectorySource;
  readonly #highest = new Map<string, number>();
  readonly #shown = new Map<string, EpochProof>();
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #flight: Promise<void> | undefined;

  constructor(options: EpochJudgeOptions) {
    this.#options = options;
    this.#directory = new DirectorySource(options);
  }

  /** Keeps what the gateway showed last, for {@link judge} and {@link shown}. */
  show(epochs: readonly TenantEpoch[]): void {
    for (const { tenant_id, ...proof } of epochs) {
      this.#shown.delete(tenant_id);
      this.#shown.set(tenant_id, proof);
      if (this.#shown.size > MAX_TENANTS) this.#shown.delete(this.#shown.keys().next().value as string);
    }
  }

  shown(tenants: readonly string[]): TenantEpoch[] {
    return [...new Set(tenants)].flatMap((tenant_id) => {
      const proof = this.#shown.get(tenant_id);
      return proof === undefined ? [] : [{ tenant_id, ...proof }];
    });
  }

  /** The owner's cell directory that goes with the policy. @throws Refusal DIRECTORY_EXPIRED, DIRECTORY_ROLLBACK, POLICY_DEPLOYMENT */
  async directory(policy: OwnerPolicy): Promise<DirectoryInForce> {
    if (this.#options.now() - this.#fetchedAt >= FRESH_MS) await this.#refresh();
    const inForce = this.#directory.current();
    const { directory } = inForce;
    if (directory.deployment !== policy.deployment) refuse('POLICY_DEPLOYMENT', 'directory.deployment', 'Policy and cell directory are of two deployments.', { have: directory.deployment, need: policy.deployment });
    if (directory.revision < policy.directoryRevision) {
      refuse('DIRECTORY_ROLLBACK', 'directory.revision', 'Show the cell directory that goes with the policy.', { have: String(directory.revision), need: `at least ${policy.directoryRevision}` });
    }
    return inForce;
  }

  /** @throws Refusal EPOCH_ABSENT, EPOCH_FENCED, DIRECTORY_EXPIRED, and those of verifyLease */
  async judge(tenant: string, policy: OwnerPolicy, proof = this.#shown.get(tenant)): Promise<JudgedEpoch> {
    const { cell, epoch, ownerKey, now } = this.#options;
    const { directory, rules } = await this.directory(policy);
    if (rules === undefined) return { epoch, directoryRevision: directory.revision };
    const lease = await verifyLease(proof ?? { promises: [] }, rules, ownerKey, { tenant, cell, now: now() });
    const highest = this.#highest.get(tenant) ?? 0;
    if (lease.epoch < highest) refuse('EPOCH_FENCED', 'epoch', 'A higher epoch was seen here already: show that one.', { have: String(lease.epoch), need: `at least ${highest}` });
    this.#highest.set(tenant, lease.epoch);
    if (this.#highest.size > MAX_TENANTS) this.#highest.delete(this.#highest.keys().next().value as string);
    return { epoch: lease.epoch, until: lease.until, directoryRevision: directory.revision };
  }

  /** Right before the effect: time has passed since it was judged. @throws Refusal EPOCH_EXPIRED */
  requireStill({ until }: JudgedEpoch): void {
    const now = this.#options.now();
    if (until !== undefined && now >= until) refuse('EPOCH_EXPIRED', 'epoch.exp', 'The epoch ended meanwhile.', { have: `until ${until / 1000}`, need: `after ${now / 1000}` });
  }

  async #refresh(): Promise<void> {
    this.#flight ??= this.#load().finally(() => { this.#flight = undefined; });
    await this.#flight;
  }

  async #load(): Promise<void> {
    this.#fetchedAt = this.#options.now();
    try {
      await this.#directory.offer(await this.#options.fetch());
    } catch (error) {
      // What was in force stays so until it ends.
      this.#options.log.warn('directory-not-refreshed', { ...errorFields(error), ...(error instanceof Refusal ? { codes: error.codes } : {}) });
    }
  }
}

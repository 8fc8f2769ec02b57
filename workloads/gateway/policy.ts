/** The owner's documents in force. The ledger and files hold copies; the owner's signature is checked on each of them, whatever their origin. */
import { fromB64u } from '../../attestation/bytes.ts';
import { Refusal, refuse } from '../../attestation/refusal.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { type VerifiedDirectory, type VerifiedPolicy, verifyDirectory, verifyPolicy } from '../protocol/documents.ts';
import { errorFields, type Log } from '../protocol/log.ts';
import type { OwnerPolicy } from '../protocol/owner.ts';
import { CccError } from '../protocol/problem.ts';

/** Another gateway on the same ledger may have put a newer revision. */
const REFRESH_MS = 2_000;
const MISSING = 'Ask the operator to put the owner\'s signed policy into the cell (`ccc up`).';

export interface Documents { readonly policy?: string | undefined; readonly directory?: string | undefined }

export class OwnerDocuments {
  readonly #ledger: Pick<Ledger, 'policy' | 'putPolicy'>;
  readonly #ownerKey: Uint8Array;
  readonly #now: Clock;
  readonly #log: Log;
  #policy: VerifiedPolicy | undefined;
  #directory: VerifiedDirectory | undefined;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  constructor(options: { ledger: Pick<Ledger, 'policy' | 'putPolicy'>; ownerKey: string; now: Clock; log: Log }) {
    this.#ledger = options.ledger;
    this.#ownerKey = fromB64u(options.ownerKey);
    this.#now = options.now;
    this.#log = options.log;
  }

  /** Takes the highest revision among the files and the ledger, and puts it into the ledger: never a lower one. */
  async load(files: Documents): Promise<void> {
    if (files.directory !== undefined) this.#directory = await this.#judged('directory', () => verifyDirectory(files.directory as string, this.#ownerKey, seconds(this.#now)));
    const file = files.policy === undefined ? undefined : await this.#judged('policy', () => verifyPolicy(files.policy as string, this.#ownerKey, seconds(this.#now)));
    await this.refresh();
    if (file !== undefined && file.policy.revision > this.revision) {
      const outcome = await this.#ledger.putPolicy(file.policy.revision, file.jws);
      if (outcome !== 'conflict') this.#policy = file;
    }
  }

  /** The policy in force. @throws CccError POLICY_MISSING, POLICY_EXPIRED */
  async policy(): Promise<VerifiedPolicy> {
    if (this.#now() - this.#refreshedAt >= REFRESH_MS) await this.refresh();
    const held = this.#policy;
    if (held === undefined) throw new CccError('POLICY_MISSING', MISSING, { retryAfter: 5 });
    if (seconds(this.#now) > held.policy.notAfter) throw new CccError('POLICY_EXPIRED', 'Ask the owner to sign a new revision.');
    return held;
  }

  /** @throws CccError NOT_READY, DIRECTORY_EXPIRED */
  directory(): VerifiedDirectory {
    const held = this.#directory;
    if (held === undefined) throw new CccError('NOT_READY', 'Ask the operator to put the owner\'s signed cell directory into the cell (`ccc up`).');
    if (seconds(this.#now) > held.directory.notAfter) throw new CccError('DIRECTORY_EXPIRED', 'Ask the owner to sign a new revision.');
    return held;
  }

  /** Signed by the owner; it may have ended. */
  get knownDirectory(): VerifiedDirectory | undefined {
    return this.#directory;
  }

  /** 0 without a policy. */
  get revision(): number {
    return this.#policy?.policy.revision ?? 0;
  }

  async refresh(): Promise<void> {
    this.#refreshedAt = this.#now();
    const stored = await this.#ledger.policy();
    if (stored === undefined || stored.revision <= this.revision) return;
    const verified = await this.#judged('policy', () => verifyPolicy(stored.jws, this.#ownerKey, seconds(this.#now)));
    if (verified !== undefined && verified.policy.revision > this.revision) this.#policy = verified;
  }

  /** A new revision, from the owner. The one in force again is no error. @throws Refusal, CccError */
  async put(documents: { policy: string; directory?: string | undefined }): Promise<{ revision: number }> {
    const now = seconds(this.#now);
    const policy = await verifyPolicy(documents.policy, this.#ownerKey, now);
    const directory = documents.directory === undefined ? undefined : await verifyDirectory(documents.directory, this.#ownerKey, now);
    await this.refresh();
    if (policy.policy.revision < this.revision || (policy.policy.revision === this.revision && policy.jws !== this.#policy?.jws)) {
      refuse('POLICY_ROLLBACK', 'policy.revision', 'Sign the policy with a higher revision.', { have: String(policy.policy.revision), need: `more than ${this.revision}` });
    }
    const held = this.#directory;
    if (directory !== undefined && held !== undefined && directory.jws !== held.jws && directory.directory.revision <= held.directory.revision) {
      refuse('DIRECTORY_ROLLBACK', 'directory.revision', 'Sign the directory with a higher revision.', { have: String(directory.directory.revision), need: `more than ${held.directory.revision}` });
    }
    // A policy that names an older directory would let whoever shows that one to broker and counter decide by it.
    const goes = (directory ?? held)?.directory.revision;
    if (goes !== policy.policy.directoryRevision) {
      refuse('DIRECTORY_ROLLBACK', 'policy.directoryRevision', 'Put the policy together with the cell directory that it names.', { have: String(policy.policy.directoryRevision), need: goes === undefined ? 'a cell directory' : String(goes) });
    }
    if (await this.#ledger.putPolicy(policy.policy.revision, policy.jws) === 'conflict') {
      refuse('POLICY_ROLLBACK', 'policy.revision', 'Another revision was put meanwhile; sign a higher one.', { have: String(policy.policy.revision) });
    }
    this.#policy = policy;
    if (directory !== undefined) this.#directory = directory;
    return { revision: policy.policy.revision };
  }

  async #judged<T>(kind: string, verify: () => Promise<T>): Promise<T | undefined> {
    try {
      return await verify();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#log.error('owner document refused', { where: kind, ...errorFields(error) });
      return undefined;
    }
  }
}

/** The rule of this tenant, or the rule `*`. */
export const tenantRule = (policy: OwnerPolicy, tenantId: string): OwnerPolicy['tenants'][number] | undefined =>
  policy.tenants.find((rule) => rule.tenant === tenantId) ?? policy.tenants.find((rule) => rule.tenant === '*');

/** @throws Refusal ZONE_DENIED unless the policy knows the zone and lets this tenant use it */
export function requireZone(policy: OwnerPolicy, tenantId: string, zone: string): OwnerPolicy['tenants'][number] {
  const rule = tenantRule(policy, tenantId);
  const known = policy.zones.some((z) => z.name === zone);
  if (rule === undefined || !known || !rule.zones.includes(zone)) {
    refuse('ZONE_DENIED', 'compliance_zone', 'Use a zone that the owner\'s policy allows to this tenant.', {
      have: zone, need: (rule?.zones.filter((name) => policy.zones.some((z) => z.name === name)) ?? []).join(', ') || 'a rule for this tenant',
    });
  }
  return rule;
}

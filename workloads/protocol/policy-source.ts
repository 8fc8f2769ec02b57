/**
 * The owner's policy in force. It comes over the gateway, which is trusted for nothing: the owner's signature decides, a
 * revision never goes back, and a policy that was not confirmed lately or has ended means that everything is refused.
 */
import type { Bytes } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { type Clock, seconds } from './clock.ts';
import { verifyPolicy } from './documents.ts';
import { type Log, errorFields } from './log.ts';
import type { OwnerPolicy } from './owner.ts';

export interface PolicyInForce {
  readonly policy: OwnerPolicy;
  /** SHA-256 of the compact JWS. */
  readonly digest: Bytes;
  readonly jws: string;
}

export interface SeenRevision { readonly deployment: string; readonly revision: number }
/** Keeps the highest revision over restarts. */
export interface RevisionMark { read(): Promise<SeenRevision | undefined>; write(seen: SeenRevision): Promise<void> }

export interface PolicySourceOptions {
  readonly fetch: () => Promise<string>;
  /** Raw Ed25519. */
  readonly ownerKey: Bytes;
  readonly now: Clock;
  readonly log: Log;
  /** Called when another policy came into force. */
  readonly onChange?: (policy: PolicyInForce) => void;
  /** A policy that could not be confirmed for this long counts as missing. */
  readonly maxUnconfirmedMs?: number;
  /** Absent: what was in force before this process started is not known. */
  readonly mark?: RevisionMark;
}

export class PolicySource {
  readonly #options: PolicySourceOptions;
  readonly #maxUnconfirmedMs: number;
  #inForce: PolicyInForce | undefined;
  #confirmedAt = 0;
  #refreshing: Promise<void> | undefined;
  #failure: unknown;
  /** Of the mark: read once, and when that failed again. */
  #before: { readonly seen: SeenRevision | undefined } | undefined;

  constructor(options: PolicySourceOptions) {
    this.#options = options;
    this.#maxUnconfirmedMs = options.maxUnconfirmedMs ?? 300_000;
  }

  /** Whether a policy ever came into force here. */
  get known(): boolean {
    return this.#inForce !== undefined;
  }

  get #stale(): boolean {
    return this.#inForce === undefined || this.#options.now() - this.#confirmedAt >= this.#maxUnconfirmedMs;
  }

  get #ended(): boolean {
    return this.#inForce !== undefined && this.#inForce.policy.notAfter < seconds(this.#options.now);
  }

  /**
   * @param freshMs ask the gateway when the policy was not confirmed for this long: where a caller would fail with an old one
   * @throws Refusal POLICY_MISSING, POLICY_EXPIRED, or why the document that the gateway has is refused
   */
  async current(freshMs = Number.POSITIVE_INFINITY): Promise<PolicyInForce> {
    if (this.#stale || this.#ended || this.#options.now() - this.#confirmedAt >= freshMs) await this.refresh();
    if (this.#ended) refuse('POLICY_EXPIRED', 'policy.notAfter', 'The owner signs a new revision of the policy.');
    if (this.#inForce === undefined || this.#stale) {
      if (this.#failure instanceof Error && this.#failure.name === 'Refusal') throw this.#failure;
      refuse('POLICY_MISSING', 'policy', 'Give the gateway a policy signed by the owner of this cell.');
    }
    return this.#inForce;
  }

  /** Asks the gateway. Never throws: what was in force stays so until it is stale or ended. */
  async refresh(): Promise<void> {
    this.#refreshing ??= this.#load().finally(() => { this.#refreshing = undefined; });
    await this.#refreshing;
  }

  async #load(): Promise<void> {
    const { fetch, ownerKey, now, log, onChange, mark } = this.#options;
    try {
      const next = await verifyPolicy(await fetch(), ownerKey, seconds(now));
      const held = this.#inForce;
      this.#before ??= { seen: await mark?.read() };
      const before = held?.policy ?? this.#before.seen;
      const changed = held === undefined || held.jws !== next.jws;
      if (before !== undefined && next.policy.deployment !== before.deployment) {
        refuse('POLICY_DEPLOYMENT', 'policy.deployment', 'Give the gateway the policy of this deployment.', { have: next.policy.deployment, need: before.deployment });
      }
      // The one that was in force when this process was started is no step back.
      if (changed && before !== undefined && next.policy.revision < before.revision + (held === undefined ? 0 : 1)) {
        refuse('POLICY_ROLLBACK', 'policy.revision', 'Give the gateway the newest policy.', { have: String(next.policy.revision), need: held === undefined ? `at least ${before.revision}` : `above ${before.revision}` });
      }
      this.#inForce = next;
      this.#confirmedAt = now();
      this.#failure = undefined;
      if (changed) {
        log.info('policy-in-force', { revision: next.policy.revision });
        onChange?.(next);
        // Whatever it takes away must end now: that it cannot be kept is no reason to go on with the one before.
        const { deployment, revision } = next.policy;
        await mark?.write({ deployment, revision }).catch((error: unknown) => log.warn('policy-revision-not-kept', errorFields(error)));
      }
    } catch (error) {
      this.#failure = error;
      log.warn('policy-not-refreshed', errorFields(error));
    }
  }
}

/**
 * Challenges: single use, two minutes, known to this broker instance only. Consuming one is a synchronous step taken before its
 * evidence is looked at, so of two concurrent redeems exactly one goes on, and a failed verification spends the challenge too.
 */
import { type Bytes, b64u, randomBytes } from '../../../attestation/bytes.ts';
import type { Platform, Role } from '../../../attestation/evidence.ts';
import { refuse } from '../../../attestation/refusal.ts';
import type { Clock } from '../../protocol/clock.ts';
import { CccError } from '../../protocol/problem.ts';

export const CHALLENGE_MS = 120_000;
/** Spent and expired ones are remembered this long, so that the answer says which it was. */
const REMEMBERED_MS = 600_000;
const AGAIN = 'Ask for a new challenge and attest again.';

export interface IssuedChallenge {
  readonly id: Bytes;
  readonly nonce: Bytes;
  readonly role: Role;
  readonly platform: Platform;
  readonly policyDigest: Bytes;
  /** Epoch ms. */
  readonly expiresAt: number;
}

export class Challenges {
  readonly #now: Clock;
  readonly #limit: number;
  /** In the order of issue, so also of expiry. */
  readonly #known = new Map<string, { challenge: IssuedChallenge; used: boolean }>();

  constructor(options: { now: Clock; limit?: number }) {
    this.#now = options.now;
    this.#limit = options.limit ?? 10_000;
  }

  get size(): number {
    return this.#known.size;
  }

  /** @throws CccError BACK_PRESSURE when too many are open: those under way are worth more than new ones. */
  issue(role: Role, platform: Platform, policyDigest: Bytes): IssuedChallenge {
    this.#forget();
    if (this.#known.size >= this.#limit) throw new CccError('BACK_PRESSURE', 'Try again in a minute.', { retryAfter: 60 });
    const challenge = { id: randomBytes(16), nonce: randomBytes(32), role, platform, policyDigest, expiresAt: this.#now() + CHALLENGE_MS };
    this.#known.set(b64u(challenge.id), { challenge, used: false });
    return challenge;
  }

  /** @throws Refusal CHALLENGE_UNKNOWN (another instance, or before a restart), CHALLENGE_USED, CHALLENGE_EXPIRED */
  consume(id: string): IssuedChallenge {
    const entry = this.#known.get(id);
    if (entry === undefined) refuse('CHALLENGE_UNKNOWN', 'binding.challenge_id', AGAIN);
    if (entry.used) refuse('CHALLENGE_USED', 'binding.challenge_id', AGAIN);
    entry.used = true;
    if (this.#now() >= entry.challenge.expiresAt) refuse('CHALLENGE_EXPIRED', 'binding.challenge_id', AGAIN, { need: `at most ${CHALLENGE_MS / 1000} s old` });
    return entry.challenge;
  }

  #forget(): void {
    const before = this.#now() - REMEMBERED_MS;
    for (const [id, { challenge }] of this.#known) {
      // Under pressure the memory of spent ones goes first.
      const crowded = this.#known.size >= this.#limit && this.#now() >= challenge.expiresAt;
      if (challenge.expiresAt >= before && !crowded) break;
      this.#known.delete(id);
    }
  }
}

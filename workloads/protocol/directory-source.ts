/** The owner's cell directory in force: wherever it comes from, the owner's signature decides, a revision never goes back, and one that has ended is none. */
import { refuse } from '../../attestation/refusal.ts';
import { type Clock, seconds } from './clock.ts';
import { type VerifiedDirectory, verifyDirectory } from './documents.ts';
import { type EpochRules, epochRules } from './epoch.ts';

export interface DirectoryInForce extends VerifiedDirectory { /** Absent: no observers, and each cell's own epoch counts. */ readonly rules: EpochRules | undefined }

export class DirectorySource {
  readonly #ownerKey: Uint8Array;
  readonly #now: Clock;
  #held: DirectoryInForce | undefined;

  constructor({ ownerKey, now }: { ownerKey: Uint8Array; now: Clock }) {
    this.#ownerKey = ownerKey;
    this.#now = now;
  }

  /** The one in force again is no error. @throws Refusal DIRECTORY_SIGNATURE, DIRECTORY_FORMAT, DIRECTORY_EXPIRED, DIRECTORY_ROLLBACK */
  async offer(jws: string): Promise<void> {
    if (jws === this.#held?.jws) return;
    const next = await verifyDirectory(jws, this.#ownerKey, seconds(this.#now));
    const held = this.#held;
    if (held !== undefined && (next.directory.revision <= held.directory.revision || next.directory.deployment !== held.directory.deployment)) {
      refuse('DIRECTORY_ROLLBACK', 'directory.revision', 'Show the newest cell directory.', { have: String(next.directory.revision), need: `above ${held.directory.revision}` });
    }
    this.#held = { ...next, rules: epochRules(next.directory) };
  }

  /** @throws Refusal DIRECTORY_EXPIRED, EPOCH_ABSENT without any */
  current(): DirectoryInForce {
    const held = this.#held ?? refuse('EPOCH_ABSENT', 'directory', 'Nobody showed a cell directory signed by the owner, so no epoch can be judged.');
    if (seconds(this.#now) > held.directory.notAfter) refuse('DIRECTORY_EXPIRED', 'directory.notAfter', 'The owner signs a new revision.', { have: String(held.directory.notAfter) });
    return held;
  }
}

/** The matrix of key releases: each kind of requester asks the real broker of a cell, and the history has what came of it. */
import { measureRole } from '../../workloads/protocol/measure.ts';
import type { OwnerPolicyContent } from '../cell/fleet-types.ts';
import { type CellPlatform, registersOf } from '../cell/machines.ts';
import type { Requester } from './history.ts';
import type { Recorder } from './record.ts';
import { type Answer, ask, askable, type MatrixInput, previousGeneration, remembered, type Remembered } from './requesters.ts';

export interface Refused { readonly at: number; readonly cell: string; readonly requester: Requester; readonly code: string }

/** What could not be asked: a broker that answers nobody proves nothing. */
export interface Unasked { readonly cell: string; readonly requester: Requester; readonly why: string }

const TRIES = 3;

export class Matrix {
  readonly #recorder: Recorder;
  readonly unasked: Unasked[] = [];

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  #note(requester: Requester, { target, wanted }: MatrixInput, expected: 'released' | 'denied', { actual, code }: Answer): void {
    this.#recorder.write({ kind: 'release', at: this.#recorder.now(), tenant: wanted.tenant, cell: target.cell.cell, requester, expected, actual, ...(code === undefined ? {} : { code: code.slice(0, 64) }) });
  }

  async #asked(requester: Requester, input: MatrixInput, expected: 'released' | 'denied', work: () => Promise<Answer>): Promise<Answer | undefined> {
    for (let tries = 1; ; tries += 1) {
      try {
        const answer = await work();
        this.#note(requester, input, expected, answer);
        return answer;
      } catch (error) {
        // A cell that has just come back may not answer at once.
        if (tries < TRIES) continue;
        this.unasked.push({ cell: input.target.cell.cell, requester, why: error instanceof Error ? error.message.slice(0, 200) : 'unknown' });
        return undefined;
      }
    }
  }

  /** All that can be played at a cell that holds the tenant. */
  async at(input: MatrixInput): Promise<void> {
    // A key of another zone is asked for in that zone's name.
    for (const requester of askable(input)) {
      const about = requester === 'wrong-region' && input.foreign !== undefined ? { ...input, wanted: input.foreign } : input;
      await this.#asked(requester, about, requester === 'good' ? 'released' : 'denied', () => ask(requester, input));
    }
  }

  /** A good counter that goes on asking later. */
  async keep(input: MatrixInput, registersChanged?: typeof previousGeneration): Promise<Remembered | undefined> {
    let kept: Remembered | undefined;
    await this.#asked('good', input, 'released', async () => {
      kept = await remembered(input, registersChanged);
      return kept.first;
    });
    return kept;
  }

  async late(requester: 'fenced' | 'revoked', input: MatrixInput, kept: Remembered | undefined): Promise<void> {
    if (kept === undefined) return void this.unasked.push({ cell: input.target.cell.cell, requester, why: 'it never was a good one' });
    await this.#asked(requester, input, 'denied', () => kept.again());
    await this.#asked(requester, input, 'denied', () => kept.anew());
  }
}

/** Ids of references to the image before this one. */
export const PREVIOUS = 'counter@previous';
type References = OwnerPolicyContent['roles']['counter']['references'];

/** The image before this one: as good as the present one for as long as the owner names it. */
export async function previousReferences(platforms: readonly CellPlatform[]): Promise<References> {
  const measured = previousGeneration(await measureRole('counter'));
  return await Promise.all(platforms.map(async (platform) => ({ id: `${PREVIOUS}/${platform}`, platform, registers: await registersOf(platform, measured) }))) as References;
}

const withReferences = (policy: OwnerPolicyContent, references: References): OwnerPolicyContent => ({ ...policy, roles: { ...policy.roles, counter: { ...policy.roles.counter, references } } });
export const withPrevious = (policy: OwnerPolicyContent, previous: References): OwnerPolicyContent => withReferences(policy, [...policy.roles.counter.references, ...previous]);
export const withoutPrevious = (policy: OwnerPolicyContent): OwnerPolicyContent => withReferences(policy, policy.roles.counter.references.filter(({ id }) => !id.startsWith(PREVIOUS)));

/** The codes that something was refused with. Fails when nothing was. */
import { Refusal } from '../../attestation/refusal.ts';

export async function codesOf(work: () => unknown): Promise<string[]> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Refusal) return error.codes;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** Keys of a counter process: made at its start, attested, never stored. */
import { generateReceivingKey, type ReceivingKey } from '../protocol/hpke.ts';
import { generateSigningKey, type SigningKey } from '../protocol/jws.ts';

export interface CounterKeys { readonly signing: SigningKey; readonly receiving: ReceivingKey }

export async function createCounterKeys(): Promise<CounterKeys> {
  const [signing, receiving] = await Promise.all([generateSigningKey(), generateReceivingKey()]);
  return { signing, receiving };
}

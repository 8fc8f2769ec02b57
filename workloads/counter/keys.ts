/** Keys of a counter process: made at its start, attested, never stored. */
import { generateReceivingKey, type ReceivingKey } from '../protocol/hpke.ts';
import { generateSigningKey, type SigningKey } from '../protocol/jws.ts';
import { useNativeXWing } from '../protocol/xwing-native.ts';

export interface CounterKeys { readonly signing: SigningKey; readonly receiving: ReceivingKey }

export async function createCounterKeys(): Promise<CounterKeys> {
  useNativeXWing(); // two operations a job
  const [signing, receiving] = await Promise.all([generateSigningKey(), generateReceivingKey()]);
  return { signing, receiving };
}

/** Keys of a counter process: made at its start, attested, never stored. */
import { generateReceivingKey, type PreparedKey, prepareKey, type ReceivingKey } from '../protocol/hpke.ts';
import { generateSigningKey, type SigningKey } from '../protocol/jws.ts';
import { useNativeCrypto } from '../protocol/primitives-native.ts';

export interface CounterKeys { readonly signing: SigningKey; readonly receiving: ReceivingKey & PreparedKey }

export async function createCounterKeys(): Promise<CounterKeys> {
  useNativeCrypto();
  const [signing, receiving] = await Promise.all([generateSigningKey(), generateReceivingKey()]);
  return { signing, receiving: { ...receiving, ...await prepareKey(receiving.privateKey) } };
}

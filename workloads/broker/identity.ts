/** What a broker process is: keys made at its start, never stored, and a name for challenges and receipts that nobody else has. */
import { type Bytes, hex, randomBytes } from '../../attestation/bytes.ts';
import { generateReceivingKey } from '../protocol/hpke.ts';
import { generateSigningKey } from '../protocol/jws.ts';
import { useNativeCrypto } from '../protocol/primitives-native.ts';

export interface Identity {
  /** `broker-` and 128 random bits: the audience of challenges, the name of the chain of receipts. */
  readonly instance: string;
  /** Ed25519. */
  readonly signing: { readonly publicKey: Bytes; readonly privateKey: CryptoKey };
  /** X-Wing. */
  readonly receiving: { readonly publicKey: Bytes; readonly privateKey: Bytes };
}

export async function createIdentity(): Promise<Identity> {
  useNativeCrypto();
  const [signing, receiving] = await Promise.all([generateSigningKey(), generateReceivingKey()]);
  return { instance: `broker-${hex(randomBytes(16))}`, signing, receiving };
}

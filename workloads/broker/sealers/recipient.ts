/**
 * The enclave as a recipient of AWS KMS: an RSA key of this process alone, and the security module's documents that name it. Such a document is no evidence of the broker: it
 * carries another key and other user data than a binding's, and the document of a binding carries no key that KMS would take.
 */
import { encode } from 'cborg';
import { type Bytes, bytes, randomBytes, utf8 } from '../../../attestation/bytes.ts';
import { type NsmExchange, readResponse } from '../../../attestation/platforms/aws-nitro/attest.ts';
import { openEnveloped } from './cms.ts';

export interface Recipient {
  /** A new document for each call: KMS takes them for some minutes only. */
  document(): Promise<Bytes>;
  /** @throws Refusal KEY_SEALER_ANSWER */
  open(ciphertextForRecipient: Bytes): Promise<Bytes>;
}

export const RECIPIENT_DATA = utf8('ccc/kms-recipient/v1');
const BITS = 3072;

/** For this process alone: its private half is never exported. */
export const newRecipientKey = (): Promise<CryptoKeyPair> => crypto.subtle.generateKey({ name: 'RSA-OAEP', modulusLength: BITS, publicExponent: bytes([1, 0, 1]), hash: 'SHA-256' }, false, ['encrypt', 'decrypt']);

export async function nitroRecipient(exchange: NsmExchange, pair: CryptoKeyPair): Promise<Recipient> {
  const spki = bytes(await crypto.subtle.exportKey('spki', pair.publicKey));
  return {
    async document() {
      const request = bytes(encode({ Attestation: { user_data: RECIPIENT_DATA, nonce: randomBytes(32), public_key: spki } }));
      return readResponse(bytes(await exchange(request)));
    },
    open: (enveloped) => openEnveloped(enveloped, pair.privateKey),
  };
}

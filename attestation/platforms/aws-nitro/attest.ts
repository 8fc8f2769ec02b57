/**
 * The attester inside an enclave: one request and one response of the Nitro Secure Module, in CBOR (aws-nitro-enclaves-nsm-api,
 * src/api/mod.rs):
 *
 *   request   { "Attestation": { "user_data": bstr | null, "nonce": bstr | null, "public_key": bstr | null } }
 *   response  { "Attestation": { "document": bstr } }  or  { "Error": text }
 *
 * The device (/dev/nsm) is reached by an ioctl, which Node does not offer: the enclave image brings the exchange, a few lines of
 * native code that move these bytes. Without it there is no evidence; nothing is simulated here.
 */
import { encode } from 'cborg';
import { d64, ed25519Spki } from '../../binding.ts';
import { type Bytes, bytes } from '../../bytes.ts';
import type { Attester } from '../../evidence.ts';
import { decodeCbor } from '../../formats/cbor.ts';
import { refuse } from '../../refusal.ts';

/** One request in, one response out. */
export type NsmExchange = (request: Bytes) => Promise<Bytes>;

/** The response buffer of the driver. */
const MAX_RESPONSE = 0x3000;
const PLATFORM = 'aws-nitro';

/** @throws Refusal ATTESTER_ABSENT without a device */
export function nitroAttester(exchange?: NsmExchange): Attester {
  if (exchange === undefined) {
    return refuse('ATTESTER_ABSENT', '/dev/nsm', 'Run this inside a Nitro Enclave whose image brings the exchange with /dev/nsm, or set "simulated" in the cell\'s configuration for development.', { have: 'no Nitro Secure Module', need: 'an exchange with /dev/nsm' });
  }
  return {
    async attest({ binding }) {
      if (binding.platform !== PLATFORM) refuse('BINDING_PLATFORM', 'binding.platform', 'Ask the attester of that platform.', { have: binding.platform, need: PLATFORM });
      const request = bytes(encode({ Attestation: { user_data: await d64(binding), nonce: binding.nonce, public_key: ed25519Spki(binding.signingKey) } }));
      return { platform: PLATFORM, document: readResponse(bytes(await exchange(request))) };
    },
  };
}

/** @throws Refusal ATTESTER_FAILED */
export function readResponse(response: Bytes): Bytes {
  const value = decodeCbor(response, { path: 'nsm.response', maxBytes: MAX_RESPONSE, maxDepth: 2 });
  const answer = value instanceof Map ? value.get('Attestation') : undefined;
  const document = answer instanceof Map ? answer.get('document') : undefined;
  if (document instanceof Uint8Array) return document;
  const error = value instanceof Map ? value.get('Error') : undefined;
  return refuse('ATTESTER_FAILED', 'nsm.response', 'See the console of the enclave; the security module refused or spoke another version.', { have: typeof error === 'string' ? error.slice(0, 64) : 'no document', need: 'an attestation document' });
}

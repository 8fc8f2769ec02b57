/**
 * COSE_Sign1 (RFC 9052, section 4.2) as AWS signs it:
 *
 *   [ protected: bstr .cbor {1: -35}, unprotected: {}, payload: bstr, signature: bstr .size 96 ]     tag 18 optional
 *
 * One algorithm, ES384 (-35): any other header, protected or not, is refused. The signature is raw r ‖ s on P-384.
 *
 * Two documents with other bytes mean the same and are both accepted: one under CBOR tag 18 (RFC 9052 allows it, AWS does not
 * write it), and one whose signature is the (r, n - s) twin, which anybody can make of a genuine one. Neither changes what is
 * signed, and nothing in this project is keyed on a document's bytes: replays are stopped by challenges, revocation goes by
 * issuer and serial.
 */
import { type Bytes, bytes, concat, hex, utf8 } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { decodeCbor } from './cbor.ts';
import { type Verifier, verifySignature } from './signature.ts';

export interface CoseSign1 {
  /** The protected header, as received. */
  readonly protectedHeader: Bytes;
  readonly payload: Bytes;
  /** r ‖ s, 96 bytes. */
  readonly signature: Bytes;
}

/** A1.1: payload 1 to 16,384 bytes. */
export const MAX_PAYLOAD = 16_384;
const MAX_DOCUMENT = MAX_PAYLOAD + 256;
const SIGNATURE_LENGTH = 96;
const TAG_18 = 0xd2;
const ALG = 1;
const ES384 = -35;
const NEXT = 'Send the attestation document exactly as the security module made it.';

/** @throws Refusal FMT_*, COSE_STRUCTURE, COSE_HEADER */
export function parseCoseSign1(document: Bytes, path: string): CoseSign1 {
  if (document.length > MAX_DOCUMENT) refuse('FMT_SIZE', path, NEXT, { have: `${document.length} bytes`, need: `at most ${MAX_DOCUMENT} bytes` });
  const untagged = document[0] === TAG_18 ? document.subarray(1) : document;
  const value = decodeCbor(untagged, { path, maxBytes: MAX_DOCUMENT, maxDepth: 3 });
  if (!Array.isArray(value) || value.length !== 4) refuse('COSE_STRUCTURE', path, NEXT, { have: describe(value), need: 'an array of 4' });
  const [protectedHeader, unprotected, payload, signature] = value;
  if (!isBytes(protectedHeader)) refuse('COSE_STRUCTURE', `${path}.protected`, NEXT, { have: describe(protectedHeader), need: 'a byte string' });
  checkHeader(protectedHeader, `${path}.protected`);
  if (!(unprotected instanceof Map)) refuse('COSE_STRUCTURE', `${path}.unprotected`, NEXT, { have: describe(unprotected), need: 'a map' });
  if (unprotected.size !== 0) refuse('COSE_HEADER', `${path}.unprotected`, NEXT, { have: `${unprotected.size} parameters`, need: 'none' });
  if (!isBytes(payload)) refuse('COSE_STRUCTURE', `${path}.payload`, NEXT, { have: describe(payload), need: 'a byte string' });
  if (payload.length === 0 || payload.length > MAX_PAYLOAD) refuse('FMT_SIZE', `${path}.payload`, NEXT, { have: `${payload.length} bytes`, need: `1 to ${MAX_PAYLOAD} bytes` });
  if (!isBytes(signature) || signature.length !== SIGNATURE_LENGTH) {
    refuse('COSE_STRUCTURE', `${path}.signature`, NEXT, { have: describe(signature), need: `a byte string of ${SIGNATURE_LENGTH} bytes` });
  }
  return { protectedHeader, payload, signature };
}

/** Exactly {1: -35}: a text algorithm, another one, `crit` or anything else is refused. */
function checkHeader(header: Bytes, path: string): void {
  const need = '{1: -35} (ES384) and nothing else';
  if (header.length === 0) refuse('COSE_HEADER', path, NEXT, { have: 'an empty header', need });
  const value = decodeCbor(header, { path, maxBytes: 64, maxDepth: 2 });
  if (!(value instanceof Map) || value.size !== 1 || value.get(ALG) !== ES384) refuse('COSE_HEADER', path, NEXT, { have: hex(header), need });
}

/** Sig_structure (RFC 9052, section 4.4): ["Signature1", protected, external_aad = h'', payload]. */
export function sigStructure(protectedHeader: Bytes, payload: Bytes): Bytes {
  return concat(bytes([0x84, 0x6a]), utf8('Signature1'), bstrHead(protectedHeader.length), protectedHeader, bytes([0x40]), bstrHead(payload.length), payload);
}

/** `key` on P-384; `false` for any other. */
export function verifyCoseSign1(cose: CoseSign1, key: Verifier): Promise<boolean> {
  return verifySignature(key, 'ES384', cose.signature, sigStructure(cose.protectedHeader, cose.payload));
}

function bstrHead(length: number): Bytes {
  if (length < 24) return bytes([0x40 | length]);
  if (length < 0x100) return bytes([0x58, length]);
  return bytes([0x59, length >> 8, length & 0xff]);
}

const isBytes = (value: unknown): value is Bytes => value instanceof Uint8Array;

function describe(value: unknown): string {
  if (isBytes(value)) return `a byte string of ${value.length} bytes`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (value instanceof Map) return 'a map';
  return value === null ? 'null' : `a ${typeof value}`;
}

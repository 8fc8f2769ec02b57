/**
 * TPMT_SIGNATURE (TPM 2.0 Library, Part 2, section 11.3.4), big endian: scheme u16, hash u16, then
 *
 *   0014 RSASSA   u16 length, signature
 *   0018 ECDSA    u16 length, r, u16 length, s
 *
 * A closed table of what quotes are signed with; RSAPSS, ECDAA, SHA-1 and anything else is refused. Agents that unwrap the structure send the
 * RSA signature as it is, or r and s as DER (RFC 3279): `rawSignature` takes those under the algorithm of the key.
 */
import { type Bytes, concat } from '../bytes.ts';
import { ByteReader } from './byte-reader.ts';
import { ecdsaRaw, type KeyKind } from './signature.ts';

export type QuoteAlgorithm = 'RS256' | 'ES256' | 'ES384';
export interface QuoteSignature {
  readonly algorithm: QuoteAlgorithm;
  /** As WebCrypto takes it: r ‖ s, RSA as it is. */
  readonly value: Bytes;
}

export const TPM_ALG = { rsa: 0x01, sha256: 0x0b, sha384: 0x0c, null: 0x10, rsassa: 0x14, ecdsa: 0x18, ecc: 0x23 } as const;
const SCHEMES: readonly { algorithm: QuoteAlgorithm; scheme: number; hash: number; width: number }[] = [
  { algorithm: 'RS256', scheme: TPM_ALG.rsassa, hash: TPM_ALG.sha256, width: 0 },
  { algorithm: 'ES256', scheme: TPM_ALG.ecdsa, hash: TPM_ALG.sha256, width: 32 },
  { algorithm: 'ES384', scheme: TPM_ALG.ecdsa, hash: TPM_ALG.sha384, width: 48 },
];
const NEXT = 'Quote with an attestation key of RSASSA or ECDSA and SHA-256, and send its signature as the TPM made it.';

/** @throws Refusal TPM_FORMAT */
export function parseTpmtSignature(data: Bytes, path: string): QuoteSignature {
  const r = new ByteReader(data, { path, code: 'TPM_FORMAT', next: NEXT, endian: 'big' });
  const [scheme, hash] = [r.u16('sigAlg'), r.u16('hash')];
  const found = SCHEMES.find((s) => s.scheme === scheme && s.hash === hash);
  if (found === undefined) return r.fail('sigAlg', `${scheme.toString(16)} with ${hash.toString(16)}`, SCHEMES.map((s) => `${s.scheme.toString(16)} with ${s.hash.toString(16)}`).join(' or '));
  const { algorithm, width } = found;
  const value = width === 0 ? r.sized16('signature', 512) : concat(padded(r, 'signatureR', width), padded(r, 'signatureS', width));
  r.end('');
  return { algorithm, value };
}

/** Some TPMs leave leading zeros out. */
function padded(r: ByteReader, name: string, width: number): Bytes {
  const value = r.sized16(name, width);
  return concat(new Uint8Array(width - value.length), value);
}

const OF_KEY: Readonly<Record<KeyKind, QuoteAlgorithm>> = { RSA: 'RS256', 'P-256': 'ES256', 'P-384': 'ES384' };

/** @param kind of the key that is bound: it alone decides the algorithm. @throws Refusal FMT_DER */
export function rawSignature(data: Bytes, kind: KeyKind, path: string): QuoteSignature {
  const algorithm = OF_KEY[kind];
  return { algorithm, value: algorithm === 'RS256' ? data : ecdsaRaw(data, algorithm === 'ES256' ? 32 : 48, path) };
}

/** The scheme's digest: TPMS_ATTEST's pcrDigest is of this. */
export const schemeHash = (algorithm: QuoteAlgorithm): 'SHA-256' | 'SHA-384' => (algorithm === 'ES384' ? 'SHA-384' : 'SHA-256');

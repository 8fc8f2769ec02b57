/**
 * TPMT_PUBLIC of an attestation key (TPM 2.0 Library, Part 2, section 12.2.4), big endian:
 *
 *   | field            | type   |                                                                            |
 *   |------------------|--------|----------------------------------------------------------------------------|
 *   | type             | u16    | 0001 RSA, 0023 ECC                                                         |
 *   | nameAlg          | u16    | 000b SHA-256, 000c SHA-384                                                 |
 *   | objectAttributes | u32    | see ATTRIBUTES                                                             |
 *   | authPolicy       | TPM2B  | at most 64 bytes                                                           |
 *   | parameters       |        | symmetric u16 = NULL, scheme (RSASSA, ECDSA) u16, hash u16; RSA: keyBits u16, exponent u32 (0: 65537); ECC: curve u16, kdf u16 = NULL |
 *   | unique           |        | RSA: modulus TPM2B; ECC: x TPM2B, y TPM2B                                  |
 *
 * An attestation key signs what its TPM made and nothing that others hand to it: restricted, fixed to its TPM, no decryption.
 */
import { type Bytes, concat, sha256, sha384 } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { ByteReader } from './byte-reader.ts';
import { readDer } from './der.ts';
import { readPublicKey, type Verifier } from './signature.ts';
import { ecSpki, rsaSpki } from './spki.ts';
import { type QuoteAlgorithm, TPM_ALG } from './tpmt-signature.ts';

/** TPMA_OBJECT: bit numbers. */
export const ATTRIBUTES = { fixedTPM: 1, stClear: 2, fixedParent: 4, sensitiveDataOrigin: 5, userWithAuth: 6, adminWithPolicy: 7, noDA: 10, encryptedDuplication: 11, restricted: 16, decrypt: 17, sign: 18 } as const;
export type Attribute = keyof typeof ATTRIBUTES;

export interface TpmPublic extends Verifier {
  readonly algorithm: QuoteAlgorithm;
  readonly attributes: ReadonlySet<Attribute>;
  /** nameAlg ‖ its digest of the structure: the key's name, of which a qualified name is made. */
  name(): Promise<Bytes>;
}

const CURVES: Readonly<Record<number, { kind: 'P-256' | 'P-384'; width: number; algorithm: QuoteAlgorithm; hash: number }>> = {
  3: { kind: 'P-256', width: 32, algorithm: 'ES256', hash: TPM_ALG.sha256 }, 4: { kind: 'P-384', width: 48, algorithm: 'ES384', hash: TPM_ALG.sha384 },
};
const KNOWN_BITS = Object.values(ATTRIBUTES).reduce((mask, bit) => mask | (1 << bit), 0);
const NEXT = 'Send the public area of the attestation key as the TPM reads it out.';

/** @throws Refusal TPM_FORMAT, CHAIN_ALGORITHM (a key that is too small) */
export function parseTpmtPublic(data: Bytes, path: string): TpmPublic {
  const r = new ByteReader(data, { path, code: 'TPM_FORMAT', next: NEXT, endian: 'big' });
  const type = r.u16('type');
  r.expect('type', type, TPM_ALG.rsa, TPM_ALG.ecc);
  const nameAlg = r.u16('nameAlg');
  r.expect('nameAlg', nameAlg, TPM_ALG.sha256, TPM_ALG.sha384);
  const bits = r.u32('objectAttributes');
  if ((bits & ~KNOWN_BITS) !== 0) r.fail('objectAttributes', bits.toString(16), 'no reserved bits');
  r.sized16('authPolicy', 64);
  r.expect('symmetric', r.u16('symmetric'), TPM_ALG.null);
  const { spki, algorithm } = type === TPM_ALG.rsa ? readRsa(r) : readEcc(r);
  r.end('');
  const names = Object.keys(ATTRIBUTES) as Attribute[];
  return {
    spki, algorithm, key: readPublicKey(readDer(spki, path), path), attributes: new Set(names.filter((name) => (bits & (1 << ATTRIBUTES[name])) !== 0)),
    name: async () => concat(new Uint8Array([nameAlg >> 8, nameAlg & 255]), await (nameAlg === TPM_ALG.sha256 ? sha256 : sha384)(data)),
  };
}

function readRsa(r: ByteReader): { spki: Bytes; algorithm: QuoteAlgorithm } {
  r.expect('scheme', r.u16('scheme'), TPM_ALG.rsassa);
  r.expect('scheme.hash', r.u16('scheme.hash'), TPM_ALG.sha256);
  const [keyBits, exponent] = [r.u16('keyBits'), r.u32('exponent')];
  r.expect('exponent', exponent, 0, 65537);
  const modulus = r.sized16('unique', 512);
  if (modulus.length * 8 !== keyBits || (modulus[0] as number) < 0x80) r.fail('unique', `a modulus of ${modulus.length} bytes`, `${keyBits} bits`);
  return { spki: rsaSpki(modulus, 65537), algorithm: 'RS256' };
}

function readEcc(r: ByteReader): { spki: Bytes; algorithm: QuoteAlgorithm } {
  r.expect('scheme', r.u16('scheme'), TPM_ALG.ecdsa);
  const hash = r.u16('scheme.hash');
  const curve = CURVES[r.u16('curveID')];
  if (curve === undefined) return r.fail('curveID', 'another curve', 'P-256 or P-384');
  r.expect('scheme.hash', hash, curve.hash);
  r.expect('kdf', r.u16('kdf'), TPM_ALG.null);
  const { width, kind, algorithm } = curve;
  const [x, y] = [r.sized16('unique.x', width), r.sized16('unique.y', width)];
  return { spki: ecSpki(kind, concat(new Uint8Array(width - x.length), x), concat(new Uint8Array(width - y.length), y)), algorithm };
}

/** What makes a key an attestation key. */
export const AK_ATTRIBUTES: readonly Attribute[] = ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'sign'];

/** @throws Refusal AK_ATTRIBUTES */
export function requireAttestationKey({ attributes }: TpmPublic, path: string): void {
  const missing = AK_ATTRIBUTES.filter((a) => !attributes.has(a));
  if (missing.length > 0 || attributes.has('decrypt')) {
    refuse('AK_ATTRIBUTES', `${path}.objectAttributes`, 'Quote with an attestation key: restricted, signing, fixed to its TPM.', { have: [...attributes].join(', ') || 'none', need: `${AK_ATTRIBUTES.join(', ')}, not decrypt` });
  }
}

/**
 * The signatures and keys of certificates and revocation lists: a closed table, each name one scheme with one digest. What is not in it is
 * refused before anything is verified, so no certificate can choose a weaker scheme.
 *
 *   ES256, ES384   ECDSA on P-256 with SHA-256, on P-384 with SHA-384 (RFC 5758); no parameters
 *   RS256, RS384   RSASSA-PKCS1-v1_5 with SHA-256, SHA-384 (RFC 4055); parameters NULL
 *   PS256, PS384   RSASSA-PSS with SHA-256 and salt 32, SHA-384 and salt 48, MGF1 of the same digest, trailer 1 (RFC 4055, section 3.1)
 */
import { type Bytes, concat } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { children, type DerNode, expectTag, octetAlignedBits, oid, readDer, small, TAG, unsigned } from './der.ts';
import { OID } from './oid.ts';

export const SIGNATURE_ALGORITHMS = ['ES256', 'ES384', 'RS256', 'RS384', 'PS256', 'PS384'] as const;
export type SignatureAlgorithm = (typeof SIGNATURE_ALGORITHMS)[number];
export type KeyKind = 'P-256' | 'P-384' | 'RSA';

export interface PublicKey {
  readonly kind: KeyKind;
  /** Size of the curve or modulus. */
  readonly bits: number;
  /** subjectPublicKey: an uncompressed point (04 ‖ x ‖ y), or RSAPublicKey in DER. */
  readonly raw: Bytes;
}

const NEXT = 'Send the certificate exactly as its issuer made it.';
const SIMPLE: Readonly<Record<string, { algorithm: SignatureAlgorithm; parameters: 'absent' | 'NULL' }>> = {
  [OID.ecdsaSha256]: { algorithm: 'ES256', parameters: 'absent' }, [OID.ecdsaSha384]: { algorithm: 'ES384', parameters: 'absent' },
  [OID.sha256WithRsa]: { algorithm: 'RS256', parameters: 'NULL' }, [OID.sha384WithRsa]: { algorithm: 'RS384', parameters: 'NULL' },
};
const CURVES: Readonly<Record<string, { kind: 'P-256' | 'P-384'; bits: number }>> = { [OID.p256]: { kind: 'P-256', bits: 256 }, [OID.p384]: { kind: 'P-384', bits: 384 } };
const RSA_BITS = [2048, 3072, 4096];
/** 65537, the exponent of every RSA key of these PKIs. */
const RSA_EXPONENT = 65537;

/** An AlgorithmIdentifier of a signature. @throws Refusal CHAIN_ALGORITHM, FMT_DER */
export function readSignatureAlgorithm(node: DerNode, path: string): SignatureAlgorithm {
  const [identifier, ...parameters] = children(node);
  const id = oid(identifier);
  if (id === OID.rsaPss) return readPss(parameters, path);
  const entry = SIMPLE[id];
  const fits = entry !== undefined && (entry.parameters === 'absent' ? parameters.length === 0 : parameters.length === 1 && isNull(parameters[0]));
  if (!fits) refuse('CHAIN_ALGORITHM', path, NEXT, { have: id, need: entry === undefined ? SIGNATURE_ALGORITHMS.join(', ') : `${id}, parameters ${entry.parameters}` });
  return (entry as (typeof SIMPLE)[string]).algorithm;
}

const isNull = (node: DerNode | undefined): boolean => node?.tag === TAG.null && node.value.length === 0;

/** RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm, [1] maskGenAlgorithm, [2] saltLength, [3] trailerField DEFAULT 1 }; AMD writes the default out. */
function readPss(parameters: readonly DerNode[], path: string): SignatureAlgorithm {
  const bad = (have: string): never => refuse('CHAIN_ALGORITHM', path, NEXT, { have: `RSASSA-PSS with ${have}`, need: 'SHA-256 and salt 32, or SHA-384 and salt 48, MGF1 of the same digest, trailer 1' });
  if (parameters.length !== 1) return bad('default parameters');
  const fields = children(parameters[0] as DerNode);
  const tags = fields.map((f) => f.tag & 0x1f).join();
  if (tags !== '0,1,2' && tags !== '0,1,2,3') return bad(`parameters ${tags}`);
  const only = (i: number): DerNode => {
    const inner = children(fields[i] as DerNode, 0xa0 + i);
    return inner.length === 1 ? (inner[0] as DerNode) : bad(`${inner.length} values in parameter ${i}`);
  };
  const digest = readDigest(only(0), bad);
  const [mgf, mgfDigest, ...rest] = children(only(1));
  if (oid(mgf) !== OID.mgf1 || mgfDigest === undefined || rest.length !== 0 || readDigest(mgfDigest, bad) !== digest) return bad('another mask than MGF1 of the same digest');
  const salt = small(only(2));
  if (fields.length === 4 && small(only(3)) !== 1) return bad('another trailer');
  if (digest === OID.sha256 && salt === 32) return 'PS256';
  if (digest === OID.sha384 && salt === 48) return 'PS384';
  return bad(`${digest} and salt ${salt}`);
}

/** A digest's AlgorithmIdentifier: parameters NULL or absent (RFC 4055, section 2.1). */
function readDigest(node: DerNode, bad: (have: string) => never): string {
  const [id, ...parameters] = children(node);
  if (parameters.length > 1 || (parameters.length === 1 && !isNull(parameters[0]))) bad('parameters of the digest');
  return oid(id);
}

/** SubjectPublicKeyInfo. @throws Refusal CHAIN_ALGORITHM, FMT_DER */
export function readPublicKey(node: DerNode, path: string): PublicKey {
  const parts = children(node);
  const [identifier, parameters, ...rest] = children(expectTag(parts[0], TAG.sequence, path));
  const bad = (have: string, need = 'an EC key on P-256 or P-384 as an uncompressed point, or an RSA key of 2048, 3072 or 4096 bits'): never => refuse('CHAIN_ALGORITHM', path, NEXT, { have, need });
  if (parts.length !== 2 || rest.length !== 0) return bad('a key of another form');
  const id = oid(identifier);
  const raw = octetAlignedBits(parts[1]);
  if (id === OID.ecPublicKey) {
    const name = parameters?.tag === TAG.oid ? oid(parameters) : '-';
    const curve = CURVES[name];
    if (curve === undefined) return bad(`an EC key on ${name}`);
    if (raw.length !== 1 + curve.bits / 4 || raw[0] !== 4) return bad(`a point of ${raw.length} bytes`);
    return { ...curve, raw };
  }
  if (id !== OID.rsaEncryption || !isNull(parameters)) return bad(id);
  const numbers = children(readDer(raw, path));
  const modulus = unsigned(numbers[0]);
  const exponent = small(numbers[1]);
  const bits = modulus.length * 8 - Math.clz32(modulus[0] as number) + 24;
  if (numbers.length !== 2 || !RSA_BITS.includes(bits) || ((modulus.at(-1) as number) & 1) === 0 || exponent !== RSA_EXPONENT) return bad(`an RSA key of ${bits} bits, exponent ${exponent}`, 'RSA of 2048, 3072 or 4096 bits, exponent 65537');
  return { kind: 'RSA', bits, raw };
}

/** A signatureValue as WebCrypto takes it: r ‖ s of a DER pair (RFC 3279, section 2.2.3), RSA as it is. @throws Refusal FMT_DER */
export function readSignature(node: DerNode, algorithm: SignatureAlgorithm, path: string): Bytes {
  const raw = octetAlignedBits(node);
  const width = algorithm === 'ES256' ? 32 : algorithm === 'ES384' ? 48 : 0;
  return width === 0 ? raw : ecdsaRaw(raw, width, path);
}

/** Ecdsa-Sig-Value as r ‖ s of `width` bytes each. @throws Refusal FMT_DER */
export function ecdsaRaw(der: Bytes, width: number, path: string): Bytes {
  const parts = children(readDer(der, path));
  const [r, s] = [unsigned(parts[0]), unsigned(parts[1])];
  if (parts.length !== 2 || r.length > width || s.length > width) refuse('FMT_DER', path, NEXT, { have: `no pair of integers below 2^${8 * width}` });
  return concat(new Uint8Array(width - r.length), r, new Uint8Array(width - s.length), s);
}

type Scheme = { kind: KeyKind; import: EcKeyImportParams | RsaHashedImportParams; verify: EcdsaParams | RsaPssParams | Algorithm };
const SCHEMES: Readonly<Record<SignatureAlgorithm, Scheme>> = {
  ES256: { kind: 'P-256', import: { name: 'ECDSA', namedCurve: 'P-256' }, verify: { name: 'ECDSA', hash: 'SHA-256' } },
  ES384: { kind: 'P-384', import: { name: 'ECDSA', namedCurve: 'P-384' }, verify: { name: 'ECDSA', hash: 'SHA-384' } },
  RS256: { kind: 'RSA', import: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, verify: { name: 'RSASSA-PKCS1-v1_5' } },
  RS384: { kind: 'RSA', import: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384' }, verify: { name: 'RSASSA-PKCS1-v1_5' } },
  PS256: { kind: 'RSA', import: { name: 'RSA-PSS', hash: 'SHA-256' }, verify: { name: 'RSA-PSS', saltLength: 32 } },
  PS384: { kind: 'RSA', import: { name: 'RSA-PSS', hash: 'SHA-384' }, verify: { name: 'RSA-PSS', saltLength: 48 } },
};

export interface Verifier { readonly spki: Bytes; readonly key: PublicKey }

/**
 * Whether `key` made `signature` (as {@link readSignature} gives it) over `data` with exactly this algorithm. Takes a certificate as the
 * key; `false` as well for a key of another kind and for one that is no point of its curve.
 */
export async function verifySignature(issuer: Verifier, algorithm: SignatureAlgorithm, signature: Bytes, data: Bytes): Promise<boolean> {
  const scheme = SCHEMES[algorithm];
  if (issuer.key.kind !== scheme.kind) return false;
  // Begun at once where the key is known: what the caller does next goes on beside it
  const key = keys.get(issuer)?.get(algorithm) ?? await imported(issuer, algorithm, scheme);
  return key !== undefined && crypto.subtle.verify(scheme.verify, key, signature, data);
}

/** By the object whose key it is, for as long as that is held. */
const keys = new WeakMap<Verifier, Map<SignatureAlgorithm, CryptoKey>>();

/** `undefined`: no point of its curve. */
async function imported(issuer: Verifier, algorithm: SignatureAlgorithm, scheme: Scheme): Promise<CryptoKey | undefined> {
  try {
    const key = await crypto.subtle.importKey('spki', issuer.spki, scheme.import, false, ['verify']);
    keys.set(issuer, (keys.get(issuer) ?? new Map<SignatureAlgorithm, CryptoKey>()).set(algorithm, key));
    return key;
  } catch {
    return undefined;
  }
}

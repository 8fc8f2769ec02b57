/**
 * Builds what a TPM says: quotes, signatures, public areas. The writing side of formats/tpms-attest.ts, tpmt-signature.ts and tpmt-public.ts, every
 * field settable, for tests of the verifier and for simulated machines. Isomorphic.
 */
import { type Bytes, concat } from '../../bytes.ts';
import { BANKS } from '../../formats/tcg-event-log.ts';
import { ATTRIBUTES, type Attribute } from '../../formats/tpmt-public.ts';
import { type QuoteAlgorithm, schemeHash, TPM_ALG } from '../../formats/tpmt-signature.ts';
import { tpm2b, u16be, u32be, u64be, u8 } from './binary.ts';
import { defaultAlgorithm, type SigningKey, signRaw } from './keys.ts';

export type PcrValues = ReadonlyMap<number, Bytes>;

export interface QuoteFields {
  readonly magic: number;
  readonly type: number;
  readonly qualifiedSigner: Bytes;
  readonly extraData: Bytes;
  readonly clock: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly safe: number;
  readonly firmwareVersion: bigint;
  readonly selections: readonly { readonly bank: number; readonly pcrs: readonly number[]; readonly size?: number }[];
  readonly pcrDigest: Bytes;
  readonly trailing: Bytes;
}

export interface QuoteOptions {
  readonly bank: 'sha256' | 'sha384';
  /** What the machine's registers hold. */
  readonly pcrs: PcrValues;
  /** Which of them are quoted. */
  readonly select: readonly number[];
  readonly extraData: Bytes;
  readonly key: SigningKey;
  readonly change?: Partial<QuoteFields>;
  /** Signs instead of `key`. */
  readonly signWith?: SigningKey;
}

export interface SimulatedQuote {
  readonly message: Bytes;
  /** TPMT_SIGNATURE. */
  readonly signature: Bytes;
  /** As agents that unwrap it send it: RSA as it is, r ‖ s for ECDSA. */
  readonly raw: Bytes;
}

/** Values of registers that were never extended, indexes 0 to 23; 17 to 22 begin as ones. */
export function freshPcrs(bank: 'sha256' | 'sha384', change: Readonly<Record<number, Bytes>> = {}): Map<number, Bytes> {
  const { size } = BANKS[bank];
  return new Map(Array.from({ length: 24 }, (_, i) => [i, change[i] ?? new Uint8Array(size).fill(i >= 17 && i <= 22 ? 0xff : 0)]));
}

export async function buildQuote(options: QuoteOptions): Promise<SimulatedQuote> {
  const { bank, pcrs, select, extraData, change = {} } = options;
  const signer = options.signWith ?? options.key;
  const algorithm = defaultAlgorithm(signer.type) as QuoteAlgorithm;
  const ordered = [...select].sort((a, b) => a - b);
  const digest = new Uint8Array(await crypto.subtle.digest(schemeHash(algorithm), concat(...ordered.map((i) => pcrs.get(i) ?? new Uint8Array(BANKS[bank].size)))));
  const message = encodeQuote({
    magic: 0xff544347, type: 0x8018, qualifiedSigner: concat(u16be(TPM_ALG.sha256), new Uint8Array(32).fill(0x51)), extraData, clock: 1_800_000n, resetCount: 3, restartCount: 0, safe: 1,
    firmwareVersion: 0x20200312_00120003n, selections: [{ bank: BANKS[bank].id, pcrs: ordered }], pcrDigest: digest, trailing: new Uint8Array(), ...change,
  });
  const raw = await signRaw(signer, algorithm, message);
  return { message, raw, signature: encodeSignature(algorithm, raw) };
}

export const encodeQuote = (f: QuoteFields): Bytes => concat(
  u32be(f.magic), u16be(f.type), tpm2b(f.qualifiedSigner), tpm2b(f.extraData), u64be(f.clock), u32be(f.resetCount), u32be(f.restartCount), u8(f.safe), u64be(f.firmwareVersion),
  u32be(f.selections.length), ...f.selections.map((s) => concat(u16be(s.bank), u8(s.size ?? 3), bitmap(s.pcrs, s.size ?? 3))), tpm2b(f.pcrDigest), f.trailing,
);

function bitmap(pcrs: readonly number[], size: number): Bytes {
  const out = new Uint8Array(size);
  for (const i of pcrs) out[i >> 3] = (out[i >> 3] as number) | (1 << (i & 7));
  return out;
}

/** TPMT_SIGNATURE of a signature as WebCrypto makes it. */
export function encodeSignature(algorithm: QuoteAlgorithm, raw: Bytes): Bytes {
  if (algorithm === 'RS256') return concat(u16be(TPM_ALG.rsassa), u16be(TPM_ALG.sha256), tpm2b(raw));
  const half = raw.length / 2;
  return concat(u16be(TPM_ALG.ecdsa), u16be(algorithm === 'ES256' ? TPM_ALG.sha256 : TPM_ALG.sha384), tpm2b(raw.subarray(0, half)), tpm2b(raw.subarray(half)));
}

const AK: readonly Attribute[] = ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'userWithAuth', 'restricted', 'sign'];

export interface PublicFields { readonly attributes: readonly Attribute[]; readonly nameAlg: number; readonly scheme: number; readonly schemeHash: number; readonly extraBits: number }

/** TPMT_PUBLIC of an attestation key. */
export async function buildPublic(key: SigningKey, change: Partial<PublicFields> = {}): Promise<Bytes> {
  const algorithm = defaultAlgorithm(key.type);
  const rsa = algorithm === 'RS256';
  const fields: PublicFields = { attributes: AK, nameAlg: TPM_ALG.sha256, scheme: rsa ? TPM_ALG.rsassa : TPM_ALG.ecdsa, schemeHash: algorithm === 'ES384' ? TPM_ALG.sha384 : TPM_ALG.sha256, extraBits: 0, ...change };
  const bits = fields.attributes.reduce((mask, name) => mask | (1 << ATTRIBUTES[name]), fields.extraBits) >>> 0;
  const jwk = await publicJwk(key);
  const part = (name: 'n' | 'x' | 'y'): Bytes => Uint8Array.from(atob((jwk[name] ?? '').replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
  const head = concat(u16be(rsa ? TPM_ALG.rsa : TPM_ALG.ecc), u16be(fields.nameAlg), u32be(bits), tpm2b(new Uint8Array()), u16be(TPM_ALG.null), u16be(fields.scheme), u16be(fields.schemeHash));
  if (rsa) return concat(head, u16be(part('n').length * 8), u32be(0), tpm2b(part('n')));
  return concat(head, u16be(algorithm === 'ES256' ? 3 : 4), u16be(TPM_ALG.null), tpm2b(part('x')), tpm2b(part('y')));
}

/** JWK of a key's public half. */
export async function publicJwk(key: SigningKey): Promise<JsonWebKey> {
  const rsa = key.type.startsWith('RSA');
  const algorithm = rsa ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } : { name: 'ECDSA', namedCurve: key.type };
  return crypto.subtle.exportKey('jwk', await crypto.subtle.importKey('spki', key.spki, algorithm, true, ['verify']));
}

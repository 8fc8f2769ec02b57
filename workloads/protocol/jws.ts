/**
 * Compact JWS (RFC 7515), EdDSA with Ed25519 only (RFC 8037). The verifier names key, algorithm and type; a header
 * may say `alg`, `typ`, `kid` and nothing else, so neither `jku`, `jwk`, `x5c` nor `crit` is ever looked at.
 */
import { z } from 'zod';
import { type Bytes, b64u, bytes, fromB64u, text, utf8 } from '../../attestation/bytes.ts';
import { Refusal, type RefusalCode } from '../../attestation/refusal.ts';
import { primitives } from './primitives.ts';
import { compactJws } from './wire.ts';

/** Ed25519. */
const SIGNATURE_LENGTH = 64;

const headerSchema = z.strictObject({ alg: z.literal('EdDSA'), typ: z.string().max(64), kid: z.string().max(128).optional() });
export type JwsHeader = z.infer<typeof headerSchema>;

export interface SigningKey {
  /** Raw Ed25519 public key, 32 bytes. */
  readonly publicKey: Bytes;
  readonly privateKey: CryptoKey;
}

/** `extractable` only for keys that must be stored, such as an owner's. */
export const generateSigningKey = (options: { extractable?: boolean } = {}): Promise<SigningKey> => primitives().generateEd25519(options.extractable ?? false);

/** A private OKP JWK (RFC 8037, section 2). */
export const importSigningKey = (jwk: JsonWebKey): Promise<CryptoKey> =>
  crypto.subtle.importKey('jwk', { kty: 'OKP', crv: 'Ed25519', d: jwk.d, x: jwk.x }, 'Ed25519', false, ['sign']);

/** RFC 7638 thumbprint of a raw Ed25519 public key, base64url. */
export async function thumbprint(publicKey: Uint8Array): Promise<string> {
  const canonical = `{"crv":"Ed25519","kty":"OKP","x":"${b64u(publicKey)}"}`;
  return b64u(bytes(await crypto.subtle.digest('SHA-256', utf8(canonical))));
}

export async function signJws(typ: string, payload: object, key: CryptoKey, header: { kid?: string } = {}): Promise<string> {
  const signed = [{ alg: 'EdDSA', typ, ...header }, payload].map((part) => b64u(utf8(JSON.stringify(part)))).join('.');
  return `${signed}.${b64u(await primitives().signEd25519(key, utf8(signed)))}`;
}

export interface DecodedJws { readonly header: JwsHeader; readonly payload: unknown }

/** Header and payload of a well-formed JWS whose signature nobody checked: to find out whom it claims to be from. @throws Error */
export function decodeJwsUnverified(jws: string): DecodedJws {
  const [header, payload, signature] = compactJws.parse(jws).split('.') as [string, string, string];
  // One spelling: 64 bytes leave four bits of the last character unused, and digests are taken of the whole text.
  if (fromB64u(signature).length !== SIGNATURE_LENGTH) throw new TypeError('signature');
  return { header: headerSchema.parse(JSON.parse(text(fromB64u(header)))), payload: JSON.parse(text(fromB64u(payload))) };
}

/**
 * The payload, once signature, type and schema hold.
 * @param code what to refuse with; `formatCode`, when given, for a signed payload that is not of the schema.
 * @throws Refusal
 */
export async function verifyJws<T>(jws: string, typ: string, publicKey: Uint8Array, schema: z.ZodType<T>, code: RefusalCode, formatCode: RefusalCode = code): Promise<T> {
  let decoded: DecodedJws;
  try {
    decoded = decodeJwsUnverified(jws);
    if (decoded.header.typ !== typ) throw new TypeError('typ');
    const dot = jws.lastIndexOf('.');
    if (!await primitives().verifyEd25519(publicKey, fromB64u(jws.slice(dot + 1)), utf8(jws.slice(0, dot)))) throw new TypeError('signature');
  } catch (cause) {
    throw new Refusal({ code, path: typ, need: `EdDSA by ${b64u(publicKey)}, typ ${typ}`, next: 'It was not signed by this key, is of another type, or was altered; get it from its signer anew.' }, { cause });
  }
  const parsed = schema.safeParse(decoded.payload);
  if (!parsed.success) {
    throw new Refusal(parsed.error.issues.slice(0, 16).map((issue) => ({
      code: formatCode, path: [typ, ...issue.path.map(String)].join('.'), have: issue.code, next: `Signed, but not of the format: ${issue.message}.`,
    })));
  }
  return parsed.data;
}

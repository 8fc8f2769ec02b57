/**
 * Compact JWS with JSON claims (RFC 7515, RFC 7519), as attestation services issue them, and their key sets (RFC 7517). Strict: one spelling of every
 * part, no name twice in any object, sizes and depth bounded, RS256 and nothing else. jose verifies; it sees only what passed here.
 *
 *   header     alg RS256 · typ JWT, if any · kid · x5c (base64 DER, leaf first) · jku, x5u, x5t, x5t#S256: passed over, nothing is ever fetched from them
 *   claims     one object; what they mean is for attestation/services
 *   signature  one value of base64url
 *
 *   key set    {"keys": [{kty RSA, kid, use sig, alg RS256, n, e}]}; Azure's entries have x5c in place of n and e. Entries of other kinds are passed over.
 */
import { compactVerify, errors } from 'jose';
import { z } from 'zod';
import { type Bytes, equal, fromB64u, text } from '../bytes.ts';
import { printable, refuse } from '../refusal.ts';
import { readDer } from './der.ts';
import { readJsonObject } from './json-span.ts';
import { type PublicKey, readPublicKey } from './signature.ts';
import { rsaSpki } from './spki.ts';
import { parseCertificate } from './x509.ts';

export interface Jwt {
  /** As received. */
  readonly token: string;
  readonly kid: string | undefined;
  /** DER, leaf first. */
  readonly x5c: readonly Bytes[] | undefined;
  readonly claims: Readonly<Record<string, unknown>>;
}
export interface TokenKey { readonly kid: string; readonly spki: Bytes; readonly key: PublicKey }

const MAX_TOKEN = 64 * 1024;
/** Certificates of Azure Attestation embed a whole quote: 40 KB of base64 each. */
const MAX_KEY_SET = 4 * 1024 * 1024;
const MAX_CERTIFICATES = 8;
const ANEW = 'Get the token from its service anew, and keep it as it is.';
const JSON_LIMITS = { maxBytes: MAX_TOKEN, maxDepth: 12, code: 'JWT_FORMAT', next: ANEW } as const;
const IGNORED = ['jku', 'x5u', 'x5t', 'x5t#S256'];
const KNOWN = ['alg', 'typ', 'kid', 'x5c', ...IGNORED];

/** Reads; believes nothing. @throws Refusal JWT_FORMAT, JWT_ALG, JWT_HEADER */
export function parseJwt(data: Bytes | string, path: string): Jwt {
  const bad = (have: string, need: string): never => refuse('JWT_FORMAT', path, ANEW, { have, need });
  if (data.length > MAX_TOKEN) return bad(`${data.length} bytes`, `at most ${MAX_TOKEN}`);
  let token: string;
  try {
    token = typeof data === 'string' ? data : text(data);
  } catch {
    return bad('bytes that are not UTF-8', 'base64url');
  }
  const parts = token.split('.');
  if (parts.length !== 3) return bad(`${parts.length} parts`, '3');
  const [header, payload] = parts.slice(0, 2).map((part, i) => decode(part as string, `${path}.${i === 0 ? 'header' : 'claims'}`)) as [Bytes, Bytes];
  const { kid, x5c } = readHeader(header, `${path}.header`);
  if (decode(parts[2] as string, `${path}.signature`).length === 0) return bad('no signature', 'one');
  const members = readJsonObject(payload, `${path}.claims`, JSON_LIMITS);
  // A prototype of null: a claim is there or not, whatever its name
  const claims = Object.assign(Object.create(null) as Record<string, unknown>, Object.fromEntries([...members].filter(([name]) => name !== '__proto__').map(([name, m]) => [name, m.value])));
  return { token, kid, x5c, claims };
}

function decode(part: string, path: string): Bytes {
  try {
    return fromB64u(part);
  } catch {
    return refuse('JWT_FORMAT', path, ANEW, { have: 'another spelling', need: 'base64url without padding, unused bits zero' });
  }
}

function readHeader(data: Bytes, path: string): Pick<Jwt, 'kid' | 'x5c'> {
  const members = readJsonObject(data, path, JSON_LIMITS);
  const member = (name: string): unknown => members.get(name)?.value;
  const alg = member('alg');
  if (alg !== 'RS256') return refuse('JWT_ALG', `${path}.alg`, 'The services sign with RS256; nothing else is verified.', { have: shown(alg), need: 'RS256' });
  const unknown = [...members.keys()].filter((name) => !KNOWN.includes(name));
  if (unknown.length > 0) return refuse('JWT_HEADER', path, ANEW, { have: printable(unknown.join(', ')), need: `nothing but ${KNOWN.join(', ')}` });
  const [typ, kid] = [member('typ'), member('kid')];
  if (typ !== undefined && typ !== 'JWT') return refuse('JWT_HEADER', `${path}.typ`, ANEW, { have: shown(typ), need: 'JWT' });
  if (kid !== undefined && !isKid(kid)) return refuse('JWT_HEADER', `${path}.kid`, ANEW, { have: 'another form', need: '1 to 256 printable characters' });
  const x5c = member('x5c');
  return { kid, x5c: x5c === undefined ? undefined : certificates(x5c, `${path}.x5c`) };
}

const shown = (value: unknown): string => (typeof value === 'string' ? printable(value) : value === undefined ? 'nothing' : typeof value);
const isKid = (value: unknown): value is string => typeof value === 'string' && /^[\x21-\x7e]{1,256}$/.test(value);

function certificates(value: unknown, path: string): Bytes[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_CERTIFICATES) return refuse('JWT_HEADER', path, ANEW, { have: Array.isArray(value) ? `${value.length} certificates` : typeof value, need: `1 to ${MAX_CERTIFICATES}` });
  return value.map((item, i) => fromBase64(item) ?? refuse('JWT_HEADER', `${path}[${i}]`, ANEW, { have: 'another spelling', need: 'base64 with padding' }));
}

/** Base64 with its padding, in one spelling (RFC 7515, section 4.1.6: not base64url). */
function fromBase64(value: unknown): Bytes | undefined {
  if (typeof value !== 'string' || value.length === 0 || value.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(value)) return undefined;
  try {
    return fromB64u(value.replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_'));
  } catch {
    return undefined;
  }
}

const entrySchema = z.looseObject({ kty: z.literal('RSA'), kid: z.string(), use: z.literal('sig').optional(), alg: z.literal('RS256').optional(), n: z.string().max(1024).optional(), e: z.literal('AQAB').optional(), x5c: z.array(z.string()).min(1).max(MAX_CERTIFICATES).optional() });
const keySetSchema = z.array(z.unknown()).min(1).max(64);

/** The one key of this name. @throws Refusal COLLATERAL_FORMAT (the set), JWT_KEY (no such key, or two), CHAIN_ALGORITHM, FMT_DER */
export function keyOf(keySet: Bytes, kid: string | undefined, path: string): TokenKey {
  const members = readJsonObject(keySet, path, { maxBytes: MAX_KEY_SET, maxDepth: 8, code: 'COLLATERAL_FORMAT', next: 'Fetch the key set of the issuer again.' });
  const list = keySetSchema.safeParse(members.get('keys')?.value);
  if (!list.success) return refuse('COLLATERAL_FORMAT', `${path}.keys`, 'Fetch the key set of the issuer again.', { need: '1 to 64 keys' });
  const none = (have: string): never => refuse('JWT_KEY', `${path}.keys`, 'Fetch the current key set of the issuer that you configured; keys from anywhere else do not count.', { have, need: kid === undefined ? 'a token that names its key' : `one RSA key ${printable(kid)}` });
  if (kid === undefined) return none('a token without kid');
  const named = list.data.filter((entry) => typeof entry === 'object' && entry !== null && (entry as { kid?: unknown }).kid === kid);
  if (named.length !== 1) return none(named.length === 0 ? 'no such key' : `${named.length} of them`);
  const entry = entrySchema.safeParse(named[0]);
  if (!entry.success) return none('one that does not sign with RS256');
  const { n, e, x5c } = entry.data;
  const fromCertificate = x5c === undefined ? undefined : parseCertificate(fromBase64(x5c[0]) ?? none('one whose certificate is not base64'), `${path}.x5c`).spki;
  const fromNumbers = n === undefined || e === undefined ? undefined : rsaSpki(modulus(n) ?? none('one whose modulus is not base64url'), 65537);
  if (fromCertificate !== undefined && fromNumbers !== undefined && !equal(fromCertificate, fromNumbers)) return none('one with another key in its certificate');
  const spki = fromCertificate ?? fromNumbers ?? none('one without a key');
  return { kid, spki, key: readPublicKey(readDer(spki, path), path) };
}

function modulus(n: string): Bytes | undefined {
  try {
    return fromB64u(n);
  } catch {
    return undefined;
  }
}

/** Whether this RSA key made the token's signature. */
export async function hasJwtSignature({ token }: Jwt, spki: Bytes): Promise<boolean> {
  try {
    const key = await crypto.subtle.importKey('spki', spki, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['verify']);
    await compactVerify(token, key, { algorithms: ['RS256'] });
    return true;
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof DOMException) return false;
    throw error;
  }
}

/**
 * What every service's token goes through before a claim of it is looked at: form, issuer, key, signature, times. A key counts when the issuer that the
 * verifier configured publishes it (collateral `jwks/<issuer>`), or when the token's certificates lead to a pinned root; what a token says of where its keys
 * are is never followed.
 */
import type { TrustContext, TrustRoot } from '../adapter.ts';
import { type Bytes, hex, sha256, utf8 } from '../bytes.ts';
import type { CheckList, Failure } from '../checks.ts';
import type { NormalizedClaims } from '../claims.ts';
import { hasJwtSignature, type Jwt, keyOf, parseJwt } from '../formats/jwt.ts';
import { type Certificate, parseCertificate } from '../formats/x509.ts';
import { iso, Judge } from '../judge.ts';
import { validatePath } from '../path.ts';
import { printable } from '../refusal.ts';
import { type RootPurpose, rootsFor } from '../trust/purposes.ts';

export interface TokenInput {
  /** First word of the checks' names: "MAA", "CS". */
  readonly prefix: string;
  readonly path: string;
  readonly token: Bytes | string;
  /** Exactly. */
  readonly issuer: string;
  /** `jwks`: the issuer's key set. A purpose: certificates in the token, to a root pinned for it. */
  readonly keys: 'jwks' | RootPurpose;
  /** Since iat, seconds; services give tokens hours. `skip`: stored evidence. */
  readonly maxAgeSeconds: number | 'skip';
}

export interface VerifiedToken {
  readonly jwt: Jwt;
  readonly sha256: string;
  readonly bytes: number;
  readonly issuer: string;
  readonly kid: string;
  /** Epoch seconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Of a token with certificates. */
  readonly chain: { readonly root: TrustRoot; readonly leafSerial: string; readonly revocation: 'good' | 'unchecked' } | null;
  readonly collateral: NonNullable<NormalizedClaims['collateral']>;
}

/** A0: clocks may differ by this much, seconds. */
export const SKEW = 60;
const ANEW = 'Get a new token from the service, with the verifier\'s challenge.';
/** Times that a Date can hold. */
const MAX_TIME = 8.64e12;

/** @returns undefined when a check failed; a token whose signature does not hold is looked at no further */
export async function verifyToken(input: TokenInput, trust: TrustContext, at: number, checks: CheckList): Promise<VerifiedToken | undefined> {
  const { prefix, path } = input;
  const judge = new Judge(checks, prefix);
  const jwt = judge.parse('TOKEN', path, () => parseJwt(input.token, path));
  if (jwt === undefined) return undefined;
  const { iss, exp, nbf, iat } = jwt.claims;
  judge.that('ISSUER', `${path}.claims.iss`, iss === input.issuer, () => ({ code: 'JWT_ISSUER', have: typeof iss === 'string' ? printable(iss) : 'nothing', need: printable(input.issuer), next: 'Use a token of the instance that you configured, or configure this one.' }));
  const key = input.keys === 'jwks' ? await publishedKey(jwt, input, trust, judge) : await certifiedKey(jwt, input, input.keys, trust, at, checks, judge);
  if (key === undefined || judge.failed) return undefined;
  const signed = await hasJwtSignature(jwt, key.spki);
  if (!judge.that('SIGNATURE', `${path}.signature`, signed, () => ({ code: 'JWT_SIGNATURE', have: 'a signature that the key does not verify', need: `one by ${printable(key.kid)} over exactly this token`, next: ANEW }))) return undefined;

  const times = [exp, nbf, iat].every((t) => Number.isSafeInteger(t) && (t as number) > 0 && (t as number) < MAX_TIME);
  if (!judge.that('TIMES', `${path}.claims`, times, () => ({ code: 'JWT_CLAIM', have: 'exp, nbf or iat missing or of another form', need: 'seconds since 1970', next: ANEW }))) return undefined;
  const [expires, begins, issued] = [exp, nbf, iat] as [number, number, number];
  judge.that('EXP', `${path}.claims.exp`, at <= expires + SKEW, () => ({ code: 'JWT_EXPIRED', have: iso(at), need: `until ${iso(expires)}`, next: ANEW }));
  for (const [id, name, time] of [['NBF', 'nbf', begins], ['IAT', 'iat', issued]] as const) judge.that(id, `${path}.claims.${name}`, time <= at + SKEW, () => ({ code: 'JWT_NOT_YET_VALID', have: iso(at), need: `from ${iso(time)}`, next: 'Compare the clocks of the verifier and of the service.' }));
  checkAge(input, issued, at, judge);
  if (judge.failed) return undefined;
  return { jwt, sha256: hex(await sha256(utf8(jwt.token))), bytes: jwt.token.length, issuer: input.issuer, kid: key.kid, issuedAt: issued, expiresAt: expires, chain: key.chain, collateral: key.collateral };
}

function checkAge({ maxAgeSeconds, path }: TokenInput, issued: number, at: number, judge: Judge): void {
  if (maxAgeSeconds === 'skip') return judge.skipped('AGE', `${path}.claims.iat`);
  // Written so that a limit that is no number refuses
  judge.that('AGE', `${path}.claims.iat`, at - issued <= maxAgeSeconds, () => ({ code: 'STALE', have: `${Math.ceil(at - issued)} s old`, need: `at most ${maxAgeSeconds} s`, next: ANEW }));
}

type Key = Pick<VerifiedToken, 'chain' | 'collateral' | 'kid'> & { readonly spki: Bytes };

async function publishedKey(jwt: Jwt, { issuer, path }: TokenInput, trust: TrustContext, judge: Judge): Promise<Key | undefined> {
  const item = trust.collateral?.get('jwks', issuer);
  const where = `collateral.jwks/${printable(issuer)}`;
  const absent = (have: string) => (): Failure => ({ code: 'COLLATERAL_ABSENT', have, need: 'the issuer\'s key set', next: 'Fetch the key set of the issuer that you configured, from the issuer itself.' });
  if (item === undefined) {
    judge.that('KEY-SET', where, false, absent('nothing'));
    return undefined;
  }
  // Whoever attests must not bring the keys that vouch for it
  if (!judge.that('KEY-SET', where, item.source !== 'evidence', absent('one that came with the evidence'))) return undefined;
  const key = judge.parse('KEY', `${path}.header.kid`, () => keyOf(item.bytes, jwt.kid, where));
  if (key === undefined) return undefined;
  return { ...key, chain: null, collateral: [{ kind: 'jwks', sha256: hex(await sha256(item.bytes)), source: item.source }] };
}

async function certifiedKey(jwt: Jwt, { prefix, path }: TokenInput, purpose: RootPurpose, trust: TrustContext, at: number, checks: CheckList, judge: Judge): Promise<Key | undefined> {
  const where = `${path}.header.x5c`;
  const [leaf, ...issuers] = jwt.x5c ?? [];
  const noKey = (have: string): undefined => {
    judge.that('KEY', where, false, () => ({ code: 'JWT_KEY', have, need: 'certificates that lead to a pinned root', next: 'Ask the service for a token with its certificates (token type PKI).' }));
    return undefined;
  };
  if (leaf === undefined) return noKey('a token without certificates');
  const ids = new Set((jwt.x5c ?? []).map((der) => keyIdOf(der)));
  const crls = [...ids].flatMap((id) => (id === undefined ? undefined : trust.collateral?.get('google-crl', id)) ?? []);
  const verified = await validatePath({
    prefix, path: `${where}[0]`, issuersPath: where, leaf, intermediates: issuers, roots: rootsFor(trust, purpose), at, algorithms: ['RS256', 'RS384', 'PS256', 'PS384'],
    // Google's leaves have no keyUsage and no list of revoked ones; its intermediates have both
    leafProfile: { keys: ['RSA'], keyUsage: ['digitalSignature'], keyUsageAbsent: 'allow' }, length: { min: 3, max: 4 }, revoked: trust.revoked,
    crls: crls.map((c) => c.bytes), requireCrl: trust.revocation ?? 'require', crlScope: 'intermediates', skewSeconds: SKEW, cache: trust.chainCache,
  }, checks);
  if (verified === undefined) return noKey('certificates that do not');
  judge.that('KEY', where, true, () => ({ code: 'JWT_KEY', next: ANEW }));
  return {
    kid: jwt.kid ?? verified.leaf.serial, spki: verified.leaf.spki, chain: { root: verified.root, leafSerial: verified.leaf.serial, revocation: verified.revocation },
    collateral: await Promise.all(crls.map(async (c) => ({ kind: c.kind, sha256: hex(await sha256(c.bytes)), source: c.source }))),
  };
}

/** The key that issued a certificate, as collateral names it. */
function keyIdOf(der: Bytes): string | undefined {
  let certificate: Certificate;
  try {
    certificate = parseCertificate(der, 'x5c');
  } catch {
    return undefined;
  }
  return certificate.authorityKeyId?.keyId ?? undefined;
}

/** A claim's form: the failure of a schema, in one line. */
export const claimFailure = (have: string, need: string): Failure => ({ code: 'JWT_CLAIM', have, need, next: 'The token has another form than the one known; look for a newer version of this verifier.' });

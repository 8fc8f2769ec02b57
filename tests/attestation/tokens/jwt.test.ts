/** D45: form, header, algorithm and key of a service's token; each time one thing is wrong, under a signature that verifies wherever one can. */
import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { b64u, bytes, utf8 } from '../../../attestation/bytes.ts';
import { hasJwtSignature, keyOf, parseJwt } from '../../../attestation/formats/jwt.ts';
import { makeAuthority } from '../../../attestation/platforms/simulated/issue.ts';
import { base64, type Json, jwkOf, keySet, maaPlatformClaims, SIMULATED_MAA_ISSUER, signToken, x5cJwk } from '../../../attestation/platforms/simulated/tokens.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { named } from '../path-support.ts';
import { KEYS, KID, maa, maaKeySet, NOW, otherKey, platformToken, PLATFORM, refused, RUNTIME, serviceKey, sign } from './support.ts';

const claims = () => maaPlatformClaims('sev-snp', RUNTIME, NOW);
const withHeader = async (header: Json) => sign(await claims(), { header });
const withHeaderText = async (headerText: string) => sign(await claims(), { headerText });
const withClaimsText = async (edit: (text: string) => string) => sign({}, { claimsText: edit(JSON.stringify(await claims())) });
const parts = async (edit: (parts: [string, string, string]) => string[]) => edit((await platformToken('sev-snp')).split('.') as [string, string, string]).join('.');

describe('accepted', () => {
  test('the token that every other test changes in one place, as text and as bytes', async () => {
    const token = await platformToken('sev-snp');
    expect((await maa(token)).token).toMatchObject({ kid: KID, issuer: SIMULATED_MAA_ISSUER, issuedAt: NOW, expiresAt: NOW + 28_800, bytes: token.length, chain: null });
    await expect(maa(utf8(token))).resolves.toBeDefined();
  });

  test.each(['jku', 'x5u'])('%s that points to somebody is passed over: the key is the configured issuer\'s', async (name) => {
    await expect(maa(await withHeader({ [name]: 'https://attacker.example/certs' }))).resolves.toBeDefined();
  });

  test('certificates of somebody in the header are passed over: the caller asked for the key set', async () => {
    const key = await otherKey();
    const own = await makeAuthority({ key, subject: named('self'), notBefore: NOW - 9, notAfter: NOW + 9 });
    await expect(maa(await withHeader({ x5c: [base64(own.certificate)] }))).resolves.toBeDefined();
    await refused(maa(await sign(await claims(), { key, header: { x5c: [base64(own.certificate)] } })), 'JWT_SIGNATURE');
  });

  test('no typ; other entries of the key set that are of no use here', async () => {
    await expect(maa(await withHeaderText(`{"alg":"RS256","kid":"${KID}"}`))).resolves.toBeDefined();
    const entries = [{ kty: 'EC', kid: 'ec', crv: 'P-256' }, 'text', null, { kty: 'RSA', kid: 'enc', use: 'enc' }, jwkOf(await serviceKey(), KID)] as Json[];
    await expect(maa(await platformToken('sev-snp'), PLATFORM, { items: [keySet(SIMULATED_MAA_ISSUER, entries, NOW)] })).resolves.toBeDefined();
  });

  test('a key set of certificates, as Azure publishes it', async () => {
    const issued = await makeAuthority({ key: await serviceKey(), subject: named('AttestationServiceCertificate'), notBefore: NOW - 9, notAfter: NOW + 9 });
    const items = [keySet(SIMULATED_MAA_ISSUER, [x5cJwk(issued.certificate, KID)], NOW)];
    await expect(maa(await platformToken('sev-snp'), PLATFORM, { items })).resolves.toBeDefined();
  });
});

describe('algorithm', () => {
  const forged = async (alg: string, mac: (signed: string) => string) => {
    const signed = `${b64u(utf8(JSON.stringify({ alg, typ: 'JWT', kid: KID })))}.${b64u(utf8(JSON.stringify(await claims())))}`;
    return `${signed}.${mac(signed)}`;
  };
  test('none, with and without a signature', async () => {
    for (const alg of ['none', 'None', 'NONE']) await refused(maa(await forged(alg, () => '')), 'JWT_ALG');
    await refused(maa(await forged('none', () => b64u(utf8('x')))), 'JWT_ALG');
    await refused(maa(await forged('RS256', () => '')), 'JWT_FORMAT');
  });
  test('HS256 with the public key as secret: its DER, its PEM, its modulus', async () => {
    const { spki } = await serviceKey();
    const { n } = jwkOf(await serviceKey(), KID) as { n: string };
    const pem = `-----BEGIN PUBLIC KEY-----\n${(base64(spki).match(/.{1,64}/g) ?? []).join('\n')}\n-----END PUBLIC KEY-----\n`;
    for (const secret of [spki, utf8(pem), utf8(n), Buffer.from(n, 'base64url')]) await refused(maa(await forged('HS256', (signed) => createHmac('sha256', secret).update(signed).digest('base64url'))), 'JWT_ALG');
  });
  test.each(['RS384', 'PS256', 'PS384'] as const)('%s by the right key, named or not', async (algorithm) => {
    await refused(maa(await sign(await claims(), { algorithm, header: { alg: algorithm } })), 'JWT_ALG');
    await refused(maa(await sign(await claims(), { algorithm })), 'JWT_SIGNATURE');
  });
  test.each([['absent', undefined], ['a number', 256], ['lower case', 'rs256'], ['a list', ['RS256']]])('alg %s', async (_, alg) => {
    await refused(maa(await withHeader({ alg })), 'JWT_ALG');
  });
});

describe('header', () => {
  test.each<[string, Json]>([
    ['crit', { crit: ['exp'] }], ['crit, empty', { crit: [] }], ['b64', { b64: false }], ['a key', { jwk: { kty: 'RSA' } }], ['zip', { zip: 'DEF' }], ['enc', { enc: 'A256GCM' }], ['cty', { cty: 'JWT' }],
    ['another typ', { typ: 'at+jwt' }], ['typ of another case', { typ: 'jwt' }], ['kid that is no string', { kid: 1 }], ['kid with a control character', { kid: 'a\nb' }], ['kid, long', { kid: 'k'.repeat(257) }],
    ['x5c, text', { x5c: 'AAAA' }], ['x5c, empty', { x5c: [] }], ['x5c, too many', { x5c: Array.from({ length: 9 }, () => 'AAAA') }], ['x5c, base64url', { x5c: ['-_-_'] }], ['x5c, unpadded', { x5c: ['AAA'] }], ['x5c, unused bits', { x5c: ['AAF='] }],
  ])('%s', async (_, header) => { await refused(maa(await withHeader(header)), 'JWT_HEADER'); });
});

/** Where each of them is found out, and as what. */
const WHERE: Readonly<Record<string, string>> = {
  'alg twice in the header': 'token.header: a name twice in one object',
  'alg twice, one escaped': 'token.header: a name twice in one object',
  'a claim twice': 'token.claims: a name twice in one object',
  'a claim twice, further down': 'token.claims: a name twice in one object',
  'a claim twice, behind': 'token.claims: a name twice in one object',
  'claims that are no object': 'token.claims: no object',
  'claims with text behind': 'token.claims: text after the object',
  'claims with a comment': 'token.claims: no JSON at character 0',
  'claims that are no JSON': 'token.claims: no JSON at character',
  'deep nesting': 'token.claims: more than 12 levels',
  'a byte order mark': 'token.claims: no JSON at character 0',
  'two parts': 'token: 2 parts',
  'four parts': 'token: 4 parts',
  'five parts, as of JWE': 'token: 5 parts',
  'padding in the signature': 'token.signature: another spelling',
  'padding in the claims': 'token.claims: another spelling',
  'base64 in place of base64url': 'token.signature: another spelling',
  'white space behind': 'token.signature: another spelling',
  'white space in front': 'token.header: another spelling',
  'white space within': 'token.signature: another spelling',
  'unused bits of the signature': 'token.signature: another spelling',
  'an empty header': 'token.header: no JSON at character 0',
  'too large': 'token:',
};

describe('one spelling', () => {
  const base = `{"alg":"RS256","typ":"JWT","kid":"${KID}"}`;
  test.each<[string, () => Promise<string>]>([
    ['alg twice in the header', () => withHeaderText(base.replace('{', '{"alg":"none",'))],
    ['alg twice, one escaped', () => withHeaderText(base.replace('{', '{"\\u0061lg":"none",'))],
    ['a claim twice', () => withClaimsText((t) => t.replace('{', '{"iss":"https://attacker.example",'))],
    ['a claim twice, further down', () => withClaimsText((t) => t.replace('"secure-boot":true', '"secure-boot":true,"secure-boot":false'))],
    ['a claim twice, behind', () => withClaimsText((t) => t.replace(/\}$/, ',"x-ms-sevsnpvm-is-debuggable":false}'))],
    ['claims that are no object', () => withClaimsText(() => '[]')], ['claims with text behind', () => withClaimsText((t) => `${t}{}`)], ['claims with a comment', () => withClaimsText((t) => `/**/${t}`)],
    ['claims that are no JSON', () => withClaimsText((t) => t.slice(0, -1))], ['deep nesting', () => withClaimsText((t) => t.replace('{', `{"deep":${'['.repeat(40)}${']'.repeat(40)},`))],
    ['a byte order mark', () => withClaimsText((t) => `\ufeff${t}`)],
    ['two parts', () => parts(([h, c]) => [h, c])], ['four parts', () => parts((p) => [...p, ''])], ['five parts, as of JWE', () => parts((p) => [...p, '', ''])],
    ['padding in the signature', () => parts(([h, c, s]) => [h, c, `${s}==`])], ['padding in the claims', () => parts(([h, c, s]) => [h, `${c}=`, s])],
    ['base64 in place of base64url', () => parts(([h, c, s]) => [h, c, `${s.slice(0, -4)}+/+/`])],
    ['white space behind', () => parts(([h, c, s]) => [h, c, `${s}\n`])], ['white space in front', () => parts(([h, c, s]) => [` ${h}`, c, s])], ['white space within', () => parts(([h, c, s]) => [h, c, `${s.slice(0, 10)} ${s.slice(10)}`])],
    // 256 bytes leave four bits of the last character unused: 15 other spellings decode to the same signature elsewhere
    ['unused bits of the signature', () => parts(([h, c, s]) => [h, c, s.slice(0, -1) + String.fromCharCode(s.charCodeAt(s.length - 1) + 1)])],
    ['an empty header', () => parts(([, c, s]) => ['', c, s])], ['too large', () => withClaimsText((t) => t.replace('{', `{"large":"${'x'.repeat(70_000)}",`))],
  ])('%s', async (what, make) => { const { reasons } = await refused(maa(await make()), 'JWT_FORMAT'); expect(reasons.map((r) => `${r.path}: ${r.have}`)).toEqual([expect.stringContaining(WHERE[what] as string)]); });

  test('bytes that are no text', async () => { await refused(maa(bytes([0xff, 0xfe])), 'JWT_FORMAT'); });

  test('claims of the names of an object\'s own are claims', async () => {
    const jwt = parseJwt(await withClaimsText((t) => t.replace('{', '{"toString":1,"constructor":2,"__proto__":{"iss":"x"},')), 'token');
    expect([jwt.claims['toString'], jwt.claims['constructor'], jwt.claims['iss'], jwt.claims['hasOwnProperty']]).toEqual([1, 2, SIMULATED_MAA_ISSUER, undefined]);
  });
});

describe('key', () => {
  const token = () => platformToken('sev-snp');
  test.each<[string, () => Promise<Json[]>, RefusalCode]>([
    ['not in the set', async () => [jwkOf(await serviceKey(), 'other')], 'JWT_KEY'],
    ['its name twice, for two keys', async () => [jwkOf(await serviceKey(), KID), jwkOf(await otherKey(), KID)], 'JWT_KEY'],
    ['its name twice, for one key', async () => [jwkOf(await serviceKey(), KID), jwkOf(await serviceKey(), KID)], 'JWT_KEY'],
    ['another key under this name', async () => [jwkOf(await otherKey(), KID)], 'JWT_SIGNATURE'],
    ['of another kind', async () => [{ kty: 'EC', kid: KID, crv: 'P-256', x: '', y: '' }], 'JWT_KEY'], ['for encryption', async () => [jwkOf(await serviceKey(), KID, { use: 'enc' })], 'JWT_KEY'],
    ['for another algorithm', async () => [jwkOf(await serviceKey(), KID, { alg: 'PS256' })], 'JWT_KEY'], ['with exponent 3', async () => [jwkOf(await serviceKey(), KID, { e: 'Aw' })], 'JWT_KEY'],
    ['a shared secret', async () => [{ kty: 'oct', kid: KID, k: 'AAAA' }], 'JWT_KEY'], ['without numbers', async () => [jwkOf(await serviceKey(), KID, { n: undefined })], 'JWT_KEY'],
    ['with a modulus that is not base64url', async () => [jwkOf(await serviceKey(), KID, { n: 'a=' })], 'JWT_KEY'], ['of 1024 bits', async () => [jwkOf(await serviceKey(), KID, { n: b64u(new Uint8Array(128).fill(0xff)) })], 'CHAIN_ALGORITHM'],
    ['with another key in its certificate', async () => [jwkOf(await serviceKey(), KID, { x5c: [base64((await makeAuthority({ key: await otherKey(), subject: named('x'), notBefore: NOW, notAfter: NOW })).certificate)] })], 'JWT_KEY'],
    ['with a certificate that is none', async () => [{ kty: 'RSA', kid: KID, x5c: ['AAAA'] }], 'FMT_DER'],
  ])('%s', async (_, keys, code) => { await refused(maa(await token(), PLATFORM, { items: [keySet(SIMULATED_MAA_ISSUER, await keys(), NOW)] }), code); });

  test('a token that names none', async () => { await refused(maa(await withHeader({ kid: undefined })), 'JWT_KEY'); });
  test('no key set, one of another issuer, one that came with the evidence', async () => {
    await refused(maa(await token(), PLATFORM, { items: [] }), 'COLLATERAL_ABSENT');
    await refused(maa(await token(), PLATFORM, { items: [keySet('https://other.invalid', [jwkOf(await serviceKey(), KID)], NOW)] }), 'COLLATERAL_ABSENT');
    const refusal = await refused(maa(await token(), PLATFORM, { items: [keySet(SIMULATED_MAA_ISSUER, [jwkOf(await serviceKey(), KID)], NOW, 'evidence')] }), 'COLLATERAL_ABSENT');
    expect(refusal.reasons[0]?.path).toBe(`collateral.jwks/${SIMULATED_MAA_ISSUER}`);
  });
  test.each([['an HTML page', '<html>'], ['an empty set', '{"keys":[]}'], ['no list', '{"keys":{}}'], ['keys twice', '{"keys":[1],"keys":[2]}']])('%s in place of the set', async (_, text) => {
    await refused(maa(await token(), PLATFORM, { items: [keySet(SIMULATED_MAA_ISSUER, text, NOW)] }), 'COLLATERAL_FORMAT');
  });
  test('signatures: of RSA-3072 and 4096 hold, of a key that is no key do not', async () => {
    for (const type of ['RSA-3072', 'RSA-4096'] as const) {
      const key = await KEYS.get(type, 'service');
      const jwt = parseJwt(await signToken({ iss: 'x' }, { key }), 'token');
      expect([await hasJwtSignature(jwt, key.spki), await hasJwtSignature(jwt, (await serviceKey()).spki), await hasJwtSignature(jwt, bytes([1, 2, 3]))]).toEqual([true, false, false]);
      expect(keyOf(utf8(JSON.stringify({ keys: [jwkOf(key, 'k')] })), 'k', 'set').spki).toEqual(key.spki);
    }
    expect((await maaKeySet()).bytes.length).toBeGreaterThan(100);
  });
});

describe('issuer and times', () => {
  test.each([['another one', 'https://attacker.example'], ['a longer one', `${SIMULATED_MAA_ISSUER}.evil.example`], ['with a slash', `${SIMULATED_MAA_ISSUER}/`], ['another case', SIMULATED_MAA_ISSUER.toUpperCase()], ['none', undefined], ['a list', [SIMULATED_MAA_ISSUER]]])('issuer: %s', async (_, iss) => {
    await refused(maa(await platformToken('sev-snp', { iss })), 'JWT_ISSUER');
  });
  test.each<[string, Json, number, RefusalCode | undefined]>([
    ['exp: 60 s ago', { exp: NOW - 60, iat: NOW - 99 }, 0, undefined], ['exp: 61 s ago', { exp: NOW - 61, iat: NOW - 99 }, 0, 'JWT_EXPIRED'],
    ['nbf: in 60 s', { nbf: NOW + 60 }, 0, undefined], ['nbf: in 61 s', { nbf: NOW + 61 }, 0, 'JWT_NOT_YET_VALID'], ['iat: in 60 s', { iat: NOW + 60 }, 0, undefined], ['iat: in 61 s', { iat: NOW + 61 }, 0, 'JWT_NOT_YET_VALID'],
    ['age: 300 s', {}, 300, undefined], ['age: 301 s', {}, 301, 'STALE'],
    ['exp absent', { exp: undefined }, 0, 'JWT_CLAIM'], ['nbf absent', { nbf: undefined }, 0, 'JWT_CLAIM'], ['iat absent', { iat: undefined }, 0, 'JWT_CLAIM'], ['exp as text', { exp: String(NOW + 60) }, 0, 'JWT_CLAIM'], ['exp as a fraction', { exp: NOW + 0.5 }, 0, 'JWT_CLAIM'],
    ['exp in milliseconds of a far time', { exp: 1e14 }, 0, 'JWT_CLAIM'], ['iat negative', { iat: -1 }, 0, 'JWT_CLAIM'],
  ])('%s', async (_, change, later, code) => {
    const work = maa(await platformToken('sev-snp', change), PLATFORM, { at: NOW + later });
    if (code === undefined) await expect(work).resolves.toBeDefined();
    else await refused(work, code);
  });
  test('an age limit that is no number refuses', async () => { await refused(maa(await platformToken('sev-snp'), { ...PLATFORM, maxAgeSeconds: Number.NaN }), 'STALE'); });
});

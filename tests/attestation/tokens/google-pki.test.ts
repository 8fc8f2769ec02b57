/** Confidential Space's PKI tokens: certificates in the header, under a test root; one thing is wrong each time. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { TrustContext } from '../../../attestation/adapter.ts';
import { hex } from '../../../attestation/bytes.ts';
import { parseCertificate } from '../../../attestation/formats/x509.ts';
import { type AuthorityOptions, keyIdOf, keyUsage, makeCrl } from '../../../attestation/platforms/simulated/issue.ts';
import { unknownExtension } from '../../../attestation/platforms/simulated/pki.ts';
import { base64, type GooglePki, type Json, makeGooglePki, signToken } from '../../../attestation/platforms/simulated/tokens.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { googleServiceClaims } from '../../../attestation/services/google.ts';
import { google, GOOGLE, KEYS, NOW, otherKey, pkiToken, refused, verify } from './support.ts';

let good: GooglePki;
beforeAll(async () => { good = await makeGooglePki(NOW, {}, KEYS); });

const lax = (p: GooglePki, change: Partial<TrustContext> = {}): Partial<TrustContext> => ({ roots: [p.trustRoot], revocation: 'ifAvailable', ...change });
const run = (token: string, p: GooglePki = good, change: Partial<TrustContext> = {}) => verify(token, GOOGLE, { items: [], trust: lax(p, change) }, 'pki');
const changed = (level: 'root' | 'intermediate' | 'leaf', change: Partial<AuthorityOptions>) => makeGooglePki(NOW, { [level]: change }, KEYS);

describe('accepted', () => {
  test('the token that every other test changes in one place', async () => {
    const facts = await run(await pkiToken(good));
    expect(facts.token).toMatchObject({ kid: 'leaf', chain: { root: good.trustRoot, leafSerial: parseCertificate(good.leaf.certificate, 'leaf').serial, revocation: 'unchecked' } });
    expect(googleServiceClaims(facts)).toMatchObject({ mode: 'pki', anchor: 'development' });
    expect(parseCertificate(good.leaf.certificate, 'leaf').keyUsage).toBeNull();
  });
  test('without kid: the certificate names the key', async () => { await expect(run(await pkiToken(good, {}, { kid: undefined }))).resolves.toMatchObject({ mode: 'pki' }); });
  test('with the revocation list of the root', async () => {
    const crl = await makeCrl({ issuer: good.root, thisUpdate: NOW - 9, nextUpdate: NOW + 9 });
    const items = [{ kind: 'google-crl' as const, key: hex(await keyIdOf(good.root.key.spki)), bytes: crl, source: 'offline' as const, fetchedAt: NOW }];
    const facts = await verify(await pkiToken(good), GOOGLE, { items, trust: { roots: [good.trustRoot] } }, 'pki');
    expect(facts.token.chain?.revocation).toBe('good');
    expect(facts.token.collateral).toMatchObject([{ kind: 'google-crl', source: 'offline' }]);
    const revoked = [{ ...items[0] as (typeof items)[0], bytes: await makeCrl({ issuer: good.root, thisUpdate: NOW - 9, nextUpdate: NOW + 9, revoked: [good.intermediate] }) }];
    await refused(verify(await pkiToken(good), GOOGLE, { items: revoked, trust: { roots: [good.trustRoot] } }, 'pki'), 'REVOKED', 'JWT_KEY');
  });
});

describe('refused', () => {
  test('no list where lists are required', async () => { await refused(verify(await pkiToken(good), GOOGLE, { items: [], trust: { roots: [good.trustRoot] } }, 'pki'), 'CRL_ABSENT', 'JWT_KEY'); });
  test.each<[string, () => Promise<Json>, RefusalCode[]]>([
    ['a certificate of its own', async () => ({ x5c: [base64((await makeGooglePki(NOW, { leaf: { pathLen: null } }, KEYS)).root.certificate)] }), ['CHAIN_ROOT_UNPINNED', 'JWT_KEY']],
    ['no certificates', async () => ({ x5c: undefined }), ['JWT_KEY']], ['no root', async () => ({ x5c: good.x5c.slice(0, 2) }), ['CHAIN_ROOT_UNPINNED', 'JWT_KEY']], ['no intermediate', async () => ({ x5c: [good.x5c[0], good.x5c[2]] }), ['CHAIN_ORDER', 'JWT_KEY']],
    ['root first', async () => ({ x5c: [...good.x5c].reverse() }), ['CHAIN_ROOT_UNPINNED', 'JWT_KEY']], ['one more than needed', async () => ({ x5c: [...good.x5c, base64((await makeGooglePki(NOW, {}, KEYS)).intermediate.certificate)] }), ['CHAIN_LEN', 'JWT_KEY']],
    ['bytes that are no certificate', async () => ({ x5c: ['AAAA', ...good.x5c.slice(1)] }), ['FMT_DER', 'JWT_KEY']],
  ])('%s', async (_, header, codes) => { await refused(run(await pkiToken(good, {}, await header())), ...codes); });

  test.each<[string, 'root' | 'intermediate' | 'leaf', Partial<AuthorityOptions>, RefusalCode]>([
    ['leaf expired a second ago', 'leaf', { notAfter: NOW - 1 }, 'CHAIN_EXPIRED'], ['leaf of tomorrow', 'leaf', { notBefore: NOW + 86_400 }, 'CHAIN_NOT_YET_VALID'], ['intermediate expired', 'intermediate', { notAfter: NOW - 1 }, 'CHAIN_EXPIRED'], ['root expired', 'root', { notAfter: NOW - 1 }, 'CHAIN_EXPIRED'],
    ['leaf that is a CA', 'leaf', { pathLen: 'unlimited', change: {} }, 'CHAIN_CA'], ['intermediate that is none', 'intermediate', { pathLen: null, keyUsage: ['keyCertSign'] }, 'CHAIN_CA'], ['intermediate that may not sign certificates', 'intermediate', { keyUsage: ['cRLSign'] }, 'CHAIN_KEY_USAGE'],
    ['leaf for encryption', 'leaf', { change: {}, keyUsage: ['keyEncipherment'] }, 'CHAIN_KEY_USAGE'], ['root without room', 'root', { pathLen: 0 }, 'CHAIN_PATHLEN'],
    ['critical extension in the leaf', 'leaf', { change: {}, extensions: [unknownExtension(true)] }, 'CHAIN_CRITICAL_EXTENSION'],
  ])('%s', async (what, level, change, code) => {
    const p = await changed(level, change);
    const codes: RefusalCode[] = what === 'leaf that is a CA' ? ['CHAIN_KEY_USAGE', code] : [code];
    await refused(run(await pkiToken(p), p), ...codes, 'JWT_KEY');
  });

  test('a leaf that another key signed; an intermediate of another root', async () => {
    const p = await changed('leaf', { signWith: await otherKey() });
    await refused(run(await pkiToken(p), p), 'CHAIN_SIGNATURE', 'JWT_KEY');
    const q = await changed('intermediate', { signWith: await otherKey() });
    await refused(run(await pkiToken(q), q), 'CHAIN_SIGNATURE', 'JWT_KEY');
  });
  test('a leaf of an EC key', async () => {
    const p = await makeGooglePki(NOW, { leaf: { key: await KEYS.get('P-256', 'cs'), change: { extensions: [keyUsage(['digitalSignature'])] } } }, KEYS);
    await refused(run(await signToken(google(), { key: await otherKey(), header: { x5c: p.x5c } }), p), 'CHAIN_ALGORITHM', 'JWT_KEY');
  });
  test('a signature by another key than the leaf\'s', async () => { await refused(run(await signToken(google(), { key: await otherKey(), header: { x5c: good.x5c } })), 'JWT_SIGNATURE'); });
  test('a root pinned for another purpose, or with another key', async () => {
    await refused(run(await pkiToken(good), good, { roots: [{ ...good.trustRoot, purpose: 'gce-tcb' }] }), 'CHAIN_ROOT_UNPINNED', 'JWT_KEY');
    await refused(run(await pkiToken(good), good, { roots: [{ ...good.trustRoot, spkiSha256: '00'.repeat(32) }] }), 'CHAIN_ROOT_UNPINNED', 'JWT_KEY');
    await refused(run(await pkiToken(good), good, { roots: [] }), 'CHAIN_ROOT_UNPINNED', 'JWT_KEY');
  });
  test('a certificate that the operator denies', async () => {
    const leaf = parseCertificate(good.leaf.certificate, 'leaf');
    await refused(run(await pkiToken(good), good, { revoked: [{ issuer: leaf.issuerText, serial: leaf.serial }] }), 'REVOKED', 'JWT_KEY');
  });
  test('the caller names the mode: certificates do not count where a key set is asked for, nor the other way round', async () => {
    await refused(verify(await pkiToken(good), GOOGLE, { trust: lax(good) }, 'oidc'), 'JWT_KEY');
    await refused(run(await signToken(google(), { key: await otherKey(), header: { kid: 'x' } })), 'JWT_KEY');
  });
});

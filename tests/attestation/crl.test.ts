/** Revocation lists: form, authenticity, dates, and what they do to a path. AMD's and most others are simulated; Intel's and Google's are genuine too. */
import { fromBER } from 'asn1js';
import fc from 'fast-check';
import { CertificateRevocationList } from 'pkijs';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, fromHex, hex } from '../../attestation/bytes.ts';
import { ChainCache } from '../../attestation/chain-cache.ts';
import { parseCrl } from '../../attestation/formats/crl.ts';
import { OID } from '../../attestation/formats/oid.ts';
import { readPem } from '../../attestation/formats/pem.ts';
import { parseCertificate, SIGNATURE_ALGORITHMS, verifySignature } from '../../attestation/formats/x509.ts';
import type { PathRequest } from '../../attestation/path.ts';
import { integer, oid, sequence } from '../../attestation/platforms/simulated/der-writer.ts';
import { ALGORITHMS, authorityKeyIdentifier, type CrlOptions, makeCrl } from '../../attestation/platforms/simulated/issue.ts';
import { unknownExtension } from '../../attestation/platforms/simulated/pki.ts';
import { Refusal, type RefusalCode } from '../../attestation/refusal.ts';
import { NO_OPENSSL, openssl } from './openssl-support.ts';
import { DAY, KEYS, lastByteFlipped, named, pki, type Pki, requestOf, verdict } from './path-support.ts';
import { filled, NO_VECTORS, NOW, refused, vector } from './support.ts';
import { cpuMs } from '../cpu.ts';

let good: Pki;
let root: Bytes;
let ca: Bytes;
const WEEK = { thisUpdate: NOW - DAY, nextUpdate: NOW + 6 * DAY };
beforeAll(async () => {
  good = await pki();
  root = await makeCrl({ issuer: good.root, ...WEEK });
  ca = await makeCrl({ issuer: good.intermediate, ...WEEK, number: 300, revoked: [{ serial: bytes([1]), revokedAt: NOW - 2 * DAY, reason: 6 }, { serial: filled(20, 0x7f), revokedAt: NOW }] });
});

const judged = async (change: Partial<PathRequest>, p = good) => verdict(await requestOf(p, { requireCrl: 'require', ...change }));
const list = (issuer: keyof Pki, options: Partial<CrlOptions> = {}) => makeCrl({ issuer: good[issuer], ...WEEK, ...options });

describe('form', () => {
  test('what a list says', async () => {
    const crl = parseCrl(ca, 'crl');
    expect(crl).toMatchObject({ issuerText: 'CN=intermediate,O=Test,C=US', ...WEEK, number: '12c', algorithm: 'ES256' });
    expect([...crl.revoked.values()]).toEqual([{ serial: '1', revokedAt: NOW - 2 * DAY, reason: 6 }, { serial: '7f'.repeat(20), revokedAt: NOW, reason: null }]);
    expect(crl.authorityKeyId?.keyId).toBe(parseCertificate(good.intermediate.certificate, 'i').subjectKeyId);
    expect(parseCrl(root, 'crl').revoked.size).toBe(0);
  });

  const critical = (id: string) => ({ id, critical: true, value: integer(bytes([1])) });
  const entry = { serial: bytes([1]), revokedAt: NOW };
  const cases: [string, Partial<CrlOptions>][] = [
    ['version 1', { change: { version: 0 } }], ['version 3', { change: { version: 2 } }], ['no nextUpdate', { change: { nextUpdate: null } }], ['no extensions', { change: { extensions: [] } }],
    ['a delta', { change: { extensions: [critical('2.5.29.27')] } }], ['a partition', { change: { extensions: [critical('2.5.29.28')] } }], ['an extension twice', { change: { extensions: [unknownExtension(false), unknownExtension(false)] } }],
    ['an indirect entry', { revoked: [{ ...entry, extensions: [critical('2.5.29.29')] }] }], ['an entry of an unknown critical extension', { revoked: [{ ...entry, extensions: [unknownExtension(true)] }] }],
    ['an entry removed', { revoked: [{ ...entry, reason: 8 }] }], ['a reason that is none', { revoked: [{ ...entry, reason: 11 }] }], ['a serial of 21 bytes', { revoked: [{ ...entry, serial: filled(21, 1) }] }],
    ['an unknown algorithm', { change: { innerAlgorithm: sequence(oid('1.2.840.113549.1.1.5'), bytes([5, 0])), outerAlgorithm: sequence(oid('1.2.840.113549.1.1.5'), bytes([5, 0])) } }],
    ['two algorithms', { change: { outerAlgorithm: ALGORITHMS.ES384 } }],
  ];
  test.each(cases)('refused: %s', async (_, options) => {
    const der = await list('root', options);
    await refused(() => parseCrl(der, 'crl'), 'CRL_FORMAT');
    expect((await judged({ crls: [der, ca] })).codes).toContain('CRL_FORMAT');
  });

  test('refused: bytes that are no list (D14)', async () => {
    for (const der of [bytes([]), filled(64, 0x30), good.root.certificate, bytes(Buffer.from('<html>404</html>')), bytes([...ca, 0])]) await refused(() => parseCrl(der, 'crl'), 'CRL_FORMAT');
  });

  test('every flip and cut: read, or refused with the one code', () => {
    for (let i = 0; i < ca.length; i++) {
      expect(() => parseCrl(ca.slice(0, i), 'crl')).toThrow(Refusal);
      for (const mask of [0x01, 0x20, 0x80, 0xff]) {
        const changed = bytes(ca);
        changed[i] = (changed[i] as number) ^ mask;
        try {
          parseCrl(changed, 'crl');
        } catch (error) {
          expect((error as Refusal).codes).toEqual(['CRL_FORMAT']);
        }
      }
    }
  });

  test('random entries come back, whatever signs them', async () => {
    const serials = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((s) => bytes(s));
    await fc.assert(fc.asyncProperty(fc.array(fc.record({ serial: serials, revokedAt: fc.integer({ min: 0, max: 4e9 }), reason: fc.constantFrom(0, 1, 3, 6, 9, 10) }), { maxLength: 40 }), async (revoked) => {
      const crl = parseCrl(await list('root', { revoked }), 'crl');
      const unique = new Map([...revoked].reverse().map((r) => [hex(r.serial).replace(/^0+(?=.)/, ''), r]));
      expect(crl.revoked.size).toBe(unique.size);
      for (const [serial, { revokedAt, reason }] of unique) expect(crl.revoked.get(serial)).toEqual({ serial, revokedAt, reason });
    }), { numRuns: 40 });
  });

  test('twenty thousand entries in bounded time', async () => {
    const revoked = Array.from({ length: 20_000 }, (_, i) => ({ serial: bytes([1, i >> 16, (i >> 8) & 255, i & 255]), revokedAt: NOW }));
    const der = await list('root', { revoked });
    const start = cpuMs();
    expect(parseCrl(der, 'crl').revoked.size).toBe(20_000);
    expect(cpuMs() - start).toBeLessThan(3000);
  });
});

describe('in a path', () => {
  test('each certificate is covered: revocation is good, and the lists are facts', async () => {
    const { path, checks } = await judged({ crls: [root, ca] });
    expect(path?.revocation).toBe('good');
    expect(path?.crls.map((c) => [c.issuer, c.number, c.stale])).toEqual([['CN=intermediate,O=Test,C=US', '12c', false], ['CN=root,O=Test,C=US', '1', false]]);
    expect(checks.done.filter((c) => c.id.startsWith('TEST-CRL')).every((c) => c.result === 'pass')).toBe(true);
    expect((await judged({ crls: [parseCrl(root, 'r'), ca] })).path?.revocation).toBe('good');
  });

  const cases: [what: string, crls: () => Promise<Bytes[]>, code: RefusalCode, at: string][] = [
    ['none', async () => [ca], 'CRL_ABSENT', 'leaf.issuers[1].serialNumber'],
    ['the leaf\'s is absent', async () => [root], 'CRL_ABSENT', 'leaf.serialNumber'],
    ['an empty one of another issuer (D14)', async () => [ca, await list('root', { change: { issuer: named('stranger') } })], 'CRL_ABSENT', 'leaf.issuers[1].serialNumber'],
    ['a leaf revoked', async () => [root, await list('intermediate', { revoked: [good.leaf] })], 'REVOKED', 'leaf.serialNumber'],
    ['an intermediate revoked (D31)', async () => [ca, await list('root', { revoked: [good.intermediate] })], 'REVOKED', 'leaf.issuers[1].serialNumber'],
    ['a leaf on hold', async () => [root, await list('intermediate', { revoked: [{ serial: good.leaf.template.serial, revokedAt: NOW - 1, reason: 6 }] })], 'REVOKED', 'leaf.serialNumber'],
    ['expired', async () => [ca, await list('root', { nextUpdate: NOW - 1 })], 'CRL_EXPIRED', 'leaf.crls[1].nextUpdate'],
    ['not begun', async () => [ca, await list('root', { thisUpdate: NOW + 61 })], 'CRL_NOT_YET_VALID', 'leaf.crls[1].thisUpdate'],
    ['signed by another key', async () => [ca, await list('root', { signWith: good.leaf.key })], 'CRL_SIGNATURE', 'leaf.crls[1].signature'],
    ['signed by the intermediate in the root\'s name (D31)', async () => [ca, await list('root', { signWith: good.intermediate.key })], 'CRL_SIGNATURE', 'leaf.crls[1].signature'],
    ['one bit of the signature', async () => [ca, lastByteFlipped(root)], 'CRL_SIGNATURE', 'leaf.crls[1].signature'],
  ];
  test.each(cases)('refused alone: %s', async (_, crls, code, at) => {
    const { codes, refusal } = await judged({ crls: await crls() });
    expect(codes).toEqual([code]);
    expect(refusal?.reasons[0]?.path).toBe(at);
  });

  test('an algorithm that the path does not allow', async () => {
    const key = await KEYS.get('RSA-2048', 'root');
    const p = await pki({ root: { key }, intermediate: { algorithm: 'PS384' } });
    const crls = [await makeCrl({ issuer: p.root, ...WEEK, algorithm: 'RS256' }), await makeCrl({ issuer: p.intermediate, ...WEEK })];
    expect((await judged({ crls, algorithms: ['ES256', 'PS384'] }, p)).codes).toEqual(['CRL_SIGNATURE']);
    expect((await judged({ crls, algorithms: ['ES256', 'PS384', 'RS256'] }, p)).codes).toEqual([]);
  });

  test('an issuer that may not sign lists; a list of the issuer\'s other key', async () => {
    const p = await pki({ root: { keyUsage: ['keyCertSign'] } });
    const crls = [await makeCrl({ issuer: p.root, ...WEEK }), await makeCrl({ issuer: p.intermediate, ...WEEK })];
    expect((await judged({ crls }, p)).codes).toEqual(['CRL_ISSUER']);
    const other = await list('root', { change: { extensions: [{ id: OID.crlNumber, critical: false, value: integer(bytes([1])) }, authorityKeyIdentifier(filled(20, 9))] } });
    expect((await judged({ crls: [ca, other] })).codes).toEqual(['CRL_ISSUER']);
  });

  test('the edges of the dates, skew and grace', async () => {
    for (const [at, grace, codes] of [[WEEK.nextUpdate, 0, []], [WEEK.nextUpdate + 1, 0, ['CRL_EXPIRED']], [WEEK.nextUpdate + 10, 10, []], [WEEK.nextUpdate + 11, 10, ['CRL_EXPIRED']], [WEEK.thisUpdate - 60, 0, []], [WEEK.thisUpdate - 61, 0, ['CRL_NOT_YET_VALID']]] as const) {
      const p = await pki({ root: { notAfter: NOW + 30 * DAY, notBefore: NOW - 30 * DAY }, intermediate: { notAfter: NOW + 30 * DAY, notBefore: NOW - 30 * DAY }, leaf: { notAfter: NOW + 30 * DAY, notBefore: NOW - 30 * DAY } });
      const { codes: have, path } = await judged({ crls: [await makeCrl({ issuer: p.root, ...WEEK }), await makeCrl({ issuer: p.intermediate, ...WEEK })], at, crlGraceSeconds: grace }, p);
      expect(have).toEqual(codes);
      if (grace > 0 && path !== undefined) expect(path.crls.every((c) => c.stale)).toBe(true);
    }
  });

  test('if available: nothing is required, but what is there must hold', async () => {
    const requireCrl = 'ifAvailable';
    expect((await judged({ requireCrl })).path?.revocation).toBe('unchecked');
    const half = await judged({ requireCrl, crls: [root] });
    expect(half.path?.revocation).toBe('unchecked');
    expect(half.checks.done).toContainEqual({ id: 'TEST-CRL-PRESENT', result: 'skipped-by-policy', evidenceRef: 'leaf.serialNumber' });
    expect((await judged({ requireCrl, crls: [ca] })).checks.done).toContainEqual({ id: 'TEST-CRL-PRESENT', result: 'skipped-by-policy', evidenceRef: 'leaf.issuers[].serialNumber' });
    expect((await judged({ requireCrl, crls: [root, ca] })).path?.revocation).toBe('good');
    expect((await judged({ requireCrl, crls: [filled(9, 1)] })).codes).toEqual(['CRL_FORMAT']);
    expect((await judged({ requireCrl, crls: [await list('intermediate', { revoked: [good.leaf] })] })).codes).toEqual(['REVOKED']);
    expect((await judged({ requireCrl, crls: [lastByteFlipped(root)] })).codes).toEqual(['CRL_SIGNATURE']);
  });

  test('intermediates only, as AMD publishes', async () => {
    const crlScope = 'intermediates';
    expect((await judged({ crlScope, crls: [root] })).path?.revocation).toBe('good');
    expect((await judged({ crlScope, crls: [ca] })).codes).toEqual(['CRL_ABSENT']);
    expect((await judged({ crlScope, crls: [root, await list('intermediate', { revoked: [good.leaf] })] })).codes).toEqual(['REVOKED']);
  });

  test('off: lists are not looked at, and the acceptance says so', async () => {
    const { path, checks } = await judged({ requireCrl: 'off', crls: [filled(9, 1)] });
    expect(path?.revocation).toBe('unchecked');
    expect(checks.done.find((c) => c.id === 'TEST-CRL')?.result).toBe('skipped-by-policy');
  });

  test('a revocation in any of several lists counts; a cache changes nothing', async () => {
    const cache = new ChainCache();
    const newer = await list('intermediate', { number: 301, revoked: [good.leaf] });
    for (let round = 0; round < 2; round++) {
      expect((await judged({ cache, crls: [root, ca] })).path?.revocation).toBe('good');
      expect((await judged({ cache, crls: [root, ca, newer] })).codes).toEqual(['REVOKED']);
      expect((await judged({ cache, crls: [lastByteFlipped(root), ca] })).codes).toEqual(['CRL_SIGNATURE']);
    }
    expect(cache.size).toBe(4);
  });
});

const GENUINE = ['intel-tdx/attestation-rs/collateral/pck_crl_platform.der', 'intel-tdx/attestation-rs/collateral/root_ca_crl.der', 'intel-tdx/teekit/intel-sampleapp/intermediateCaCrl.der', 'intel-tdx/teekit/intel-sampleapp/rootCaCrl.der', 'intel-tdx/go-tdx-guest/pcs/pckcrl', 'intel-tdx/go-tdx-guest/pcs/rootcrl.der', 'gcp-vtpm/salrashid123/intermediate.crl.der'];
const COLLATERAL = ['intel-tdx/dcap-qvl/sgx-v3.collateral.json', 'intel-tdx/dcap-qvl/tdx-v4.collateral.json', 'intel-tdx/go-tdx-guest/prod-spr-e4-v4.collateral.json', 'intel-tdx/flashbots/gcp-v4-1766059550.collateral.json', 'azure-cvm/flashbots/1764662251.collateral.json', 'intel-tdx/openenclave/v5.collateral.json'];
/** Hex DER in collateral JSON: a CertificateList has a version INTEGER 1 at the start of its inner sequence. */
const hexLists = (file: string): Bytes[] => [...Buffer.from(vector(file)).toString('latin1').matchAll(/"(308?[0-9a-fA-F]{100,})"/g)].map((m) => fromHex((m[1] as string).toLowerCase())).filter((der) => hex(der.subarray(0, 16)).includes('020101'));
const genuine = (): Bytes[] => (NO_VECTORS ? [] : [...GENUINE.map(vector), ...COLLATERAL.flatMap(hexLists)]);

describe('against other readers', () => {
  test.skipIf(NO_VECTORS)('genuine lists are among them', () => expect(genuine().length).toBeGreaterThan(14));

  test.skipIf(NO_OPENSSL)('openssl and pkijs say the same', async () => {
    const own = await Promise.all(SIGNATURE_ALGORITHMS.map(async (algorithm) => {
      const key = algorithm === 'ES256' ? good.root.key : await KEYS.get(algorithm === 'ES384' ? 'P-384' : 'RSA-2048', 'root');
      return makeCrl({ issuer: { ...good.root, key }, ...WEEK, algorithm, revoked: [good.leaf, good.intermediate] });
    }));
    for (const der of [root, ca, ...own, ...genuine()]) {
      const ours = parseCrl(der, 'crl');
      const text = openssl(['crl', '-inform', 'DER', '-in', '{crl}', '-noout', '-issuer', '-lastupdate', '-nextupdate', '-crlnumber', '-nameopt', 'RFC2253', '-text'], { crl: der });
      const field = (label: string) => new RegExp(`^${label}=(.*)$`, 'm').exec(text)?.[1] ?? '';
      expect(field('issuer')).toBe(ours.issuerText);
      expect([Date.parse(field('lastUpdate')) / 1000, Date.parse(field('nextUpdate')) / 1000]).toEqual([ours.thisUpdate, ours.nextUpdate]);
      expect(Number(field('crlNumber')).toString(16)).toBe(ours.number);
      expect([...text.matchAll(/Serial Number: (\S+)/g)].map((m) => (m[1] as string).toLowerCase().replace(/^0+(?=.)/, ''))).toEqual([...ours.revoked.keys()]);
      const theirs = new CertificateRevocationList({ schema: fromBER(der).result });
      expect(hex(new Uint8Array(theirs.tbsView))).toBe(hex(ours.tbs));
      expect((theirs.revokedCertificates ?? []).map((r) => [hex(new Uint8Array(r.userCertificate.valueBlock.valueHexView)).replace(/^0+(?=.)/, ''), r.revocationDate.value.getTime() / 1000])).toEqual([...ours.revoked.values()].map((r) => [r.serial, r.revokedAt]));
    }
  });

  test.skipIf(NO_VECTORS)('Intel\'s lists verify under the issuers in their chains', async () => {
    const chain = readPem(vector('intel-tdx/go-tdx-guest/pcs/pck-crl-issuer-chain.pem'), 'CERTIFICATE', 'chain', 2).map((der) => parseCertificate(der, 'c'));
    const verified = await Promise.all(genuine().map(async (der) => {
      const crl = parseCrl(der, 'crl');
      return Promise.all(chain.map((issuer) => verifySignature(issuer, crl.algorithm, crl.signature, crl.tbs)));
    }));
    expect(verified.filter(([platform]) => platform).length).toBeGreaterThan(3);
    expect(verified.filter(([, rootCa]) => rootCa).length).toBeGreaterThan(3);
  });
});

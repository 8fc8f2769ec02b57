/** Paths to pinned roots: each check fails alone, under signatures that verify. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat } from '../../attestation/bytes.ts';
import { ChainCache } from '../../attestation/chain-cache.ts';
import { OID } from '../../attestation/formats/oid.ts';
import { type Certificate, parseCertificate } from '../../attestation/formats/x509.ts';
import type { PathRequest } from '../../attestation/path.ts';
import { PathMemo } from '../../attestation/path-memo.ts';
import { derSignature } from '../../attestation/platforms/simulated/keys.ts';
import { basicConstraints, extendedKeyUsage, type Issued, keyUsage, makeAuthority } from '../../attestation/platforms/simulated/issue.ts';
import { unknownExtension } from '../../attestation/platforms/simulated/pki.ts';
import { bits, sequence } from '../../attestation/platforms/simulated/der-writer.ts';
import { children, readDer } from '../../attestation/formats/der.ts';
import type { RefusalCode } from '../../attestation/refusal.ts';
import { DAY, KEYS, lastByteFlipped, named, pin, pki, type Pki, type PkiChange, requestOf, verdict } from './path-support.ts';
import { NOW } from './support.ts';
import { cpuMs } from '../cpu.ts';

let good: Pki;
beforeAll(async () => { good = await pki(); });

/** `level` with these extensions and no other. */
const only = (level: keyof Pki, ...extensions: ReturnType<typeof keyUsage>[]): PkiChange => ({ [level]: { change: { extensions } } });

describe('accepted', () => {
  test('a path, with its facts and every check', async () => {
    const { path, checks } = await verdict(await requestOf(good));
    expect(path).toMatchObject({ root: { name: 'test root' }, notBefore: NOW - DAY, notAfter: NOW + DAY, revocation: 'unchecked', crls: [] });
    expect(path?.certificates.map((c) => c.commonName)).toEqual(['leaf', 'intermediate', 'root']);
    expect(path?.leaf).toBe(path?.certificates[0]);
    const ids = checks.done.map((c) => `${c.id} ${c.result} ${c.evidenceRef}`);
    for (const id of ['CHAIN-ROOT', 'CHAIN-LENGTH', 'CHAIN-UNUSED', 'CHAIN-CA', 'CHAIN-PATHLEN', 'CHAIN-KEY-USAGE', 'CHAIN-SIGNATURE', 'CHAIN-LINK', 'CHAIN-KEY-ID', 'CHAIN-ALGORITHM', 'CHAIN-CRITICAL', 'CHAIN-NOT-BEFORE', 'CHAIN-NOT-AFTER', 'CHAIN-REVOKED', 'LEAF-CA', 'LEAF-KEY', 'LEAF-KEY-USAGE']) {
      expect(ids.some((c) => c.startsWith(`TEST-${id} pass `)), id).toBe(true);
    }
    expect(ids).toContain('TEST-CRL skipped-by-policy leaf.crls');
  });

  test('in any order, parsed before or not', async () => {
    const shuffled = await requestOf(good, { intermediates: [good.root.certificate, parseCertificate(good.intermediate.certificate, 'i')], leaf: parseCertificate(good.leaf.certificate, 'l') });
    expect((await verdict(shuffled)).path?.certificates).toHaveLength(3);
  });

  test('a leaf of the root itself', async () => {
    const leaf = await makeAuthority({ key: good.leaf.key, subject: named('leaf'), issuer: good.root, pathLen: null, notBefore: NOW, notAfter: NOW });
    expect((await verdict(await requestOf(good, { leaf: leaf.certificate, intermediates: [good.root.certificate] }))).path?.certificates).toHaveLength(2);
  });

  test('the edges of validity, and a start within the skew', async () => {
    for (const [at, codes] of [[NOW - DAY, []], [NOW + DAY, []], [NOW - DAY - 60, []], [NOW - DAY - 61, ['CHAIN_NOT_YET_VALID']], [NOW + DAY + 1, ['CHAIN_EXPIRED']]] as const) {
      expect((await verdict(await requestOf(good, { at }))).codes).toEqual(codes);
    }
    expect((await verdict(await requestOf(good, { at: NOW - DAY - 1, skewSeconds: 0 }))).codes).toEqual(['CHAIN_NOT_YET_VALID']);
  });

  test('critical extensions that the caller judges, and a critical purpose that is asked for', async () => {
    const p = await pki({ leaf: { extensions: [unknownExtension(true), extendedKeyUsage([OID.tpmAttestationKey], true)] } });
    const leafProfile = { keys: ['P-256'], keyUsage: ['digitalSignature'], extendedKeyUsage: OID.tpmAttestationKey } as const;
    expect((await verdict(await requestOf(p, { handledCriticalExtensions: [unknownExtension(true).id], leafProfile }))).codes).toEqual([]);
    expect((await verdict(await requestOf(p, { leafProfile }))).codes).toEqual(['CHAIN_CRITICAL_EXTENSION']);
    expect((await verdict(await requestOf(p, { handledCriticalExtensions: [unknownExtension(true).id] }))).codes).toEqual(['CHAIN_CRITICAL_EXTENSION']);
  });

  test('a leaf without keyUsage where the profile says so', async () => {
    const p = await pki(only('leaf', basicConstraints(false)));
    const profile = { keys: ['P-256'], keyUsage: ['digitalSignature'] } as const;
    expect((await verdict(await requestOf(p, { leafProfile: { ...profile, keyUsageAbsent: 'allow' } }))).codes).toEqual([]);
    expect((await verdict(await requestOf(p, { leafProfile: profile }))).codes).toEqual(['CHAIN_KEY_USAGE']);
  });
});

describe('refused under signatures that verify', () => {
  const EKU = { keys: ['P-256'], keyUsage: ['digitalSignature'], extendedKeyUsage: OID.tpmAttestationKey } as const;
  const ca = keyUsage(['keyCertSign', 'cRLSign']);
  const cases: [what: string, change: PkiChange, request: Partial<PathRequest>, code: RefusalCode, at: string][] = [
    ['an intermediate that is no CA', only('intermediate', basicConstraints(false), ca), {}, 'CHAIN_CA', 'leaf.issuers[1].basicConstraints'],
    ['an intermediate without basicConstraints', only('intermediate', ca), {}, 'CHAIN_CA', 'leaf.issuers[1].basicConstraints'],
    ['a root that is no CA', only('root', basicConstraints(false), ca), {}, 'CHAIN_CA', 'leaf.issuers[2].basicConstraints'],
    ['a leaf that is a CA', only('leaf', basicConstraints(true), keyUsage(['digitalSignature'])), {}, 'CHAIN_CA', 'leaf.basicConstraints'],
    ['a path longer than the root allows', { root: { pathLen: 0 } }, {}, 'CHAIN_PATHLEN', 'leaf.issuers[2].basicConstraints.pathLen'],
    ['an intermediate that may not sign certificates', { intermediate: { keyUsage: ['cRLSign'] } }, {}, 'CHAIN_KEY_USAGE', 'leaf.issuers[1].keyUsage'],
    ['an intermediate without keyUsage', only('intermediate', basicConstraints(true)), {}, 'CHAIN_KEY_USAGE', 'leaf.issuers[1].keyUsage'],
    ['a leaf without the usage', { leaf: { keyUsage: ['keyAgreement'] } }, {}, 'CHAIN_KEY_USAGE', 'leaf.keyUsage'],
    ['a leaf that may sign certificates', { leaf: { keyUsage: ['digitalSignature', 'keyCertSign'] } }, {}, 'CHAIN_KEY_USAGE', 'leaf.keyUsage'],
    ['a leaf of another purpose', { leaf: { extensions: [extendedKeyUsage(['1.3.6.1.5.5.7.3.1'])] } }, { leafProfile: EKU }, 'CHAIN_KEY_USAGE', 'leaf.extendedKeyUsage'],
    ['a leaf of any purpose', { leaf: { extensions: [extendedKeyUsage([OID.anyExtendedKeyUsage])] } }, { leafProfile: EKU }, 'CHAIN_KEY_USAGE', 'leaf.extendedKeyUsage'],
    ['a leaf without purposes', {}, { leafProfile: EKU }, 'CHAIN_KEY_USAGE', 'leaf.extendedKeyUsage'],
    ['an intermediate limited to another purpose', { leaf: { extensions: [extendedKeyUsage([OID.tpmAttestationKey])] }, intermediate: { extensions: [extendedKeyUsage(['2.23.133.8.1'])] } }, { leafProfile: EKU }, 'CHAIN_KEY_USAGE', 'leaf.issuers[1].extendedKeyUsage'],
    ['a leaf of another name', {}, { leafProfile: { keys: ['P-256'], keyUsage: [], commonName: /^leaf\.example$/ } }, 'CHAIN_NAME', 'leaf.subject'],
    ['a leaf with a key of another kind', {}, { leafProfile: { keys: ['P-384'], keyUsage: [] } }, 'CHAIN_ALGORITHM', 'leaf.subjectPublicKeyInfo'],
    ['an algorithm that is not allowed', {}, { algorithms: ['ES384', 'PS384'] }, 'CHAIN_ALGORITHM', 'leaf.signatureAlgorithm'],
    ['an unknown critical extension in the leaf', { leaf: { extensions: [unknownExtension(true)] } }, {}, 'CHAIN_CRITICAL_EXTENSION', 'leaf.extensions'],
    ['an unknown critical extension in the intermediate', { intermediate: { extensions: [unknownExtension(true)] } }, {}, 'CHAIN_CRITICAL_EXTENSION', 'leaf.issuers[1].extensions'],
    ['an unknown critical extension in the root', { root: { extensions: [unknownExtension(true)] } }, {}, 'CHAIN_CRITICAL_EXTENSION', 'leaf.issuers[2].extensions'],
    ['an expired leaf', { leaf: { notAfter: NOW - 1 } }, {}, 'CHAIN_EXPIRED', 'leaf.notAfter'],
    ['an expired intermediate', { intermediate: { notAfter: NOW - 1 } }, {}, 'CHAIN_EXPIRED', 'leaf.issuers[1].notAfter'],
    ['an expired root', { root: { notAfter: NOW - 1 } }, {}, 'CHAIN_EXPIRED', 'leaf.issuers[2].notAfter'],
    ['a leaf of the future', { leaf: { notBefore: NOW + 61 } }, {}, 'CHAIN_NOT_YET_VALID', 'leaf.notBefore'],
    ['an intermediate of the future', { intermediate: { notBefore: NOW + 61 } }, {}, 'CHAIN_NOT_YET_VALID', 'leaf.issuers[1].notBefore'],
    ['a path too long for the caller', {}, { length: { min: 2, max: 2 } }, 'CHAIN_LEN', 'leaf.issuers'],
    ['a path too short for the caller', {}, { length: { min: 4, max: 4 } }, 'CHAIN_LEN', 'leaf.issuers'],
    ['no pinned root at all', {}, { roots: [] }, 'CHAIN_ROOT_UNPINNED', 'leaf.issuers'],
  ];
  test.each(cases)('%s', async (_, change, request, code, at) => {
    const { codes, refusal } = await verdict(await requestOf(await pki(change), request));
    expect(codes).toEqual([code]);
    expect(refusal?.reasons.map((r) => r.path)).toEqual([at]);
  });

  test('all failures together', async () => {
    const p = await pki({ leaf: { notAfter: NOW - 1, keyUsage: ['keyAgreement'] }, intermediate: { extensions: [unknownExtension(true)] } });
    const { codes } = await verdict(await requestOf(p, { leafProfile: { keys: ['RSA'], keyUsage: ['digitalSignature'], commonName: /^x$/ } }));
    expect(codes).toEqual(['CHAIN_ALGORITHM', 'CHAIN_CRITICAL_EXTENSION', 'CHAIN_EXPIRED', 'CHAIN_KEY_USAGE', 'CHAIN_NAME']);
  });
});

describe('issuers', () => {
  const codesOf = async (change: Partial<PathRequest>, p: Pki = good) => (await verdict(await requestOf(p, change))).codes;

  test('a twin of the root with a key of its own is not the root (D3, D31)', async () => {
    const twin = await pki({ root: { key: await KEYS.get('P-256', 'twin') } });
    expect(await codesOf({ roots: [await pin(good.root.certificate)] }, twin)).toEqual(['CHAIN_ROOT_UNPINNED']);
    // The twin beside the pinned one: its path ends nowhere
    expect(await codesOf({ leaf: twin.leaf.certificate, intermediates: [twin.intermediate.certificate, twin.root.certificate, good.root.certificate] })).toEqual(['CHAIN_ROOT_UNPINNED']);
  });

  test('the root\'s certificate and its key are both pinned', async () => {
    const [right] = (await requestOf(good)).roots;
    expect(await codesOf({ roots: [{ ...(right as { name: string; certSha256: string; spkiSha256: string }), spkiSha256: 'ab'.repeat(32) }] })).toEqual(['CHAIN_ROOT_UNPINNED']);
    // The same key in another certificate is another root
    const renewed = await pki({ root: { notAfter: NOW + 2 * DAY } });
    expect(await codesOf({ intermediates: [good.intermediate.certificate, renewed.root.certificate] })).toEqual(['CHAIN_ROOT_UNPINNED']);
  });

  test('a missing intermediate; a missing root', async () => {
    expect(await codesOf({ intermediates: [good.root.certificate] })).toEqual(['CHAIN_ORDER']);
    expect(await codesOf({ intermediates: [good.intermediate.certificate] })).toEqual(['CHAIN_ROOT_UNPINNED']);
  });

  test('what the path does not need is refused, unless the caller keeps a pool', async () => {
    const intermediates = [good.intermediate.certificate, good.root.certificate];
    const other = await pki({ intermediate: { subject: named('other'), key: await KEYS.get('P-256', 'twin') } });
    for (const extra of [good.intermediate.certificate, good.leaf.certificate, other.intermediate.certificate]) {
      expect(await codesOf({ intermediates: [...intermediates, extra] })).toEqual(['CHAIN_LEN']);
      expect(await codesOf({ intermediates: [...intermediates, extra], unused: 'allow' })).toEqual([]);
    }
    expect(await codesOf({ intermediates: Array.from({ length: 17 }, () => good.root.certificate) })).toEqual(['CHAIN_LEN']);
  });

  test('two intermediates of one name: key identifier and signature choose (D66)', async () => {
    const key = await KEYS.get('P-256', 'twin');
    const twin = await makeAuthority({ key, subject: named('intermediate'), issuer: good.root, pathLen: 0, notBefore: NOW - DAY, notAfter: NOW + DAY });
    const both = [twin.certificate, good.intermediate.certificate, good.root.certificate];
    expect((await verdict(await requestOf(good, { intermediates: both, unused: 'allow' }))).path?.certificates[1]?.der).toEqual(good.intermediate.certificate);
    expect(await codesOf({ intermediates: [twin.certificate, good.root.certificate] })).toEqual(['CHAIN_ORDER']);

    // Without key identifiers only the signature can tell
    const anonymous = await pki(only('leaf', basicConstraints(false), keyUsage(['digitalSignature'])));
    expect((await verdict(await requestOf(good, { leaf: anonymous.leaf.certificate, intermediates: both, unused: 'allow' }))).path?.certificates[1]?.der).toEqual(good.intermediate.certificate);
    expect(await codesOf({ leaf: anonymous.leaf.certificate, intermediates: [twin.certificate, good.root.certificate] })).toEqual(['CHAIN_SIGNATURE']);
  });

  test('a key identifier of another key is not made right by the signature', async () => {
    const { template } = good.leaf;
    const extensions = [...template.extensions.slice(0, 3), { id: OID.authorityKeyIdentifier, critical: false, value: sequence(bytes([0x80, 1, 7])) }];
    const p = await pki({ leaf: { change: { extensions } } });
    expect(await codesOf({}, p)).toEqual(['CHAIN_ORDER']);
    const serial = [...template.extensions.slice(0, 3), { id: OID.authorityKeyIdentifier, critical: false, value: sequence(bytes([0x82, 1, 7])) }];
    expect(await codesOf({}, await pki({ leaf: { change: { extensions: serial } } }))).toEqual(['CHAIN_ORDER']);
  });

  test('signatures by another key, at each level', async () => {
    const signWith = await KEYS.get('P-256', 'twin');
    expect(await codesOf({}, await pki({ leaf: { signWith } }))).toEqual(['CHAIN_SIGNATURE']);
    expect(await codesOf({}, await pki({ intermediate: { signWith } }))).toEqual(['CHAIN_SIGNATURE']);
    expect(await codesOf({ leaf: lastByteFlipped(good.leaf.certificate) })).toEqual(['CHAIN_SIGNATURE']);
    // A root's own signature says nothing that its pinned bytes do not
    const p = await pki({ root: { signWith } });
    expect(await codesOf({}, p)).toEqual([]);
  });

  test('a key of another kind than the algorithm', async () => {
    const rsa = await KEYS.get('RSA-2048', 'root');
    const p = await pki({ root: { key: rsa }, intermediate: { algorithm: 'ES256', signWith: await KEYS.get('P-256', 'root') } });
    expect(await codesOf({}, p)).toEqual(['CHAIN_SIGNATURE']);
  });

  test('of several paths one that holds is enough', async () => {
    const expired = await pki({ intermediate: { notAfter: NOW - 1 } });
    const intermediates = [expired.intermediate.certificate, good.intermediate.certificate, good.root.certificate];
    for (const order of [intermediates, [...intermediates].reverse()]) {
      expect((await verdict(await requestOf(good, { intermediates: order, unused: 'allow' }))).path?.certificates[1]?.notAfter).toBe(NOW + DAY);
    }
    expect(await codesOf({ intermediates: [expired.intermediate.certificate, good.root.certificate] })).toEqual(['CHAIN_EXPIRED']);
  });

  test('circles and crowds end soon', async () => {
    // Two CAs that certify each other, and sixteen look-alikes of one name
    const [a, b] = [await KEYS.get('P-256', 'a'), await KEYS.get('P-256', 'b')];
    const times = { notBefore: NOW - DAY, notAfter: NOW + DAY };
    const first = await makeAuthority({ key: a, subject: named('a'), ...times });
    const bByA = await makeAuthority({ key: b, subject: named('b'), issuer: first, ...times });
    const aByB = await makeAuthority({ key: a, subject: named('a'), issuer: bByA, ...times });
    const leaf = await makeAuthority({ key: good.leaf.key, subject: named('leaf'), issuer: aByB, pathLen: null, ...times });
    expect(await codesOf({ leaf: leaf.certificate, intermediates: [aByB.certificate, bByA.certificate, good.root.certificate], length: { min: 2, max: 9 } })).toEqual(expect.arrayContaining(['CHAIN_ORDER']));
    const crowd: Issued[] = [];
    for (let i = 0; i < 14; i++) crowd.push(await makeAuthority({ key: a, subject: named('a'), issuer: { ...first, template: { ...first.template, subject: named('a') } }, ...times }));
    const start = cpuMs();
    expect((await codesOf({ leaf: leaf.certificate, intermediates: [...crowd.map((c) => c.certificate), good.root.certificate], length: { min: 2, max: 12 } })).length).toBeGreaterThan(0);
    expect(cpuMs() - start).toBeLessThan(2000);
  });
});

describe('deny-list', () => {
  test.each(['leaf', 'intermediate', 'root'] as const)('%s by issuer and serial', async (level) => {
    const { issuerText: issuer, serial } = parseCertificate(good[level].certificate, level);
    expect((await verdict(await requestOf(good, { revoked: [{ issuer, serial: `00${serial.toUpperCase()}` }] }))).codes).toEqual(['REVOKED']);
    expect((await verdict(await requestOf(good, { revoked: [{ issuer: `${issuer},O=x`, serial }, { issuer, serial: `${serial}0` }] }))).codes).toEqual([]);
  });

  test('a twin of the signature (r, n - s) is the same certificate (D10)', async () => {
    const twin = signatureTwin(good.leaf.certificate);
    expect(twin).not.toEqual(good.leaf.certificate);
    expect((await verdict(await requestOf(good, { leaf: twin }))).codes).toEqual([]);
    const { issuerText: issuer, serial } = parseCertificate(good.leaf.certificate, 'leaf');
    expect((await verdict(await requestOf(good, { leaf: twin, revoked: [{ issuer, serial }] }))).codes).toEqual(['REVOKED']);
  });
});

/** The other valid ECDSA signature over the same certificate. */
function signatureTwin(der: Bytes): Bytes {
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const { signature } = parseCertificate(der, 'c');
  const s = n - BigInt(`0x${Buffer.from(signature.subarray(32)).toString('hex')}`);
  const raw = concat(signature.subarray(0, 32), bytes(Buffer.from(s.toString(16).padStart(64, '0'), 'hex')));
  const [tbs, algorithm] = children(readDer(der, 'c'));
  return sequence((tbs as { raw: Bytes }).raw, (algorithm as { raw: Bytes }).raw, bits(derSignature(raw)));
}

describe('cache', () => {
  test('remembers intermediates, the leaf only when asked, and changes no verdict', async () => {
    const cache = new ChainCache();
    const plain = await verdict(await requestOf(good));
    for (let round = 0; round < 2; round++) {
      expect((await verdict(await requestOf(good, { cache }))).path).toEqual(plain.path);
      expect(cache.size).toBe(1);
    }
    await verdict(await requestOf(good, { cache, cacheLeaf: true }));
    expect(cache.size).toBe(2);
    for (const request of [{ leaf: lastByteFlipped(good.leaf.certificate) }, { intermediates: [lastByteFlipped(good.intermediate.certificate), good.root.certificate] }]) {
      expect((await verdict(await requestOf(good, { ...request, cache, cacheLeaf: true }))).codes).toEqual(['CHAIN_SIGNATURE']);
    }
    expect((await verdict(await requestOf(good, { cache, cacheLeaf: true, at: NOW + 2 * DAY }))).codes).toEqual(['CHAIN_EXPIRED']);
    expect(cache.size).toBe(2);
  });

  test('digests of parsed certificates are remembered by object, and change no verdict', async () => {
    const memo = new PathMemo();
    const [leaf, intermediate, root] = (['leaf', 'intermediate', 'root'] as const).map((level) => parseCertificate(good[level].certificate, level)) as [Certificate, Certificate, Certificate];
    const request = { leaf, intermediates: [intermediate, root], memo, cache: new ChainCache(), cacheLeaf: true };
    expect(await memo.digests(root)).toBe(await memo.digests(root));
    expect(await memo.linkName(root, intermediate)).not.toBe(await memo.linkName(leaf, intermediate));
    for (let round = 0; round < 2; round++) expect((await verdict(await requestOf(good, request))).path?.certificates).toEqual([leaf, intermediate, root]);
    const forged = parseCertificate(lastByteFlipped(good.intermediate.certificate), 'i');
    expect((await verdict(await requestOf(good, { ...request, intermediates: [forged, root] }))).codes).toEqual(['CHAIN_SIGNATURE']);
    const twin = parseCertificate((await pki({ root: { key: await KEYS.get('P-256', 'twin') } })).root.certificate, 'root');
    expect((await verdict(await requestOf(good, { ...request, intermediates: [intermediate, twin] }))).codes).toEqual(['CHAIN_ROOT_UNPINNED']);
  });
});

/** One test per check of the Nitro verifier: one thing is wrong, under signatures that verify, and only that check fails. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, utf8 } from '../../attestation/bytes.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { sequence } from '../../attestation/platforms/simulated/der-writer.ts';
import { type CertificateFields, type Level, name, newKeyPair, unknownExtension } from '../../attestation/platforms/simulated/pki.ts';
import type { RefusalCode } from '../../attestation/refusal.ts';
import { BINDING, evidence, EXPECT, filled, INSTANCE, MODULE, NOW, refused, REGION, type World, world } from './support.ts';

let good: World;
beforeAll(async () => { good = await world(); });

const verify = async (w: World, change = {}, trust = {}, sign = {}) => awsNitro.verify(await evidence(w, change, sign), EXPECT, { ...w.trust, ...trust });
const withChange = (level: Level, change: Partial<CertificateFields>) => world({ change: { [level]: change } });

describe('accepted', () => {
  test('the document that every other test changes in one place', async () => {
    const claims = await verify(good);
    expect(claims).toMatchObject({
      platform: 'aws-nitro', anchor: 'production',
      time: { verifiedAt: NOW, evidenceAt: NOW, freshness: 'challenge', challengeId: '01'.repeat(16), nonce: '02'.repeat(32) },
      hardware: { vendor: 'aws', technology: 'nitro', signer: { kind: 'nsm', rootSha256: good.root.certSha256 }, revocation: { status: 'unchecked' } },
      tcb: { status: 'NotReported' }, guest: { debug: false }, workload: { binding: { scope: 'enclave' }, configDigest: '06'.repeat(32) },
      cloud: { provider: 'aws', region: REGION, instanceId: INSTANCE, moduleId: MODULE, origin: 'proven' },
    });
    expect(claims.measurements).toHaveLength(16);
    expect(claims.measurements.slice(0, 3).map((m) => [m.register, m.value])).toEqual([['PCR0', 'a0'.repeat(48)], ['PCR1', 'a1'.repeat(48)], ['PCR2', 'a2'.repeat(48)]]);
    expect(claims.hardware.signer.leafSerial).toBe(parseCertificate(good.chain.certificate, 'leaf').serial);
  });

  test('lists the checks that were carried out', async () => {
    const { checks } = await verify(good);
    expect(checks.every((c) => c.result === 'pass')).toBe(true);
    expect([...new Set(checks.map((c) => c.id))].sort()).toEqual([
      'NITRO-AGE', 'NITRO-CERTIFICATE-PROFILE', 'NITRO-CHAIN-CA', 'NITRO-CHAIN-CRITICAL', 'NITRO-CHAIN-KEY-USAGE', 'NITRO-CHAIN-LENGTH', 'NITRO-CHAIN-LINK', 'NITRO-CHAIN-NOT-AFTER',
      'NITRO-CHAIN-NOT-BEFORE', 'NITRO-CHAIN-PATHLEN', 'NITRO-CHAIN-REVOKED', 'NITRO-CHAIN-ROOT', 'NITRO-CHAIN-ROOT-KEY', 'NITRO-CHAIN-SIGNATURE', 'NITRO-COSE', 'NITRO-KEY',
      'NITRO-LEAF-CA', 'NITRO-LEAF-KEY-USAGE', 'NITRO-MODULE', 'NITRO-NONCE', 'NITRO-NOT-AHEAD', 'NITRO-PAYLOAD', 'NITRO-PLATFORM', 'NITRO-REGION', 'NITRO-SIGNATURE', 'NITRO-TRANSCRIPT',
    ]);
  });

  test('a root that is a development root says so, and its region is only asserted', async () => {
    const w = await world({}, 'development');
    expect(await verify(w)).toMatchObject({ anchor: 'development', cloud: { region: REGION, origin: 'asserted' } });
  });

  test('a non-critical extension that nobody knows', async () => {
    await expect(verify(await withChange('leaf', { extensions: [unknownExtension(false)] }))).resolves.toBeDefined();
  });

  test('all three at the edges of their times', async () => {
    await expect(verify(good, { timestamp: (NOW - 300) * 1000 })).resolves.toBeDefined();
    await expect(verify(good, { timestamp: (NOW + 300) * 1000 })).resolves.toBeDefined();
    await expect(verify(await withChange('leaf', { notAfter: NOW }))).resolves.toBeDefined();
    await expect(verify(await withChange('leaf', { notBefore: NOW + 60 }))).resolves.toBeDefined();
  });
});

describe('certificates: one changed, all signatures valid', () => {
  const cases: [what: string, level: Level, change: Partial<CertificateFields>, code: RefusalCode][] = [
    ['leaf expired a second ago', 'leaf', { notAfter: NOW - 1 }, 'CHAIN_EXPIRED'],
    ['instance expired', 'instance', { notAfter: NOW - 1 }, 'CHAIN_EXPIRED'],
    ['zonal not valid yet', 'zonal', { notBefore: NOW + 3600 }, 'CHAIN_NOT_YET_VALID'],
    ['root expired', 'root', { notAfter: NOW - 1 }, 'CHAIN_EXPIRED'],
    ['regional without path length enough', 'regional', { pathLen: 1 }, 'CHAIN_PATHLEN'],
    ['zonal without path length enough', 'zonal', { pathLen: 0 }, 'CHAIN_PATHLEN'],
    ['root without path length enough', 'root', { pathLen: 2 }, 'CHAIN_PATHLEN'],
    ['instance that is no CA', 'instance', { ca: false, pathLen: null }, 'CHAIN_CA'],
    ['zonal that is no CA', 'zonal', { ca: false, pathLen: null }, 'CHAIN_CA'],
    ['instance that may not sign certificates', 'instance', { keyUsage: ['digitalSignature'] }, 'CHAIN_KEY_USAGE'],
    ['regional without key usage', 'regional', { keyUsage: null }, 'CHAIN_KEY_USAGE'],
    ['leaf that is a CA', 'leaf', { ca: true }, 'CHAIN_CA'],
    ['leaf that may sign certificates', 'leaf', { keyUsage: ['digitalSignature', 'keyCertSign'] }, 'CHAIN_KEY_USAGE'],
    ['leaf that may not sign documents', 'leaf', { keyUsage: ['keyAgreement'] }, 'CHAIN_KEY_USAGE'],
    ['leaf without key usage', 'leaf', { keyUsage: null }, 'CHAIN_KEY_USAGE'],
    ['leaf with an unknown critical extension', 'leaf', { extensions: [unknownExtension(true)] }, 'CHAIN_CRITICAL_EXTENSION'],
    ['zonal with an unknown critical extension', 'zonal', { extensions: [unknownExtension(true)] }, 'CHAIN_CRITICAL_EXTENSION'],
    ['zonal naming another issuer', 'zonal', { issuer: name('somebody.else') }, 'CHAIN_ORDER'],
    ['leaf naming another issuer', 'leaf', { issuer: name('somebody.else') }, 'CHAIN_ORDER'],
    ['leaf naming its issuer in other bytes', 'leaf', { issuer: name(`${INSTANCE}.${REGION}.aws.nitro-enclaves`, 'amazon') }, 'CHAIN_ORDER'],
    ['leaf of version 1', 'leaf', { version: 0 }, 'FMT_DER'],
    ['leaf of another signature algorithm', 'leaf', { algorithm: sequence(bytes([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])) }, 'CHAIN_ALGORITHM'],
    ['leaf with an extension twice', 'leaf', { extensions: [unknownExtension(false), unknownExtension(false)] }, 'FMT_DER'],
    ['regional of another region', 'regional', { subject: name('0123456789abcdef.us-east-1.aws.nitro-enclaves') }, 'CLOUD_ORIGIN'],
    ['leaf of another region', 'leaf', { subject: name(`${MODULE}.us-east-1.aws`) }, 'CLOUD_ORIGIN'],
    ['leaf of a name without region', 'leaf', { subject: name(MODULE) }, 'CLOUD_ORIGIN'],
    ['leaf of another module', 'leaf', { subject: name(`${INSTANCE}-encffffffffffffffff.${REGION}.aws`) }, 'CLOUD_ORIGIN'],
  ];
  test.each(cases)('%s', async (_, level, change, code) => {
    await refused(verify(await withChange(level, change)), code);
  });

  test('a key on another curve', async () => {
    const p256 = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
    await refused(verify(await withChange('leaf', { spki: bytes(await crypto.subtle.exportKey('spki', p256.publicKey)) })), 'CHAIN_ALGORITHM');
  });

  test('a point that is not on the curve verifies nothing', async () => {
    const spki = bytes(parseCertificate(good.chain.certificate, 'leaf').spki);
    spki[spki.length - 1] = (spki[spki.length - 1] as number) ^ 1;
    await refused(verify(await withChange('leaf', { spki })), 'SIG_INVALID');
  });

  test.each(['regional', 'zonal', 'instance', 'leaf'] as const)('%s signed by another key', async (level) => {
    const stranger = await newKeyPair();
    const refusal = await refused(verify(await world({ signWith: { [level]: stranger.privateKey } })), 'CHAIN_SIGNATURE');
    expect(refusal.reasons).toHaveLength(1);
  });
});

describe('root', () => {
  test('not pinned', async () => {
    const { trust: { roots } } = await world();
    await refused(verify(good, {}, { roots }), 'CHAIN_ROOT_UNPINNED');
    await refused(verify(good, {}, { roots: [] }), 'CHAIN_ROOT_UNPINNED');
  });

  test('pinned for another platform', async () => {
    await refused(verify(good, {}, { roots: [{ ...good.root, platform: 'other' }] }), 'CHAIN_ROOT_UNPINNED');
  });

  test('pinned with another key', async () => {
    await refused(verify(good, {}, { roots: [{ ...good.root, spkiSha256: 'ff'.repeat(32) }] }), 'CHAIN_ROOT_UNPINNED');
  });
});

describe('revocation', () => {
  const links = () => [...good.chain.cabundle, good.chain.certificate].map((der) => parseCertificate(der, 'certificate'));

  test.each([0, 1, 2, 3, 4])('certificate %i of the chain', async (i) => {
    const { issuerText: issuer, serial } = links()[i] as ReturnType<typeof parseCertificate>;
    await refused(verify(good, {}, { revoked: [{ issuer, serial }] }), 'REVOKED');
    await refused(verify(good, {}, { revoked: [{ issuer, serial: `00${serial.toUpperCase()}` }] }), 'REVOKED');
  });

  test('another issuer or another serial is another certificate', async () => {
    const { issuerText: issuer, serial } = links()[4] as ReturnType<typeof parseCertificate>;
    await expect(verify(good, {}, { revoked: [{ issuer: `${issuer}x`, serial }, { issuer, serial: '1' }] })).resolves.toBeDefined();
  });
});

describe('document', () => {
  test('signed by another key', async () => {
    const { privateKey } = await newKeyPair();
    await refused(verify(good, {}, {}, { key: privateKey }), 'SIG_INVALID');
  });

  test('older than the policy allows', async () => {
    await refused(verify(good, { timestamp: (NOW - 301) * 1000 }), 'STALE');
    await refused(awsNitro.verify(await evidence(good, { timestamp: (NOW - 11) * 1000 }), { ...EXPECT, maxAgeSeconds: 10 }, good.trust), 'STALE');
  });

  test('ahead of the clock', async () => {
    await refused(verify(good, { timestamp: (NOW + 301) * 1000 }), 'CLOCK_FUTURE');
  });

  test('without nonce, with another, with a longer one', async () => {
    await refused(verify(good, { nonce: null }), 'NONCE_ABSENT');
    await refused(verify(good, { nonce: filled(32, 9) }), 'NONCE_MISMATCH');
    await refused(verify(good, { nonce: concat(BINDING.nonce, bytes([0])) }), 'NONCE_MISMATCH');
    await refused(verify(good, { nonce: filled(0, 0) }), 'NONCE_MISMATCH');
  });

  test('without user_data, with another', async () => {
    await refused(verify(good, { userData: null }), 'BINDING_ABSENT');
    await refused(verify(good, { userData: filled(64, 9) }), 'BINDING_MISMATCH');
    await refused(verify(good, { userData: filled(0, 0) }), 'BINDING_MISMATCH');
  });

  test('without public_key, with another', async () => {
    await refused(verify(good, { publicKey: null }), 'BINDING_ABSENT');
    await refused(verify(good, { publicKey: BINDING.signingKey }), 'BINDING_MISMATCH');
  });

  test('a module id that names no enclave, or another one', async () => {
    await refused(verify(good, { moduleId: INSTANCE }), 'CLOUD_ORIGIN');
    await refused(verify(good, { moduleId: `${INSTANCE}-encffffffffffffffff` }), 'CLOUD_ORIGIN');
  });

  test('names from evidence cannot speak to a terminal', async () => {
    const { message } = await refused(verify(good, { moduleId: '\u001b[31mi-1\nREVOKED\u202e' }), 'CLOUD_ORIGIN');
    expect(message).toMatch(/^[\x20-\x7e]+$/);
    expect(message).toContain('?[31mi-1?REVOKED?');
  });

  test('every field of the binding is bound', async () => {
    const document = await evidence(good);
    const others: Partial<typeof BINDING>[] = [
      { role: 'broker' }, { cell: 'cell-b' }, { challengeId: filled(16, 9) }, { audience: 'broker-2' }, { receivingKey: filled(1216, 9) }, { tlsSpkiSha256: filled(32, 9) },
      { policyDigest: filled(32, 9) }, { configDigest: filled(32, 9) }, { payloadDigest: filled(32, 9) },
    ];
    for (const other of others) {
      const refusal = await refused(awsNitro.verify(document, { ...EXPECT, binding: { ...BINDING, ...other } }, good.trust), 'BINDING_MISMATCH');
      expect(refusal.reasons.map((r) => r.path)).toEqual(['document.user_data']);
    }
    await refused(awsNitro.verify(document, { ...EXPECT, binding: { ...BINDING, nonce: filled(32, 9) } }, good.trust), 'NONCE_MISMATCH', 'BINDING_MISMATCH');
    await refused(awsNitro.verify(document, { ...EXPECT, binding: { ...BINDING, signingKey: filled(32, 9) } }, good.trust), 'BINDING_MISMATCH');
  });

  test('named as of another platform', async () => {
    const other = 'azure-cvm-snp' as 'aws-nitro';
    const document = await evidence(good);
    await refused(awsNitro.verify({ ...document, platform: other }, EXPECT, good.trust), 'BINDING_PLATFORM');
    await refused(awsNitro.verify(document, { ...EXPECT, platform: other }, good.trust), 'BINDING_PLATFORM');
  });

  test('a clock or a limit that is no number refuses', async () => {
    await refused(verify(good, {}, { now: Number.NaN }), 'CHAIN_NOT_YET_VALID', 'CHAIN_EXPIRED', 'CLOCK_FUTURE', 'STALE');
    await refused(awsNitro.verify(await evidence(good), { ...EXPECT, maxAgeSeconds: Number.NaN }, good.trust), 'STALE');
    await refused(awsNitro.verify(await evidence(good), { ...EXPECT, maxAgeSeconds: undefined as unknown as number }, good.trust), 'STALE');
  });
});

describe('all failing checks come together', () => {
  test('chain, signature, time and binding', async () => {
    const { privateKey } = await newKeyPair();
    const w = await world({ change: { leaf: { notAfter: NOW - 1 }, zonal: { pathLen: 0 } } });
    const refusal = await refused(verify(w, { nonce: null, userData: filled(64, 1), timestamp: (NOW - 1000) * 1000 }, {}, { key: privateKey }), 'CHAIN_EXPIRED', 'CHAIN_PATHLEN', 'SIG_INVALID', 'STALE', 'NONCE_ABSENT', 'BINDING_MISMATCH');
    expect(refusal.codes).toEqual(['CHAIN_PATHLEN', 'CHAIN_EXPIRED', 'SIG_INVALID', 'STALE', 'NONCE_ABSENT', 'BINDING_MISMATCH']);
  });

  test('an evidence document that is no bytes', async () => {
    await refused(awsNitro.verify({ platform: 'aws-nitro', document: 'text' as unknown as Bytes }, EXPECT, good.trust), 'FMT_FIELD');
    await refused(awsNitro.verify({ platform: 'aws-nitro', document: utf8('text') }, EXPECT, good.trust), 'FMT_CBOR');
  });
});

describe('replay', () => {
  test('at the document\'s own time, long after the leaf expired; the live path refuses', async () => {
    const document = await evidence(good);
    const later = { ...good.trust, now: NOW + 30 * 86_400 };
    const claims = await awsNitro.verifyReplay(document, EXPECT, later);
    expect(claims.time).toMatchObject({ freshness: 'none', evidenceAt: NOW, verifiedAt: NOW + 30 * 86_400 });
    expect(claims.checks.filter((c) => c.result !== 'pass')).toEqual([{ id: 'NITRO-AGE', result: 'skipped-by-policy', evidenceRef: 'document.timestamp' }]);
    await refused(awsNitro.verify(document, EXPECT, later), 'CHAIN_EXPIRED', 'STALE');
  });

  test('signature, chain, binding and revocation are checked as ever', async () => {
    const { privateKey } = await newKeyPair();
    const { issuerText: issuer, serial } = parseCertificate(good.chain.certificate, 'leaf');
    await refused(awsNitro.verifyReplay(await evidence(good, {}, { key: privateKey }), EXPECT, good.trust), 'SIG_INVALID');
    await refused(awsNitro.verifyReplay(await evidence(good, { nonce: filled(32, 9) }), EXPECT, good.trust), 'NONCE_MISMATCH');
    await refused(awsNitro.verifyReplay(await evidence(good, { userData: null }), EXPECT, good.trust), 'BINDING_ABSENT');
    await refused(awsNitro.verifyReplay(await evidence(good), EXPECT, { ...good.trust, revoked: [{ issuer, serial }] }), 'REVOKED');
    await refused(awsNitro.verifyReplay(await evidence(good), EXPECT, { ...good.trust, roots: [] }), 'CHAIN_ROOT_UNPINNED');
    const expired = await withChange('leaf', { notAfter: NOW - 1 });
    await refused(awsNitro.verifyReplay(await evidence(expired), EXPECT, expired.trust), 'CHAIN_EXPIRED');
  });

  test('a stored document from the future is none', async () => {
    await refused(awsNitro.verifyReplay(await evidence(good), EXPECT, { ...good.trust, now: NOW - 301 }), 'CLOCK_FUTURE');
  });
});

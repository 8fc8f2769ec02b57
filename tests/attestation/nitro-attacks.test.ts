/** The required negative tests D1 to D10 of a Nitro verifier: what broke others must be refused here, by its code. */
import { beforeAll, describe, expect, test } from 'vitest';
import { appraise, requireAcceptable } from '../../attestation/appraise.ts';
import { type Bytes, bytes, concat, utf8 } from '../../attestation/bytes.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { bits, sequence } from '../../attestation/platforms/simulated/der-writer.ts';
import { cbor, encodePayload, type Entries, entriesOf, PROTECTED_ES384, signDocument } from '../../attestation/platforms/simulated/nsm.ts';
import { derSignature, makeRoot, name, newKeyPair } from '../../attestation/platforms/simulated/pki.ts';
import type { AppraisalPolicy } from '../../attestation/policy.ts';
import { BINDING, evidence, EXPECT, fieldsOf, filled, NOW, refused, REGISTERS, registers, trustRoot, type World, world } from './support.ts';

let good: World;
beforeAll(async () => { good = await world(); });

const verify = (document: Bytes, w = good, trust = {}) => awsNitro.verify({ platform: 'aws-nitro', document }, EXPECT, { ...w.trust, ...trust });
const POLICY: AppraisalPolicy = { id: 'p', role: 'counter', references: [{ id: 'release-1', platform: 'aws-nitro', registers: REGISTERS }], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave'] };

/** A payload whose entries were edited, under a signature that verifies. */
async function edited(edit: (entries: Entries) => Entries, options: { indefinite?: boolean; raw?: (payload: Bytes) => Bytes } = {}): Promise<Bytes> {
  const payload = encodePayload(edit(entriesOf(await fieldsOf(good))), options);
  return signDocument(options.raw?.(payload) ?? payload, good.chain.leafKey);
}
const same = (a: Bytes, b: Bytes) => Buffer.from(a).equals(b);
const replace = (key: string, value: Bytes) => (entries: Entries): Entries => entries.map(([k, v]) => [k, same(k, cbor(key)) ? value : v]);
const without = (key: string) => (entries: Entries): Entries => entries.filter(([k]) => !same(k, cbor(key)));

describe('D1 nothing configured', () => {
  test.each([['no references', []], ['references of no registers', [{ id: 'x', platform: 'aws-nitro', registers: {} }]], ['references of undefined registers', [{ id: 'x', platform: 'aws-nitro', registers: { PCR0: undefined, PCR1: undefined, PCR2: undefined } }]]])('%s', async (_, references) => {
    const claims = await verify((await evidence(good)).document);
    const appraisal = await appraise(claims, { ...POLICY, references: references as unknown as AppraisalPolicy['references'] });
    expect(appraisal.status).toBe('contraindicated');
    const { codes } = await refused(() => requireAcceptable(appraisal), 'POLICY_EMPTY', 'MEASUREMENT_MISMATCH');
    expect(codes[0]).toBe('POLICY_EMPTY');
  });
});

describe('D2 debug mode', () => {
  test('PCR0, PCR1 and PCR2 are zero', async () => {
    const zero = filled(48, 0);
    const claims = await verify((await evidence(good, { pcrs: registers({ 0: zero, 1: zero, 2: zero }) })).document);
    expect(claims.guest.debug).toBe(true);
    const appraisal = await appraise(claims, POLICY);
    expect(appraisal.vector).toMatchObject({ configuration: 96, 'runtime-opaque': 96 });
    await refused(() => requireAcceptable(appraisal), 'DEBUG_ENCLAVE', 'MEASUREMENT_MISMATCH');
  });

  test('even where the references are zero too', async () => {
    const zeros = '00'.repeat(48);
    const zero = filled(48, 0);
    const claims = await verify((await evidence(good, { pcrs: registers({ 0: zero, 1: zero, 2: zero }) })).document);
    await refused(async () => requireAcceptable(await appraise(claims, { ...POLICY, references: [{ id: 'x', platform: 'aws-nitro', registers: { PCR0: zeros, PCR1: zeros, PCR2: zeros } }] })), 'DEBUG_ENCLAVE');
  });
});

describe('D3 another root', () => {
  test('self-signed, with AWS\'s name', async () => {
    const subject = name('aws.nitro-enclaves');
    const w = await world({ root: await makeRoot(NOW - 86_400, { subject, issuer: subject }) });
    await refused(verify((await evidence(w)).document, good), 'CHAIN_ROOT_UNPINNED');
  });

  test('the genuine root in front of a chain that it did not issue', async () => {
    const stranger = await world();
    const w: World = { ...stranger, chain: { ...stranger.chain, cabundle: [good.chain.cabundle[0] as Bytes, ...stranger.chain.cabundle.slice(1)] } };
    await refused(verify((await evidence(w)).document, good), 'CHAIN_SIGNATURE');
  });

  test('the genuine root twice, the second time as a stranger', async () => {
    const stranger = await world();
    const w: World = { ...stranger, chain: { ...stranger.chain, cabundle: [good.chain.cabundle[0] as Bytes, ...stranger.chain.cabundle] } };
    // The stranger has the genuine root's name, but not its key
    await refused(verify((await evidence(w)).document, good), 'CHAIN_LEN', 'CHAIN_SIGNATURE');
  });
});

describe('D4 signature and header', () => {
  test('another P-384 key', async () => {
    const { privateKey } = await newKeyPair();
    await refused(verify((await evidence(good, {}, { key: privateKey })).document), 'SIG_INVALID');
  });

  test.each([
    ['algorithm as text', cbor(new Map([[1, 'ES384']]))], ['ES256', cbor(new Map([[1, -7]]))], ['ES512', cbor(new Map([[1, -36]]))],
    ['crit beside it', cbor(new Map<number, unknown>([[1, -35], [2, [4]]]))], ['a key id beside it', cbor(new Map<number, unknown>([[1, -35], [4, utf8('k')]]))],
    ['no parameters', cbor(new Map())], ['no bytes', bytes([])], ['a list', cbor([1, -35])], ['text key', cbor(new Map<unknown, unknown>([['1', -35]]))],
  ])('protected header: %s', async (_, protectedHeader) => {
    await refused(verify((await evidence(good, {}, { protectedHeader })).document), 'COSE_HEADER');
  });

  test('algorithm in its longer form, twice, with a byte behind it', async () => {
    await refused(verify((await evidence(good, {}, { protectedHeader: bytes([0xa1, 0x01, 0x39, 0x00, 0x22]) })).document), 'FMT_CBOR');
    await refused(verify((await evidence(good, {}, { protectedHeader: bytes([0xa2, 0x01, 0x38, 0x22, 0x01, 0x38, 0x22]) })).document), 'FMT_CBOR_DUPLICATE');
    await refused(verify((await evidence(good, {}, { protectedHeader: concat(PROTECTED_ES384, bytes([0])) })).document), 'FMT_CBOR_TRAILING');
  });

  test('unprotected header that is not empty, or no map', async () => {
    await refused(verify((await evidence(good, {}, { unprotectedHeader: cbor(new Map([[1, -35]])) })).document), 'COSE_HEADER');
    await refused(verify((await evidence(good, {}, { unprotectedHeader: cbor([]) })).document), 'COSE_STRUCTURE');
  });

  test('tag 18 is the same document', async () => {
    await expect(verify((await evidence(good, {}, { tag18: true })).document)).resolves.toBeDefined();
  });
});

// D5, certificates one by one: nitro-checks.test.ts

describe('D6 the bundle', () => {
  const bundle = async (edit: (c: Bytes[]) => Bytes[]) => (await evidence(good, { cabundle: edit([...good.chain.cabundle]) })).document;

  test('reordered', async () => {
    await refused(verify(await bundle(([root, a, b, c]) => [root, b, a, c] as Bytes[])), 'CHAIN_ORDER', 'CHAIN_PATHLEN', 'CHAIN_SIGNATURE');
    await refused(verify(await bundle((c) => c.reverse())), 'CHAIN_ROOT_UNPINNED', 'CHAIN_ORDER', 'CHAIN_PATHLEN');
  });

  test('one twice, one missing, one of another chain behind it', async () => {
    await refused(verify(await bundle(([root, a, b, c]) => [root, a, a, b, c] as Bytes[])), 'CHAIN_LEN', 'CHAIN_ORDER', 'CHAIN_PATHLEN', 'CHAIN_SIGNATURE');
    await refused(verify(await bundle(([root, a, , c]) => [root, a, c] as Bytes[])), 'CHAIN_LEN', 'CHAIN_ORDER', 'CHAIN_SIGNATURE');
    const other = await world();
    await refused(verify(await bundle((c) => [...c, other.chain.cabundle[3] as Bytes])), 'CHAIN_LEN', 'CHAIN_ORDER', 'CHAIN_PATHLEN', 'CHAIN_SIGNATURE');
  });

  test('root alone, nothing, seventeen', async () => {
    await refused(verify(await bundle(([root]) => [root as Bytes])), 'CHAIN_LEN', 'CHAIN_ORDER', 'CHAIN_SIGNATURE');
    await refused(verify(await bundle(() => [])), 'FMT_FIELD');
    await refused(verify(await bundle(([root]) => Array.from({ length: 17 }, () => root as Bytes))), 'FMT_FIELD');
  });

  test('a chain of valid signatures that is one certificate short', async () => {
    // instance signs under regional directly: every signature and name holds
    const { levels } = good.chain;
    const short = await world({ root: { ...levels.regional, certificate: levels.regional.certificate } });
    const cabundle = [good.chain.cabundle[0] as Bytes, ...short.chain.cabundle];
    const document = (await evidence({ ...short, trust: good.trust }, { cabundle })).document;
    await refused(verify(document), 'CHAIN_LEN', 'CHAIN_PATHLEN');
  });
});

describe('D7 bytes', () => {
  test('a key twice', async () => {
    await refused(verify(await edited((e) => [...e, e[3] as Entries[number]])), 'FMT_CBOR_DUPLICATE');
    await refused(verify(await edited((e) => [...e, e[3] as Entries[number]], { indefinite: false })), 'FMT_CBOR_DUPLICATE');
  });

  test('an indefinite map elsewhere than around the payload', async () => {
    const pcrs = concat(bytes([0xbf]), cbor(registers()).subarray(1), bytes([0xff]));
    await refused(verify(await edited(replace('pcrs', pcrs))), 'FMT_CBOR');
    await refused(verify(await edited(replace('cabundle', concat(bytes([0x9f]), ...good.chain.cabundle.map(cbor), bytes([0xff]))))), 'FMT_CBOR');
    await refused(verify(await edited(replace('user_data', concat(bytes([0x5f]), cbor(filled(64, 0)), bytes([0xff]))))), 'FMT_CBOR');
  });

  test('an integer or a length in a longer form', async () => {
    await refused(verify(await edited(replace('timestamp', bytes([0x1b, 0, 0, 0, 0, 0, 0, 0, 1])))), 'FMT_CBOR');
    await refused(verify(await edited(replace('nonce', concat(bytes([0x59, 0, 32]), BINDING.nonce)))), 'FMT_CBOR');
  });

  test('a byte after the payload, after the document', async () => {
    await refused(verify(await edited((e) => e, { raw: (p) => concat(p, bytes([0])) })), 'FMT_CBOR_TRAILING');
    await refused(verify(concat((await evidence(good)).document, bytes([0]))), 'FMT_CBOR_TRAILING');
  });

  test('10,000 levels, in the document and in the payload', async () => {
    await refused(verify(filled(10_000, 0x81)), 'FMT_CBOR_DEPTH');
    await refused(verify(await edited(replace('user_data', filled(10_000, 0x81)))), 'FMT_CBOR_DEPTH');
  });

  test('20 MB', async () => {
    await refused(verify(filled(20_000_000, 0x81)), 'FMT_SIZE');
    await refused(verify(await edited((e) => e, { raw: () => filled(16_385, 0) })), 'FMT_SIZE');
  });

  test('another tag', async () => {
    const { document } = await evidence(good);
    await refused(verify(concat(bytes([0xd8, 98]), document)), 'FMT_CBOR');
    await refused(verify(concat(bytes([0xd2, 0xd2]), document)), 'FMT_CBOR');
    await refused(verify(await edited(replace('timestamp', concat(bytes([0xc1]), cbor(NOW))))), 'FMT_CBOR');
  });

  test('text and bytes mixed up', async () => {
    await refused(verify(await edited((e) => e.map(([k, v]) => (same(k, cbor('pcrs')) ? [cbor(utf8('pcrs')), v] : [k, v])))), 'FMT_CBOR');
    await refused(verify(await edited(replace('module_id', cbor(utf8('i-1'))))), 'FMT_FIELD');
    await refused(verify(await edited(replace('user_data', cbor('text')))), 'FMT_FIELD');
    await refused(verify(await edited(replace('certificate', cbor('text')))), 'FMT_FIELD');
  });

  test('registers', async () => {
    await refused(verify((await evidence(good, { pcrs: registers({ 32: filled(48, 1) }) })).document), 'FMT_PCR');
    await refused(verify((await evidence(good, { pcrs: registers({ 4: filled(32, 1) }) })).document), 'FMT_PCR');
    await refused(verify((await evidence(good, { pcrs: new Map() })).document), 'FMT_PCR');
    await refused(verify(await edited(replace('pcrs', cbor(new Map([['0', filled(48, 1)]]))))), 'FMT_PCR');
    await refused(verify(await edited(replace('pcrs', cbor(new Map([[-1, filled(48, 1)]]))))), 'FMT_PCR');
  });

  test('null user_data parses, as the security module writes it, and binds nothing', async () => {
    await refused(verify((await evidence(good, { userData: null })).document), 'BINDING_ABSENT');
  });

  test('fields: missing, unknown, of a wrong kind or size; all at once', async () => {
    for (const key of ['module_id', 'digest', 'timestamp', 'pcrs', 'certificate', 'cabundle']) await refused(verify(await edited(without(key))), 'FMT_FIELD_MISSING');
    await refused(verify(await edited((e) => [...e, [cbor('extra'), cbor(1)]])), 'FMT_FIELD_UNKNOWN');
    await refused(verify(await edited((e) => [...e, [cbor(7), cbor(1)]])), 'FMT_FIELD_UNKNOWN');
    await refused(verify(await edited((e) => [...e, [cbor('nitrotpm_pcrs'), cbor(registers())]])), 'FMT_NITROTPM');
    await refused(verify(await edited(replace('digest', cbor('SHA256')))), 'FMT_DIGEST');
    await refused(verify(await edited(replace('timestamp', cbor(0)))), 'FMT_FIELD');
    await refused(verify(await edited(replace('timestamp', cbor(-5)))), 'FMT_FIELD');
    await refused(verify(await edited(replace('module_id', cbor('')))), 'FMT_FIELD');
    await refused(verify(await edited(replace('certificate', cbor(filled(1025, 0x30))))), 'FMT_FIELD');
    await refused(verify(await edited(replace('public_key', cbor(filled(1025, 1))))), 'FMT_FIELD');
    await refused(verify(await edited(replace('user_data', cbor(filled(513, 1))))), 'FMT_FIELD');
    await refused(verify(await edited(replace('nonce', cbor(filled(513, 1))))), 'FMT_FIELD');
    await refused(verify(await edited((e) => replace('digest', cbor('MD5'))(replace('timestamp', cbor('now'))(without('pcrs')(e))))), 'FMT_FIELD_MISSING', 'FMT_DIGEST', 'FMT_FIELD');
    await refused(verify(await edited(without('nonce'))), 'NONCE_ABSENT');
  });

  test('a payload that is no map', async () => {
    await refused(verify(await edited((e) => e, { raw: () => cbor([1]) })), 'FMT_FIELD');
  });
});

describe('D8 nonce', () => {
  test('the right prefix and a byte more, a byte less, absent', async () => {
    await refused(verify((await evidence(good, { nonce: concat(BINDING.nonce, bytes([2])) })).document), 'NONCE_MISMATCH');
    await refused(verify((await evidence(good, { nonce: BINDING.nonce.slice(0, 31) })).document), 'NONCE_MISMATCH');
    await refused(verify((await evidence(good, { nonce: null })).document), 'NONCE_ABSENT');
  });
});

describe('D9 binding and time', () => {
  test('user_data right, public_key swapped', async () => {
    const { reasons } = await refused(verify((await evidence(good, { publicKey: concat(filled(12, 0x30), filled(32, 9)) })).document), 'BINDING_MISMATCH');
    expect(reasons.map((r) => r.path)).toEqual(['document.public_key']);
  });

  test('six minutes old, 400 seconds ahead', async () => {
    await refused(verify((await evidence(good, { timestamp: (NOW - 360) * 1000 })).document), 'STALE');
    await refused(verify((await evidence(good, { timestamp: (NOW + 400) * 1000 })).document), 'CLOCK_FUTURE');
  });
});

describe('D10 revoked, under other bytes', () => {
  const ORDER = BigInt('0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973');

  /** The same certificate with the signature (r, n - s). */
  function twin(der: Bytes): Bytes {
    const { tbs, signature } = parseCertificate(der, 'certificate');
    const s = ORDER - BigInt(`0x${Buffer.from(signature.subarray(48)).toString('hex')}`);
    const raw = concat(signature.subarray(0, 48), bytes(Buffer.from(s.toString(16).padStart(96, '0'), 'hex')));
    return sequence(tbs, sequence(bytes([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03])), bits(derSignature(raw)));
  }

  test('the signature twin of a revoked intermediate', async () => {
    const instance = good.chain.cabundle[3] as Bytes;
    const cabundle = [...good.chain.cabundle.slice(0, 3), twin(instance)];
    expect(same(cabundle[3] as Bytes, instance)).toBe(false);
    const { document } = await evidence(good, { cabundle });
    await expect(verify(document)).resolves.toBeDefined();
    const { issuerText: issuer, serial } = parseCertificate(instance, 'certificate');
    await refused(verify(document, good, { revoked: [{ issuer, serial }] }), 'REVOKED');
  });

  test('the signature twin of a revoked leaf', async () => {
    const { document } = await evidence(good, { certificate: twin(good.chain.certificate) });
    const { issuerText: issuer, serial } = parseCertificate(good.chain.certificate, 'certificate');
    await refused(verify(document, good, { revoked: [{ issuer, serial }] }), 'REVOKED');
  });

  test('re-encoded with a longer length: no certificate at all', async () => {
    const instance = good.chain.cabundle[3] as Bytes;
    const { tbs } = parseCertificate(instance, 'certificate');
    const content = instance.subarray(4);
    const longer = concat(bytes([0x30, 0x83, 0, content.length >> 8, content.length & 0xff]), content);
    expect(tbs.length).toBeGreaterThan(0);
    await refused(verify((await evidence(good, { cabundle: [...good.chain.cabundle.slice(0, 3), longer] })).document), 'FMT_DER');
  });

  test('the pinned root is compared as bytes: its twin is unpinned', async () => {
    const root = twin(good.chain.cabundle[0] as Bytes);
    expect((await trustRoot(root)).spkiSha256).toBe(good.root.spkiSha256);
    await refused(verify((await evidence(good, { cabundle: [root, ...good.chain.cabundle.slice(1)] })).document), 'CHAIN_ROOT_UNPINNED');
  });
});

/** D42 (launch endorsements) and D64, on synthetic endorsements under a test root: no genuine one is known to this corpus. */
import protobuf from 'protobufjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, hex, utf8 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import type { CollateralItem } from '../../../attestation/collateral/collateral.ts';
import { parseLaunchEndorsement } from '../../../attestation/formats/launch-endorsement.ts';
import { parseCertificate } from '../../../attestation/formats/x509.ts';
import { type EndorsementFacts, type EndorsementInput, GCE_FAMILY_ID, verifyEndorsement } from '../../../attestation/hardware/gce-endorsement.ts';
import { encodeGolden, type EndorsementFields, endorsementFields, type EndorsementPki, makeEndorsementPki, message, signEndorsement, varint } from '../../../attestation/platforms/simulated/endorsement.ts';
import type { AuthorityOptions } from '../../../attestation/platforms/simulated/issue.ts';
import { keyIdOf } from '../../../attestation/platforms/simulated/issue.ts';
import { unknownExtension } from '../../../attestation/platforms/simulated/pki.ts';
import { pemOf } from '../../../attestation/platforms/simulated/tokens.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { PRODUCTION_ROOTS } from '../../../attestation/trust/roots.ts';
import { filled, KEYS, NOW, otherKey, refused, trustOf } from './support.ts';

let pki: EndorsementPki;
beforeAll(async () => { pki = await makeEndorsementPki(NOW, {}, KEYS); });

const SNP: EndorsementInput['machine'] = { kind: 'sevsnp', measurement: filled(48, 0x54), guestPolicy: 0x30000n, vcpus: 4 };
const TDX: EndorsementInput['machine'] = { kind: 'tdx', measurement: filled(48, 0x32), ramGib: 32 };
const FLOOR = { svn: 2, timestamp: NOW - 2 * 86_400 };
const made = (change: Partial<EndorsementFields> = {}, p: EndorsementPki = pki) => signEndorsement(endorsementFields(p, NOW, change), p.signer.key);
const snpPart = (change: Partial<NonNullable<EndorsementFields['snp']>>) => ({ snp: { ...endorsementFields(pki, NOW).snp as NonNullable<EndorsementFields['snp']>, ...change } });
const tdxPart = (change: Partial<NonNullable<EndorsementFields['tdx']>>) => ({ tdx: { ...endorsementFields(pki, NOW).tdx as NonNullable<EndorsementFields['tdx']>, ...change } });

interface Options { readonly machine?: EndorsementInput['machine']; readonly floor?: EndorsementInput['floor']; readonly p?: EndorsementPki; readonly at?: number; readonly items?: readonly CollateralItem[]; readonly trust?: Parameters<typeof trustOf>[1] }
async function verify(endorsement: Bytes | undefined, { machine = TDX, floor = FLOOR, p = pki, at = NOW, items = [], trust = {} }: Options = {}): Promise<EndorsementFacts> {
  const checks = new CheckList();
  const facts = await verifyEndorsement({ machine, floor, ...(endorsement === undefined ? {} : { endorsement }) }, trustOf(items, { roots: [p.trustRoot], ...trust }), at, checks);
  checks.refuseIfFailed();
  if (facts === undefined) throw new Error('no facts and no reason');
  return facts;
}

describe('accepted (synthetic, test root)', () => {
  test('TDX and SEV-SNP, with the rows of the machine\'s size', async () => {
    expect(await verify(await made())).toMatchObject({ kind: 'tdx', svn: 2, timestamp: NOW - 86_400, clSpec: '700000000', uefiSha384: 'd1'.repeat(48), rows: [{ ramGib: 32, earlyAccept: true }], root: pki.trustRoot, collateral: { kind: 'gce-endorsement', issued: NOW - 86_400, source: 'evidence' } });
    expect(await verify(await made(), { machine: SNP })).toMatchObject({ kind: 'sevsnp', svn: 3, rows: [{ vcpus: 4 }] });
  });
  test('a machine of unknown size: the rows say which sizes have this measurement', async () => {
    const same = filled(48, 0x54);
    expect((await verify(await made(snpPart({ rows: [[2, same], [4, same], [8, filled(48, 1)]] })), { machine: { ...SNP, vcpus: 'unknown' } as typeof SNP })).rows).toEqual([{ vcpus: 2 }, { vcpus: 4 }]);
  });
  test('from the collateral, by kind and measurement; the root too, where there is no bundle', async () => {
    const item: CollateralItem = { kind: 'gce-endorsement', key: `tdx/${'32'.repeat(48)}`, bytes: await made({ caBundle: bytes([]) }), source: 'cache', fetchedAt: NOW };
    const ca: CollateralItem = { kind: 'google-ca', key: hex(await keyIdOf(pki.root.key.spki)), bytes: pki.root.certificate, source: 'cache', fetchedAt: NOW };
    expect((await verify(undefined, { items: [item, ca] })).collateral.source).toBe('cache');
    await refused(verify(undefined, { items: [item] }), 'CHAIN_ROOT_UNPINNED', 'ENDORSEMENT_CHAIN');
    await refused(verify(undefined, { items: [item, ca], machine: SNP }), 'COLLATERAL_ABSENT');
  });
  test('signed fields of a newer version are passed over', async () => {
    await expect(verify(await made({ more: [[15, 1], [16, utf8('new')]] }))).resolves.toMatchObject({ svn: 2 });
  });
  test('at the edges of its floors and dates', async () => {
    await expect(verify(await made(), { floor: { svn: 2, timestamp: NOW - 86_400 } })).resolves.toBeDefined();
    const p = await makeEndorsementPki(NOW, { signer: { notAfter: NOW } }, KEYS);
    await expect(verify(await made({}, p), { p })).resolves.toBeDefined();
  });
});

describe('D42: endorsement', () => {
  test.each<[string, Partial<EndorsementFields>, Options, RefusalCode]>([
    ['security version below the floor', {}, { floor: { ...FLOOR, svn: 3 } }, 'ENDORSEMENT_SVN'], ['a floor that is no number', {}, { floor: { ...FLOOR, svn: Number.NaN } }, 'ENDORSEMENT_SVN'],
    ['rolled back in time', { timestamp: NOW - 3 * 86_400 }, {}, 'ENDORSEMENT_TIMESTAMP'], ['of the future', { timestamp: NOW + 301 }, {}, 'CLOCK_FUTURE'],
    ['row of a machine with other RAM', {}, { machine: { ...TDX, ramGib: 16 } as typeof TDX }, 'ENDORSEMENT_ROW'], ['row of a machine with more vCPUs', {}, { machine: { ...SNP, vcpus: 2 } as typeof SNP }, 'ENDORSEMENT_ROW'],
    ['a measurement that is not listed', {}, { machine: { ...TDX, measurement: filled(48, 9) } }, 'ENDORSEMENT_MEASUREMENT'], ['a part of a measurement', {}, { machine: { ...TDX, measurement: filled(47, 0x32) } }, 'ENDORSEMENT_MEASUREMENT'],
    ['no measurements at all', { tdx: { svn: 2, rows: [] } }, {}, 'ENDORSEMENT_MEASUREMENT'], ['nothing on TDX', { tdx: null }, {}, 'ENDORSEMENT_MEASUREMENT'], ['nothing on SEV-SNP', { snp: null }, { machine: SNP }, 'ENDORSEMENT_MEASUREMENT'],
    ['the measurement of the other technology', {}, { machine: { ...TDX, measurement: filled(48, 0x54) } }, 'ENDORSEMENT_MEASUREMENT'],
  ])('%s', async (_, change, options, code) => { await refused(verify(await made(change), options), code); });
});

describe('D64', () => {
  test('valid, but of another family of firmware', async () => {
    await refused(verify(await made(snpPart({ familyId: filled(16, 1) })), { machine: SNP }), 'ENDORSEMENT_FAMILY');
    expect(hex((parseLaunchEndorsement(await made(), 'e').snp as { familyId: Bytes }).familyId)).toBe(GCE_FAMILY_ID);
  });
  test('its policy allows a migration agent: the report\'s own counts, and nothing hands the other one out', async () => {
    const endorsement = await made();
    await refused(verify(endorsement, { machine: { ...SNP, guestPolicy: 0x70000n } as typeof SNP }), 'GUEST_POLICY');
    const facts = await verify(endorsement, { machine: SNP });
    expect(JSON.stringify(facts)).not.toMatch(/policy/i);
    expect(Object.keys(parseLaunchEndorsement(endorsement, 'e').snp ?? {})).not.toContain('policy');
  });
  test.each<[string, 'root' | 'signer', Partial<AuthorityOptions>, RefusalCode]>([
    ['signer expired at the time', 'signer', { notAfter: NOW - 1 }, 'CHAIN_EXPIRED'], ['signer of tomorrow', 'signer', { notBefore: NOW + 86_400 }, 'CHAIN_NOT_YET_VALID'], ['root expired', 'root', { notAfter: NOW - 1 }, 'CHAIN_EXPIRED'],
    ['signer with an unknown critical extension', 'signer', { extensions: [unknownExtension(true)] }, 'CHAIN_CRITICAL_EXTENSION'], ['signer without digitalSignature', 'signer', { keyUsage: ['keyEncipherment'] }, 'CHAIN_KEY_USAGE'],
    ['root that is no CA', 'root', { pathLen: null, keyUsage: ['keyCertSign'] }, 'CHAIN_CA'],
  ])('%s', async (_, level, change, code) => {
    const p = await makeEndorsementPki(NOW, { [level]: change }, KEYS);
    await refused(verify(await made({}, p), { p }), code, 'ENDORSEMENT_CHAIN');
  });
  test('another root; another key of the signer; Google\'s own root pinned only', async () => {
    const p = await makeEndorsementPki(NOW, {}, KEYS);
    await refused(verify(await made({}, p)), 'CHAIN_ROOT_UNPINNED', 'ENDORSEMENT_CHAIN');
    const q = await makeEndorsementPki(NOW, { signer: { signWith: await otherKey() } }, KEYS);
    await refused(verify(await made({}, q), { p: q }), 'CHAIN_SIGNATURE', 'ENDORSEMENT_CHAIN');
    await refused(verify(await made(), { trust: { roots: PRODUCTION_ROOTS } }), 'CHAIN_ROOT_UNPINNED', 'ENDORSEMENT_CHAIN');
    await refused(verify(await made(), { trust: { roots: [{ ...pki.trustRoot, purpose: 'google-cs' }] } }), 'CHAIN_ROOT_UNPINNED', 'ENDORSEMENT_CHAIN');
  });
  test('a signer that the operator denies', async () => {
    const { issuerText, serial } = parseCertificate(pki.signer.certificate, 'signer');
    await refused(verify(await made(), { trust: { revoked: [{ issuer: issuerText, serial }] } }), 'REVOKED', 'ENDORSEMENT_CHAIN');
  });
});

describe('signature', () => {
  test('by another key, with another scheme, over other bytes', async () => {
    const fields = endorsementFields(pki, NOW);
    await refused(verify(await signEndorsement(fields, await otherKey())), 'ENDORSEMENT_SIGNATURE');
    for (const algorithm of ['RS256', 'PS384'] as const) await refused(verify(await signEndorsement(fields, pki.signer.key, { algorithm })), 'ENDORSEMENT_SIGNATURE');
    const whole = await made();
    const { signature } = parseLaunchEndorsement(whole, 'e');
    await refused(verify(message([1, encodeGolden({ ...fields, clSpec: 1 })], [2, signature])), 'ENDORSEMENT_SIGNATURE');
    // The same values in another order are other bytes
    await refused(verify(message([1, concat(encodeGolden({ ...fields, tdx: null }), message([8, concat(message([1, 2]), ...(fields.tdx?.rows ?? []).map((r) => message([2, message([1, r.ramGib], [3, r.mrtd])])))]))], [2, signature])), 'ENDORSEMENT_SIGNATURE');
  });
});

/** Where each of them is found out, and as what. */
const WHERE: Readonly<Record<string, string>> = {
  'empty': 'endorsement.serialized_uefi_golden: nothing',
  'no signature': 'endorsement.signature: nothing',
  'no golden measurement': 'endorsement.serialized_uefi_golden: nothing',
  'a field outside of what is signed': 'endorsement: more than 2 fields',
  'the signature twice': 'endorsement: more than 2 fields',
  'bytes behind': 'endorsement: more than 2 fields',
  'cut': 'endorsement.signature: 512 bytes with 511 left',
  'more than 64 KiB': 'endorsement:',
  'the timestamp twice': 'endorsement.golden.timestamp: a singular field twice',
  'the certificate twice': 'endorsement.golden.cert: a singular field twice',
  'the TDX part twice': 'endorsement.golden.tdx: a singular field twice',
  'no timestamp': 'endorsement.golden.timestamp: nothing',
  'the timestamp 0': 'endorsement.golden.timestamp: 0 s',
  'no certificate': 'endorsement.golden.cert: nothing',
  'a digest of SHA-256': 'endorsement.golden.digest: 32 bytes',
  'an MRTD of 47 bytes': 'endorsement.golden.tdx.measurements[0].mrtd: 47 bytes',
  'a measurement of 64 bytes': 'endorsement.golden.sev_snp.measurements[0].measurement: 64 bytes',
  'a row for 0 vCPUs': 'endorsement.golden.sev_snp.measurements[0].vcpus: 0',
  'a number of vCPUs twice': 'endorsement.golden.sev_snp.measurements: a number of vCPUs twice',
  'a family of 15 bytes': 'endorsement.golden.sev_snp.family_id: 15 bytes',
  'a security version of 33 bits': 'endorsement.golden.tdx.svn: 4294967296',
  'early_accept 2': 'endorsement.golden.tdx.measurements[0].early_accept: 2',
  'a number in more bytes than it needs': 'endorsement.golden.field 15: a number in more bytes than it needs',
  'a group': 'endorsement.golden.field 15: wire type 3',
  'field 0': 'endorsement.golden: field number 0',
  'a length beyond the end': 'endorsement.golden.field 15: 9223372036854775808 bytes with 0 left',
  'a number of 11 bytes': 'endorsement.golden.field 15: a number of more than 10 bytes',
  'a known field of another type': 'endorsement.golden.cl_spec: wire type 2',
};

describe('form', () => {
  const golden = async (edit: (fields: EndorsementFields) => Bytes) => signEndorsement(endorsementFields(pki, NOW), pki.signer.key, { golden: edit(endorsementFields(pki, NOW)) });
  const row = (r: Bytes) => tdxPart({ rows: [{ ramGib: 1, earlyAccept: false, mrtd: r }] });
  test.each<[string, () => Promise<Bytes>]>([
    ['empty', async () => bytes([])], ['no signature', async () => message([1, encodeGolden(endorsementFields(pki, NOW))])], ['no golden measurement', async () => message([2, filled(512, 1)])],
    ['a field outside of what is signed', async () => signEndorsement(endorsementFields(pki, NOW), pki.signer.key, { more: [[3, 1]] })], ['the signature twice', async () => signEndorsement(endorsementFields(pki, NOW), pki.signer.key, { more: [[2, filled(512, 1)]] })],
    ['bytes behind', async () => concat(await made(), bytes([0]))], ['cut', async () => (await made()).slice(0, -1)], ['more than 64 KiB', async () => concat(await made(), filled(70_000, 0))],
    ['the timestamp twice', () => golden((f) => concat(encodeGolden(f), message([1, message([1, NOW])])))], ['the certificate twice', () => golden((f) => concat(encodeGolden(f), message([4, f.cert])))], ['the TDX part twice', () => golden((f) => concat(encodeGolden(f), message([8, message([1, 99])])))],
    ['no timestamp', () => golden((f) => encodeGolden(f).slice(8))], ['the timestamp 0', () => made({ timestamp: 0 })], ['no certificate', () => golden((f) => message([1, message([1, f.timestamp])], [5, f.digest]))],
    ['a digest of SHA-256', () => made({ digest: filled(32, 1) })], ['an MRTD of 47 bytes', () => made(row(filled(47, 1)))], ['a measurement of 64 bytes', () => made(snpPart({ rows: [[1, filled(64, 1)]] }))], ['a row for 0 vCPUs', () => made(snpPart({ rows: [[0, filled(48, 1)]] }))],
    ['a number of vCPUs twice', () => made(snpPart({ rows: [[2, filled(48, 1)], [2, filled(48, 2)]] }))], ['a family of 15 bytes', () => made(snpPart({ familyId: filled(15, 1) }))], ['a security version of 33 bits', () => made(tdxPart({ svn: 2 ** 32 }))],
    ['early_accept 2', () => golden((f) => encodeGolden({ ...f, tdx: null, more: [[8, message([1, 2], [2, message([1, 1], [2, 2], [3, filled(48, 1)])])]] }))], ['a number in more bytes than it needs', () => golden((f) => concat(encodeGolden({ ...f, clSpec: 0 }), bytes([0x78, 0x81, 0x00])))],
    ['a group', () => golden((f) => concat(encodeGolden(f), bytes([0x7b, 0x7c])))], ['field 0', () => golden((f) => concat(encodeGolden(f), bytes([0x00, 0x00])))], ['a length beyond the end', () => golden((f) => concat(encodeGolden(f), bytes([0x7a]), varint(2n ** 63n)))],
    ['a number of 11 bytes', () => golden((f) => concat(encodeGolden(f), bytes([0x78]), filled(10, 0xff), bytes([1])))], ['a known field of another type', () => golden((f) => concat(encodeGolden({ ...f, more: [] }).slice(0, 8), message([2, utf8('700000000')])))],
  ])('%s', async (what, make) => { const { reasons } = await refused(verify(await make()), 'ENDORSEMENT_FORMAT'); expect(reasons.map((r) => `${r.path}: ${r.have}`)).toEqual([expect.stringContaining(WHERE[what] as string)]); });
  test.each<[string, Bytes]>([['no PEM', utf8('root')], ['five certificates', utf8('x')]])('a bundle of %s', async (what, caBundle) => {
    await refused(verify(await made({ caBundle: what === 'no PEM' ? caBundle : utf8(pemOf(pki.root.certificate).repeat(5)) })), 'FMT_PEM');
  });
  test('a certificate that is none', async () => { await refused(verify(await made({ cert: utf8('x') })), 'FMT_DER', 'ENDORSEMENT_CHAIN'); });
});

test('protobufjs reads the same (differential), and writes what this reads', async () => {
  const { root } = protobuf.parse(`syntax = "proto3";
    message E { bytes golden = 1; bytes signature = 2; }
    message T { int64 seconds = 1; int32 nanos = 2; }
    message G { T timestamp = 1; uint64 cl_spec = 2; bytes commit = 3; bytes cert = 4; bytes digest = 5; bytes ca_bundle = 6; S sev_snp = 7; X tdx = 8; }
    message S { uint32 svn = 1; map<uint32, bytes> measurements = 2; bytes family_id = 3; bytes image_id = 4; uint64 policy = 5; bytes ca_bundle = 6; bytes svsm_measurement = 7; }
    message X { message M { uint32 ram_gib = 1; bool early_accept = 2; bytes mrtd = 3; } uint32 svn = 1; repeated M measurements = 2; }`, { keepCase: true });
  const [E, G] = [root.lookupType('E'), root.lookupType('G')];
  const whole = await made();
  const ours = parseLaunchEndorsement(whole, 'e');
  const outer = E.toObject(E.decode(whole)) as { golden: Uint8Array; signature: Uint8Array };
  expect([hex(outer.golden), hex(outer.signature)]).toEqual([hex(ours.golden), hex(ours.signature)]);
  const theirs = G.toObject(G.decode(outer.golden), { longs: Number, bytes: Array }) as { timestamp: { seconds: number }; cl_spec: number; sev_snp: { svn: number; policy: number; measurements: Record<string, number[]> }; tdx: { svn: number; measurements: { ram_gib: number; early_accept?: boolean; mrtd: number[] }[] } };
  expect([theirs.timestamp.seconds, theirs.cl_spec, theirs.sev_snp.svn, theirs.sev_snp.policy, theirs.tdx.svn]).toEqual([ours.timestamp, Number(ours.clSpec), 3, 0x70000, 2]);
  expect(Object.entries(theirs.sev_snp.measurements).map(([k, v]) => [Number(k), hex(bytes(v))])).toEqual(ours.snp?.rows.map((r) => [r.vcpus, hex(r.measurement)]));
  expect(theirs.tdx.measurements.map((m) => [m.ram_gib, m.early_accept ?? false, hex(bytes(m.mrtd))])).toEqual(ours.tdx?.rows.map((r) => [r.ramGib, r.earlyAccept, hex(r.measurement)]));

  const written = bytes(G.encode(G.fromObject({
    timestamp: { seconds: NOW - 86_400 }, cl_spec: 5, cert: pki.signer.certificate, digest: filled(48, 1), ca_bundle: utf8(pemOf(pki.root.certificate)),
    sev_snp: { svn: 1, measurements: { 1: filled(48, 1), 128: filled(48, 2) }, family_id: filled(16, 1), image_id: filled(16, 2), policy: 0x30000, svsm_measurement: filled(48, 9) }, tdx: { svn: 4, measurements: [{ ram_gib: 300, mrtd: filled(48, 0x32) }] },
  })).finish());
  expect(await verify(await signEndorsement(endorsementFields(pki, NOW), pki.signer.key, { golden: written }), { machine: { ...TDX, ramGib: 300 } as typeof TDX })).toMatchObject({ svn: 4, clSpec: '5', rows: [{ ramGib: 300, earlyAccept: false }] });
});

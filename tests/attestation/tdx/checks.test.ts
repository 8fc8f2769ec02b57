/** Verification of simulated quotes: what passes says what was checked; each check fails alone, under signatures that verify. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, hex, sha256, text, utf8 } from '../../../attestation/bytes.ts';
import { derSignature } from '../../../attestation/platforms/simulated/keys.ts';
import { basicConstraints, dn, keyUsage } from '../../../attestation/platforms/simulated/issue.ts';
import { octets, oid, sequence } from '../../../attestation/platforms/simulated/der-writer.ts';
import { PCK_EXTENSION } from '../../../attestation/formats/intel-pck.ts';
import { intelTime, isvLevel, module, qeIdentity, signStatement, svns, tcbInfo } from '../../../attestation/platforms/simulated/tdx-collateral.ts';
import { intelName, pckExtension, pckPairs, PCK_FIELDS, pem, pinIntel } from '../../../attestation/platforms/simulated/tdx-pki.ts';
import type { TdxWorld, TdxWorldOptions } from '../../../attestation/platforms/simulated/tdx.ts';
import { TD_FIELDS } from '../../../attestation/platforms/simulated/tdx-quote.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { filled } from '../support.ts';
import { item, NOW, RING, verdict, type VerdictOptions, world } from './support.ts';

let good: TdxWorld;
beforeAll(async () => { good = await world(); });

describe('accepted', () => {
  test('a quote of version 4: facts and every check', async () => {
    const { facts, checks } = await verdict(good);
    expect(facts).toMatchObject({
      sha256: hex(await sha256(good.quote)), revocation: { status: 'good' }, pck: { ca: 'platform', root: { anchor: 'development' }, platform: { fmspc: 'b0c06f000000', pceId: '0000', pceSvn: 13, sgxType: 1, configuration: { smt: true } } },
      tcb: { status: 'UpToDate', advisories: [], evaluationNumber: 20, relaunchAdvised: false, date: Date.UTC(2026, 1, 11) / 1000, issued: NOW - 7200, nextUpdate: NOW + 29 * 86_400 },
      quote: { version: 4, trailing: 0, body: { kind: 'td-1.0' } },
    });
    expect(facts?.pck.ppidSha256).toBe(hex(await sha256(PCK_FIELDS.ppid)));
    expect(facts?.quote.body.mrTd).toEqual(TD_FIELDS.mrTd);
    expect(facts?.collateral.map((c) => c.kind)).toEqual(['intel-tcb-info', 'intel-qe-identity', 'intel-root-crl', 'intel-pck-crl']);
    expect(facts?.revocation.crls).toHaveLength(2);
    const ids = new Set(checks.done.map((c) => c.id));
    for (const id of ['TDX-FORMAT', 'TDX-SIGNATURE', 'TDX-QE-BINDING', 'TDX-QE-SIGNATURE', 'TDX-QE-DEBUG', 'TDX-PCK-CHAIN-ROOT', 'TDX-PCK-CHAIN-SIGNATURE', 'TDX-PCK-CRL-SIGNATURE', 'TDX-PCK-CRL-SERIAL', 'TDX-PCK-CA', 'TDX-SIGNER-CHAIN-SIGNATURE', 'TDX-SIGNER-CRL-SERIAL',
      'TDX-COLLATERAL-SIGNATURE', 'TDX-COLLATERAL-CURRENT', 'TDX-TCB-INFO-PLATFORM', 'TDX-QE-IDENTITY-MATCH', 'TDX-QE-LEVEL', 'TDX-TCB-LEVEL', 'TDX-MODULE', 'TDX-MODULE-SIGNER', 'TDX-MODULE-ATTRIBUTES', 'TDX-MODULE-LEVEL']) expect(ids, id).toContain(id);
    expect(checks.done.every((c) => c.result === 'pass')).toBe(true);
  });

  test.each<[string, Partial<TdxWorldOptions>]>([
    ['version 5, TD 1.5', { quote: { version: 5 } }],
    ['version 5, TD 1.0', { quote: { version: 5, kind: 'td-1.0' } }],
    ['a Processor CA, without instance and configuration', { ca: 'processor', pck: { platformInstanceId: null, configuration: null } }],
    ['no auth data', { quote: { authData: new Uint8Array() } }],
    ['auth data of 1,024 bytes', { quote: { authData: filled(1024, 7) } }],
    ['zeros behind the quote', { quote: { padding: { quote: new Uint8Array(3000) } } }],
    ['members that nobody knows in the TCB info', { tcbInfo: { tcbInfoExtra: { a: [1, 'x'] } } }],
    ['a module of major version 0', { quote: { td: { teeTcbSvn: bytes([5, 0, 3, ...filled(13, 0)]) } } }],
  ])('%s', async (_, options) => {
    const { facts } = await verdict(await world(options));
    expect(facts?.tcb?.status).toBe('UpToDate');
  });

  test('without the TCB, when that is asked for, and saying so', async () => {
    const { facts, checks } = await verdict(good, { input: { tcb: 'skip' }, without: ['intel-tcb-info/b0c06f000000', 'intel-qe-identity/td'] });
    expect(facts?.tcb).toBeNull();
    expect(checks.done).toContainEqual({ id: 'TDX-TCB', result: 'skipped-by-policy', evidenceRef: 'quote' });
  });
});

const otherKey = () => RING.get('P-256', 'other');
/** What is signed again with another text, under the original signature. */
const altered = (data: Bytes, from: string, to: string): Bytes => {
  const source = text(data);
  expect(source).toContain(from);
  return utf8(source.replace(from, to));
};

type Case = readonly [name: string, codes: readonly RefusalCode[], make: () => Promise<{ world?: Partial<TdxWorldOptions>; verdict?: VerdictOptions }> | { world?: Partial<TdxWorldOptions>; verdict?: VerdictOptions }];
const run = async ([, codes, make]: Case): Promise<void> => {
  const made = await make();
  const w = made.world === undefined ? good : await world(made.world);
  expect((await verdict(w, made.verdict)).codes.sort()).toEqual([...codes].sort());
};
const LISTS = ['intel-root-crl/root', 'intel-pck-crl/platform'];

describe('keys and signatures', () => {
  const cases: Case[] = [
    ['quote signed by another key', ['SIG_INVALID'], async () => ({ world: { quote: { signWith: await otherKey() } } })],
    ['report of the QE signed by another key', ['SIG_INVALID'], async () => ({ world: { quote: { qeSignWith: await otherKey() } } })],
    ['attestation key that the QE does not vouch for', ['QE_BINDING'], () => ({ world: { quote: { qeReportData: filled(64, 1) } } })],
    ['attestation key bound, with something in the upper half', ['QE_BINDING'], async () => ({ world: { quote: { qeReportData: concat(await sha256(concat((await RING.get('P-256', 'tdx-attestation')).spki.slice(-64), Uint8Array.from({ length: 32 }, (_, i) => i))), filled(32, 1)) } } })],
    ['QE in debug mode', ['QE_IDENTITY'], () => ({ world: { quote: { qe: { attributes: bytes([0x17, ...filled(7, 0), 0xe7, ...filled(7, 0)]) } } } })],
    ['QE in debug mode, the TCB not asked for', ['QE_IDENTITY'], () => ({ world: { quote: { qe: { attributes: bytes([0x17, ...filled(15, 0)]) } } }, verdict: { input: { tcb: 'skip' } } })],
  ];
  test.each(cases)('%s', async (...c) => run(c));
});

describe('certificates of the platform', () => {
  const cases: Case[] = [
    ['another root', ['CHAIN_ROOT_UNPINNED'], async () => ({ verdict: { trust: { roots: [await pinIntel((await world({ change: { root: { notAfter: NOW + 9_000_000 } } })).pki.root.certificate)] }, input: { tcb: 'skip' } } })],
    ['no root pinned', ['CHAIN_ROOT_UNPINNED'], () => ({ verdict: { trust: { roots: [] } } })],
    ['the root pinned for another purpose', ['CHAIN_ROOT_UNPINNED'], () => ({ verdict: { trust: { roots: [{ ...good.root, purpose: 'azure-vtpm' }] } } })],
    ['PCK expired', ['CHAIN_EXPIRED'], () => ({ world: { change: { pck: { notAfter: NOW - 1 } } } })],
    ['PCK not yet valid', ['CHAIN_NOT_YET_VALID'], () => ({ world: { change: { pck: { notBefore: NOW + 100 } } } })],
    ['CA expired', ['CHAIN_EXPIRED'], () => ({ world: { change: { ca: { notAfter: NOW - 1 } } } })],
    ['PCK signed by another key', ['CHAIN_SIGNATURE'], async () => ({ world: { change: { pck: { signWith: await otherKey() } } } })],
    ['PCK that is a CA', ['CHAIN_CA'], () => ({ world: { change: { pck: { pathLen: 'unlimited', keyUsage: ['digitalSignature'] } } } })],
    ['PCK that may sign certificates', ['CHAIN_KEY_USAGE'], () => ({ world: { change: { pck: { keyUsage: ['digitalSignature', 'keyCertSign'] } } } })],
    ['CA without basicConstraints of a CA', ['CHAIN_CA'], async () => ({ world: { change: { ca: { change: { extensions: [basicConstraints(false), keyUsage(['keyCertSign', 'cRLSign'])] } } } } })],
    ['CA that may not sign certificates', ['CHAIN_KEY_USAGE'], () => ({ world: { change: { ca: { keyUsage: ['cRLSign'] } } } })],
    ['root with pathLen 0', ['CHAIN_PATHLEN'], () => ({ world: { change: { root: { pathLen: 0 } } } })],
    ['PCK of another name', ['CHAIN_NAME'], () => ({ world: { change: { pck: { subject: intelName('Intel SGX TCB Signing') } } } })],
    ['the TCB signing certificate in place of the PCK', ['CHAIN_LEN', 'CHAIN_NAME', 'FMT_FIELD_MISSING'], () => ({ world: { quote: { qeSignWith: good.pki.signer.key, pckChain: pem(good.pki.signer.certificate, good.pki.ca.certificate, good.pki.root.certificate) } }, verdict: { trust: { roots: [good.root], revocation: 'ifAvailable' }, input: { tcb: 'skip' }, without: LISTS } })],
    ['CA of another name', ['CHAIN_NAME'], () => ({ world: { change: { ca: { subject: intelName('Intel SGX PCK Other CA') } } }, verdict: { trust: { revocation: 'ifAvailable' }, without: ['intel-pck-crl/platform'] } })],
    ['CA of another organization', [], () => ({ world: { change: { ca: { subject: dn([['CN', 'Intel SGX PCK Platform CA'], ['C', 'US']]) } } } })],
    ['PCK on the operator\'s deny-list', ['REVOKED'], () => ({ verdict: { trust: { revoked: [{ issuer: 'C=US,ST=CA,L=Santa Clara,O=Intel Corporation,CN=Intel SGX PCK Platform CA', serial: hex(good.pki.pck.template.serial) }] } } })],
    ['two certificates', ['CHAIN_LEN'], () => ({ world: { quote: { pckChain: pem(good.pki.pck.certificate, good.pki.ca.certificate) } } })],
    ['four certificates', ['FMT_PEM'], () => ({ world: { quote: { pckChain: pem(good.pki.pck.certificate, good.pki.ca.certificate, good.pki.root.certificate, good.pki.root.certificate) } } })],
    ['text between the certificates', ['FMT_PEM'], () => ({ world: { quote: { pckChain: `${pem(good.pki.pck.certificate)}Subject: x\n${pem(good.pki.ca.certificate, good.pki.root.certificate)}` } } })],
    ['a PEM hidden in white space', ['FMT_PEM'], () => ({ world: { quote: { pckChain: pem(good.pki.pck.certificate).replace('-----\n', '-----\n \t') + pem(good.pki.ca.certificate, good.pki.root.certificate) } } })],
    ['the root as PCK CA twice', ['CHAIN_ORDER'], () => ({ world: { quote: { pckChain: pem(good.pki.pck.certificate, good.pki.root.certificate, good.pki.root.certificate) } }, verdict: { trust: { roots: [good.root], revocation: 'ifAvailable' }, input: { tcb: 'skip' }, without: LISTS } })],
    ['no SGX extension', ['FMT_FIELD_MISSING'], () => ({ world: { pckExtension: null } })],
    ...['ppid', 'pceId', 'fmspc', 'sgxType'].map((field, i): Case => [`no ${field}`, ['FMT_FIELD_MISSING'], () => ({ world: { pckExtension: pckExtension(PCK_FIELDS, (p) => ({ ...p, platform: p.platform.filter((_, at) => at !== i) })) } })]),
    ['a component missing', ['FMT_FIELD_MISSING'], () => ({ world: { pckExtension: pckExtension(PCK_FIELDS, (p) => ({ ...p, tcb: p.tcb.slice(1) })) } })],
    ['a component twice', ['FMT_DER'], () => ({ world: { pckExtension: pckExtension(PCK_FIELDS, (p) => ({ ...p, tcb: [...p.tcb, p.tcb[0] as Bytes] })) } })],
    ['the FMSPC twice', ['FMT_DER'], () => ({ world: { pckExtension: pckExtension(PCK_FIELDS, (p) => ({ ...p, platform: [...p.platform, p.platform[2] as Bytes] })) } })],
    ['a component of 256', ['FMT_DER'], () => ({ world: { pck: { components: [256, ...PCK_FIELDS.components.slice(1)] } } })],
    ['an FMSPC of five bytes', ['FMT_DER'], () => ({ world: { pck: { fmspc: filled(5, 1) } } })],
    ['a PPID of 17 bytes', ['FMT_DER'], () => ({ world: { pck: { ppid: filled(17, 1) } } })],
    ['two values of one field', ['FMT_DER'], () => ({ world: { pckExtension: pckExtension(PCK_FIELDS, (p) => ({ ...p, platform: p.platform.with(2, sequence(oid(`${PCK_EXTENSION}.4`), octets(PCK_FIELDS.fmspc), octets(PCK_FIELDS.fmspc))) })) } })],
    ['a field without value', ['FMT_DER'], () => ({ world: { pckExtension: pckExtension(PCK_FIELDS, (p) => ({ ...p, platform: p.platform.with(2, sequence(oid(`${PCK_EXTENSION}.4`))) })) } })],
    ['a field that nobody knows', ['FMT_DER'], () => ({ world: { pckExtension: pckExtension(PCK_FIELDS, (p) => ({ ...p, platform: [...p.platform, pckPairs(PCK_FIELDS).tcb[17] as Bytes] })) } })],
  ];
  test.each(cases)('%s', async (...c) => run(c));
});

describe('revocation', () => {
  const pckCrl = (bytesOf: Bytes): VerdictOptions => ({ replace: [{ kind: 'intel-pck-crl', bytes: bytesOf }] });
  const cases: Case[] = [
    ['no list of the CA', ['CRL_ABSENT'], () => ({ verdict: { without: ['intel-pck-crl/platform'] } })],
    ['no list of the root', ['CRL_ABSENT'], () => ({ verdict: { without: ['intel-root-crl/root'] } })],
    ['random bytes', ['CRL_FORMAT'], () => ({ verdict: pckCrl(filled(300, 0x5a)) })],
    ['an empty list by another issuer', ['CRL_ISSUER'], () => ({ verdict: pckCrl(good.pki.rootCrl) })],
    ['the list of the other CA', ['CRL_ISSUER'], async () => ({ verdict: pckCrl((await world({ ca: 'processor' })).pki.pckCrl) })],
    ['a list with a bad signature', ['CRL_SIGNATURE'], async () => ({ world: { pckCrl: { signWith: await otherKey() } } })],
    ['an expired list', ['CRL_EXPIRED'], () => ({ world: { pckCrl: { nextUpdate: NOW - 1 } } })],
    ['a list of the future', ['CRL_NOT_YET_VALID'], () => ({ world: { pckCrl: { thisUpdate: NOW + 100 } } })],
    ['an expired list of the root', ['CRL_EXPIRED'], () => ({ world: { rootCrl: { nextUpdate: NOW - 1 } } })],
    ['PCK revoked', ['REVOKED'], () => ({ world: { pckCrl: { revoked: [good.pki.pck] }, change: { pck: { change: { serial: good.pki.pck.template.serial } } } } })],
    ['CA revoked', ['REVOKED'], () => ({ world: { rootCrl: { revoked: [good.pki.ca] }, change: { ca: { change: { serial: good.pki.ca.template.serial } } } } })],
    ['TCB signing certificate revoked', ['REVOKED'], () => ({ world: { rootCrl: { revoked: [good.pki.signer] }, change: { signer: { change: { serial: good.pki.signer.template.serial } } } } })],
  ];
  test.each(cases)('%s', async (...c) => run(c));

  test('lists that may be absent: nothing passes for good', async () => {
    const { facts, checks } = await verdict(good, { trust: { revocation: 'ifAvailable' }, without: ['intel-pck-crl/platform', 'intel-root-crl/root'] });
    expect(facts?.revocation).toEqual({ status: 'unchecked', crls: [] });
    expect(checks.done.some((c) => c.result === 'skipped-by-policy' && c.id.startsWith('TDX-PCK-CRL'))).toBe(true);
    const half1 = await verdict(good, { trust: { revocation: 'ifAvailable' }, without: ['intel-pck-crl/platform'] });
    expect(half1.facts?.revocation.status).toBe('unchecked');
  });
});

describe('collateral', () => {
  const info = (change: Parameters<typeof tcbInfo>[1]): { world: Partial<TdxWorldOptions> } => ({ world: { tcbInfo: change } });
  const level = (tcb: object) => ({ tcb: { sgxtcbcomponents: svns([]), pcesvn: 1, tdxtcbcomponents: svns([]), ...tcb }, tcbDate: '2026-02-11T00:00:00Z', tcbStatus: 'UpToDate' });
  const qe = (change: Parameters<typeof qeIdentity>[1]): { world: Partial<TdxWorldOptions> } => ({ world: { qeIdentity: change } });
  const replaced = (kind: 'intel-tcb-info' | 'intel-qe-identity', from: string, to: string): { verdict: VerdictOptions } => ({ verdict: { replace: [{ kind, bytes: altered(item(good, kind).bytes, from, to) }] } });
  const cases: Case[] = [
    ...(['intel-tcb-info/b0c06f000000', 'intel-qe-identity/td', 'intel-tcb-signing-chain/tcb-info', 'intel-tcb-signing-chain/qe-identity'] as const).map((key): Case => [`no ${key}`, ['COLLATERAL_ABSENT'], () => ({ verdict: { without: [key] } })]),
    ['no collateral at all, lists not asked for', ['COLLATERAL_ABSENT'], () => ({ verdict: { trust: { collateral: undefined, revocation: 'ifAvailable' } } })],
    ['TCB info, one digit otherwise', ['COLLATERAL_SIGNATURE'], () => replaced('intel-tcb-info', '"pcesvn":13', '"pcesvn":12')],
    ['TCB info, one space more', ['COLLATERAL_SIGNATURE'], () => replaced('intel-tcb-info', '"tcbType":0', '"tcbType": 0')],
    ['QE identity, another level', ['COLLATERAL_SIGNATURE'], () => replaced('intel-qe-identity', '"isvsvn":6', '"isvsvn":5')],
    ['signed by another key', ['COLLATERAL_SIGNATURE'], async () => ({ world: { signStatementsWith: await otherKey() } })],
    ['signed by the PCK key', ['COLLATERAL_SIGNATURE'], () => ({ world: { signStatementsWith: good.pki.pck.key } })],
    ['the signature as DER, cut', ['COLLATERAL_FORMAT'], () => ({ verdict: { replace: [{ kind: 'intel-tcb-info', bytes: altered(item(good, 'intel-tcb-info').bytes, '"signature":"', `"signature":"${hex(derSignature(filled(64, 1))).slice(0, 2)}`) }] } })],
    ['TCB info of version 2', ['COLLATERAL_FORMAT'], () => info({ version: 2 })],
    ['TCB info of SGX', ['COLLATERAL_FORMAT'], () => info({ id: 'SGX' })],
    ['TCB info of another type', ['COLLATERAL_FORMAT'], () => info({ tcbType: 1 })],
    ['TCB info without levels', ['COLLATERAL_FORMAT'], () => info({ tcbLevels: [] })],
    ['TCB info with a status that nobody knows', ['COLLATERAL_FORMAT'], () => info({ tcbLevels: [{ ...(tcbInfo(NOW)['tcbLevels'] as object[])[0], tcbStatus: 'Fine' }] })],
    ['TCB info with a module twice', ['COLLATERAL_FORMAT'], () => info({ tdxModuleIdentities: [module('TDX_01', [isvLevel(1, 'UpToDate')]), module('TDX_01', [isvLevel(9, 'UpToDate')])] })],
    ['TCB info with a date of no calendar', ['COLLATERAL_FORMAT'], () => info({ nextUpdate: '2026-13-01T00:00:00Z' })],
    ['TCB info with a member twice', ['COLLATERAL_FORMAT'], () => ({ world: { tcbInfo: JSON.stringify(tcbInfo(NOW)).replace('"version":3', '"version":3,"version":3') } })],
    ...([
      ['15 components', { tcbLevels: [level({ sgxtcbcomponents: svns([]).slice(1) })] }], ['17 components', { tcbLevels: [level({ tdxtcbcomponents: [...svns([]), { svn: 0 }] })] }], ['a component of 256', { tcbLevels: [level({ sgxtcbcomponents: svns([256]) })] }],
      ['a component of half', { tcbLevels: [level({ sgxtcbcomponents: svns([0.5]) })] }], ['a component as text', { tcbLevels: [level({ sgxtcbcomponents: [{ svn: '1' }, ...svns([]).slice(1)] })] }], ['a PCESVN of 65,536', { tcbLevels: [level({ pcesvn: 65_536 })] }], ['no TDX components', { tcbLevels: [level({ tdxtcbcomponents: undefined })] }],
      ['an FMSPC of five bytes', { fmspc: 'B0C06F0000' }], ['an FMSPC that is no hex', { fmspc: 'B0C06F00000g' }], ['a negative evaluation number', { tcbEvaluationDataNumber: -1 }], ['no evaluation number', { tcbEvaluationDataNumber: undefined }], ['a date with an offset', { nextUpdate: '2027-01-01T00:00:00+01:00' }],
      ['no module', { tdxModule: undefined }], ['a module of another name', { tdxModuleIdentities: [module('TDX_1', [isvLevel(1, 'UpToDate')])] }], ['a module without levels', { tdxModuleIdentities: [module('TDX_01', [])] }], ['a signer of 47 bytes', { tdxModule: { mrsigner: '00'.repeat(47), attributes: '00'.repeat(8), attributesMask: '00'.repeat(8) } }],
      ['an advisory with a space', { tcbLevels: [{ ...level({}), advisoryIDs: ['INTEL SA'] }] }],
    ] as const).map(([name, change]): Case => [`TCB info: ${name}`, ['COLLATERAL_FORMAT'], () => info(change)]),
    ['QE identity of version 1', ['COLLATERAL_FORMAT'], () => qe({ version: 1 })],
    ['QE identity of SGX\'s QE', ['COLLATERAL_FORMAT'], () => qe({ id: 'QE' })],
    ['TCB info in place of the QE identity', ['COLLATERAL_FORMAT'], () => ({ verdict: { replace: [{ kind: 'intel-qe-identity', bytes: item(good, 'intel-tcb-info').bytes }] } })],
    ['expired TCB info', ['COLLATERAL_EXPIRED'], () => info({ nextUpdate: intelTime(NOW - 1) })],
    ['TCB info of the future', ['COLLATERAL_NOT_YET_VALID'], () => info({ issueDate: intelTime(NOW + 61) })],
    ['expired QE identity', ['COLLATERAL_EXPIRED'], () => qe({ nextUpdate: intelTime(NOW - 1) })],
    ['QE identity of the future', ['COLLATERAL_NOT_YET_VALID'], () => qe({ issueDate: intelTime(NOW + 61) })],
    ['another FMSPC', ['COLLATERAL_MISMATCH'], () => info({ fmspc: 'B0C06F000001' })],
    ['another PCE', ['COLLATERAL_MISMATCH'], () => info({ pceId: '0001' })],
    ['signing certificate expired', ['CHAIN_EXPIRED'], () => ({ world: { change: { signer: { notAfter: NOW - 1 } } } })],
    ['signing certificate of another name', ['CHAIN_NAME'], () => ({ world: { change: { signer: { subject: intelName('Intel SGX PCK Certificate') } } } })],
    ['signing certificate by another key', ['CHAIN_SIGNATURE'], async () => ({ world: { change: { signer: { signWith: await otherKey() } } } })],
    ['signing certificate by the PCK CA', ['CHAIN_LEN'], async () => {
      const w = await world({ change: { signer: { issuer: good.pki.ca } } });
      return { verdict: { replace: [{ kind: 'intel-tcb-signing-chain', bytes: utf8(pem(w.pki.signer.certificate, good.pki.root.certificate)) }] } };
    }],
    ['three certificates of the signer', ['FMT_PEM'], () => ({ verdict: { replace: [{ kind: 'intel-tcb-signing-chain', bytes: concat(item(good, 'intel-tcb-signing-chain').bytes, utf8(pem(good.pki.ca.certificate))) }] } })],
  ];
  test.each(cases)('%s', async (...c) => {
    if (c[0] === 'signing certificate by the PCK CA') {
      const made = await c[2]();
      // Its issuer is not there, so no path leads to the root
      expect((await verdict(good, made.verdict)).codes).toEqual(['CHAIN_ORDER']);
      return;
    }
    await run(c);
  });

  test('the edges of its dates', async () => {
    const w = await world({ tcbInfo: { issueDate: intelTime(NOW + 60), nextUpdate: intelTime(NOW + 61) } });
    expect((await verdict(w)).codes).toEqual([]);
    expect((await verdict(w, { at: NOW + 61 })).codes).toEqual([]);
    expect((await verdict(w, { at: NOW + 62 })).codes).toEqual(['COLLATERAL_EXPIRED']);
  });

  test('the text that is signed is the text that was sent, white space and order included', async () => {
    const spaced = JSON.stringify(tcbInfo(NOW), null, 1).replaceAll('\n', '\r\n');
    expect((await verdict(await world({ tcbInfo: spaced }))).facts?.tcb?.status).toBe('UpToDate');
    const around = utf8(` {\n"signature" : "${JSON.parse(text(item(good, 'intel-qe-identity').bytes)).signature as string}",\t"enclaveIdentity":${JSON.stringify(qeIdentity(NOW))} } `);
    expect((await verdict(good, { replace: [{ kind: 'intel-qe-identity', bytes: around }] })).codes).toEqual([]);
  });

  test('a statement under the name of the other kind is refused', async () => {
    const wrong = await signStatement('enclaveIdentity', tcbInfo(NOW), good.pki.signer.key);
    expect((await verdict(good, { replace: [{ kind: 'intel-tcb-info', bytes: wrong }] })).codes).toEqual(['COLLATERAL_FORMAT']);
  });
});

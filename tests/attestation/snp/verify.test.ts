/** Each check of an SNP report alone: one thing is changed under signatures that verify, and exactly its code comes back. */
import { describe, expect, test } from 'vitest';
import { bytes, concat, hex } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import { encodeTcb } from '../../../attestation/hardware/snp/generation.ts';
import { checkReportData } from '../../../attestation/hardware/snp/verify.ts';
import { SIMULATED_POLICY, SIMULATED_TCB, snpReportFields } from '../../../attestation/platforms/simulated/snp.ts';
import { filled, refused } from '../support.ts';
import { AMD_PRODUCTS, type Case, flip, item, KEYS, NOW, reportOf, snpWorld, tcbOf, utf8Pem, verified } from './world.ts';

const DAY = 86_400;

describe('a report that verifies', () => {
  test.each(AMD_PRODUCTS.flatMap((product) => (['vcek', 'vlek'] as const).flatMap((kind) => [3, 4, 5].map((version) => ({ product, kind, version })))))('$product, $kind, version $version', async ({ product, kind, version }) => {
    const w = await snpWorld({ product, kind });
    const { facts, checks } = await verified(w, { fields: { version } });
    expect(facts).toMatchObject({
      generation: product, signer: { kind, leafSerial: '0' }, tcb: { current: SIMULATED_TCB[product], committed: SIMULATED_TCB[product], reported: SIMULATED_TCB[product], launch: SIMULATED_TCB[product] },
      chipIdMasked: kind === 'vlek', revocation: { status: 'good' }, root: { anchor: 'development', purpose: `amd-ark/${product}` }, collateral: [{ kind: 'amd-crl', source: 'offline', issued: NOW - DAY }],
    });
    expect(facts.signer.cspId).toBe(kind === 'vlek' ? 'CN=cc-simulated-1.example' : undefined);
    expect(facts.report.mitigations).toEqual(version < 5 ? null : { launch: 0xbn, current: 0xbn });
    expect(checks.map((c) => c.id)).toEqual(expect.arrayContaining(['SNP-REPORT', 'SNP-SIGNED', 'SNP-CPUID', 'SNP-SIGNER-KIND', 'SNP-CHAIN-ROOT', 'SNP-CHAIN-SIGNATURE', 'SNP-ISSUER-PIN', 'SNP-VEK-TCB', 'SNP-TCB-ORDER', 'SNP-CHIP-ID', 'SNP-SIGNATURE', 'SNP-CRL-SIGNATURE']));
  });

  test.each(AMD_PRODUCTS)('version 2 of %s, where the caller accepts it', async (product) => {
    const w = await snpWorld({ product });
    expect((await verified(w, { fields: { version: 2 }, input: { versionTwo: [product] } })).facts).toMatchObject({ generation: product, tcb: { reported: SIMULATED_TCB[product] } });
  });

  test('Siena and Bergamo have the chain of Genoa', async () => {
    for (const model of [0x10, 0x1f, 0xa0, 0xaf]) expect((await verified(await snpWorld(), { fields: { cpuid: [0x19, model, 0] } })).facts.generation).toBe('Genoa');
    expect((await verified(await snpWorld({ vek: { productName: 'Siena-A0' } }))).facts.signer.productName).toBe('Siena-A0');
  });

  test('HWID inside of an OCTET STRING', async () => {
    for (const product of AMD_PRODUCTS) await verified(await snpWorld({ product, vek: { wrapHwid: true } }));
  });

  test('certificates from collateral, and what was used is named', async () => {
    const w = await snpWorld();
    const fields = snpReportFields('Genoa');
    const pem = utf8Pem([w.pki.ask.certificate, w.pki.ark.certificate]);
    const collateral = collateralOf([item('amd-crl', 'Genoa', w.crl), item('amd-chain', 'Genoa/vcek', pem), item('amd-vek', `Genoa/${hex(fields.chipId)}/${hex(fields.reportedTcb)}`, w.vek.certificate)]);
    const report = await reportOf(w);
    const { facts } = await verified(w, { input: { report, vek: undefined, issuers: undefined } as never, trust: { collateral } });
    expect(facts.collateral.map((c) => c.kind)).toEqual(['amd-vek', 'amd-chain', 'amd-crl']);
  });

  test('certificates in any order, the reported TCB below the current one', async () => {
    const w = await snpWorld({ vek: { tcb: { ...SIMULATED_TCB.Genoa, snp: 20 } } });
    const reportedTcb = encodeTcb({ ...SIMULATED_TCB.Genoa, snp: 20 }, 'Genoa');
    const { facts } = await verified(w, { fields: { reportedTcb, committedTcb: reportedTcb }, input: { issuers: w.issuers.toReversed() } });
    expect(facts.tcb.reported['snp']).toBe(20);
  });
});

const reserved = (name: string, offset: number, version = 5): Case => ({ name: `D30 ${name}`, change: { fields: { version, patches: [[offset, bytes([1])]] } }, codes: ['FMT_RESERVED'] });

const REPORT: Case[] = [
  ...[0, 1, 6, 9, 0x01000003].map((version): Case => ({ name: `version ${version}`, change: { fields: { version } }, codes: ['FMT_VERSION'] })),
  { name: 'D30 length 1183', change: { bytes: (r) => r.subarray(0, 1183) }, codes: ['FMT_SIZE'] },
  { name: 'D30 length 1185', change: { bytes: (r) => concat(r, bytes([0])) }, codes: ['FMT_SIZE'] },
  { name: 'D30 length 4096', change: { bytes: (r) => concat(r, new Uint8Array(4096 - r.length)) }, codes: ['FMT_SIZE'] },
  { name: 'D30 signature algorithm 2', change: { fields: { signatureAlgo: 2 } }, codes: ['FMT_FIELD'] },
  { name: 'D21 reserved policy bit', change: { fields: { policy: SIMULATED_POLICY | (1n << 26n) } }, codes: ['FMT_RESERVED'] },
  { name: 'D21 highest policy bit', change: { fields: { policy: SIMULATED_POLICY | (1n << 63n) } }, codes: ['FMT_RESERVED'] },
  { name: 'D21 policy bit 17 zero', change: { fields: { policy: SIMULATED_POLICY & ~(1n << 17n) } }, codes: ['FMT_RESERVED'] },
  { name: 'VMPL 4', change: { fields: { vmpl: 4 } }, codes: ['FMT_FIELD'] },
  { name: 'a report that the host asked for', change: { fields: { vmpl: 0xffffffff } }, codes: ['FMT_FIELD'] },
  { name: 'signing key 2', change: { fields: { signerInfo: 2 << 2 } }, codes: ['FMT_RESERVED'] },
  { name: 'reserved bits of signer_info', change: { fields: { signerInfo: 1 << 5 } }, codes: ['FMT_RESERVED'] },
  { name: 'the highest bit of signer_info', change: { fields: { signerInfo: 0x80000000 } }, codes: ['FMT_RESERVED'] },
  reserved('reserved 4c', 0x4c), reserved('reserved 18b', 0x18b), reserved('reserved 19f', 0x19f), reserved('reserved 1eb', 0x1eb), reserved('reserved 1ef', 0x1ef), reserved('reserved 208', 0x208), reserved('reserved 29f', 0x29f),
  reserved('mitigations in version 3', 0x1f8, 3), reserved('mitigations in version 4', 0x200, 4),
  { name: 'CPUID in version 2', change: { fields: { version: 2, patches: [[0x188, bytes([0x19])]] }, input: { versionTwo: ['Genoa'] } }, codes: ['FMT_RESERVED'] },
  ...[0x2a0 + 48, 0x2a0 + 71, 0x2e8 + 48, 0x2e8 + 71, 0x330, 0x49f].map((offset): Case => ({ name: `D30 byte ${offset.toString(16)} of the signature set`, change: { bytes: (r) => flip(r, offset) }, codes: ['FMT_RESERVED'] })),
  { name: 'D22 signing key 7', change: { fields: { signerInfo: 7 << 2 } }, codes: ['UNSIGNED_REPORT'] },
  { name: 'D25 Venice', change: { fields: { cpuid: [0x1a, 0x50, 0] } }, codes: ['UNKNOWN_GENERATION'] },
  { name: 'D25 family 1B', change: { fields: { cpuid: [0x1b, 0x02, 0] } }, codes: ['UNKNOWN_GENERATION'] },
  { name: 'D25 Rome', change: { fields: { cpuid: [0x17, 0x31, 0] } }, codes: ['UNKNOWN_GENERATION'] },
  { name: 'D25 family 19, a model between', change: { fields: { cpuid: [0x19, 0x20, 0] } }, codes: ['UNKNOWN_GENERATION'] },
  { name: 'D25 no CPUID in version 3', change: { fields: { version: 3, cpuid: [0, 0, 0] } }, codes: ['UNKNOWN_GENERATION'] },
  { name: 'D32 version 2, which the caller does not accept', change: { fields: { version: 2 } }, codes: ['UNKNOWN_GENERATION'] },
  { name: 'D32 version 2 of another generation than accepted', change: { fields: { version: 2 }, input: { versionTwo: ['Milan', 'Turin'] } }, codes: ['UNKNOWN_GENERATION'] },
  { name: 'D32 version 2 with a hint', change: { fields: { version: 2 }, input: { versionTwo: ['Genoa'], generationHint: 'Genoa' } }, codes: ['UNAUTHENTICATED_HINT'] },
  { name: 'D30 the signature\'s r is zero', change: { raw: concat(new Uint8Array(48), filled(48, 1)) }, codes: ['SIG_INVALID'] },
  { name: 'D30 the signature\'s s is zero', change: { raw: concat(filled(48, 1), new Uint8Array(48)) }, codes: ['SIG_INVALID'] },
  { name: 'D30 the signature\'s r is too large', change: { raw: concat(filled(48, 0xff), filled(48, 1)) }, codes: ['SIG_INVALID'] },
  { name: 'D30 the signature\'s s is too large', change: { raw: concat(filled(48, 1), filled(48, 0xff)) }, codes: ['SIG_INVALID'] },
  { name: 'a bit of report_data turned after signing', change: { bytes: (r) => flip(r, 0x50) }, codes: ['SIG_INVALID'] },
  { name: 'the last signed byte turned after signing', change: { bytes: (r) => flip(r, 0x1f0 + 7) }, codes: ['SIG_INVALID'] },
  { name: 'D26 reported above current', world: { vek: { tcb: { ...SIMULATED_TCB.Genoa, snp: 28 } } }, change: { fields: { reportedTcb: tcbOf({ snp: 28 }) } }, codes: ['TCB_ORDER'] },
  { name: 'D26 committed above current', change: { fields: { committedTcb: tcbOf({ microcode: 89 }) } }, codes: ['TCB_ORDER'] },
];

describe('a report is refused for', () => {
  test.each(REPORT)('$name', async ({ world, change, codes }) => {
    await refused(verified(await snpWorld(world), change), ...codes);
  });

  test('what it says: version 2 where none is accepted, numbers of a signature out of range', async () => {
    const w = await snpWorld();
    expect((await refused(verified(w, { fields: { version: 2 } }), 'UNKNOWN_GENERATION')).reasons).toMatchObject([{ path: 'evidence.report.version', need: 'version 3 or later' }]);
    const n = Buffer.from('ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973', 'hex');
    for (const raw of [concat(new Uint8Array(48), filled(48, 1)), concat(filled(48, 1), new Uint8Array(48)), concat(n, filled(48, 1)), concat(filled(48, 1), n)]) {
      expect((await refused(verified(w, { raw }), 'SIG_INVALID')).reasons).toMatchObject([{ have: 'r or s outside of 1 to n - 1' }]);
    }
    expect((await refused(verified(w, { raw: filled(96, 1) }), 'SIG_INVALID')).reasons).toMatchObject([{ have: 'a signature that the certificate\'s key does not verify' }]);
  });

  test('another key\'s signature', async () => {
    await refused(verified(await snpWorld(), { signWith: await KEYS.get('P-384', 'stranger') }), 'SIG_INVALID');
  });
});

describe('D29 report_data', () => {
  const expected = concat(filled(32, 1), filled(32, 2));
  const check = (reportData: Uint8Array<ArrayBuffer>, need = expected) => async () => {
    const checks = new CheckList();
    checkReportData({ reportData }, need, 'evidence.report.report_data', checks);
    checks.refuseIfFailed();
  };

  test('exactly the 64 bytes', async () => {
    await check(expected)();
    await refused(check(filled(64, 9)), 'BINDING_MISMATCH');
    await refused(check(flip(expected, 0)), 'BINDING_MISMATCH');
  });

  test('cut to 32 bytes, with a suffix, or compared with other lengths', async () => {
    await refused(check(concat(filled(32, 1), new Uint8Array(32))), 'BINDING_LENGTH');
    await refused(check(flip(expected, 63)), 'BINDING_LENGTH');
    await refused(check(concat(filled(32, 1), new Uint8Array(32)), filled(32, 1)), 'BINDING_LENGTH');
    await refused(check(expected, concat(expected, filled(1, 0))), 'BINDING_LENGTH');
    await refused(check(expected, new Uint8Array()), 'BINDING_LENGTH');
  });
});

/** Each check of an SNP report alone: one thing is changed under signatures that verify, and exactly its code comes back. */
import { describe, expect, test } from 'vitest';
import { bytes, concat, hex } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { collateralOf, NO_COLLATERAL } from '../../../attestation/collateral/collateral.ts';
import { encodeTcb } from '../../../attestation/hardware/snp/generation.ts';
import { checkReportData } from '../../../attestation/hardware/snp/verify.ts';
import { makeSnpCrl, snpDevelopmentRoot, vekExtensions, vekFields } from '../../../attestation/platforms/simulated/snp-pki.ts';
import { SIMULATED_POLICY, SIMULATED_TCB, simulatedChipId, snpReportFields } from '../../../attestation/platforms/simulated/snp.ts';
import { der, integer } from '../../../attestation/platforms/simulated/der-writer.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { filled, refused } from '../support.ts';
import { AMD_PRODUCTS, type Change, item, KEYS, NOW, pkiOf, reportOf, snpWorld, verified, type WorldOptions } from './world.ts';

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

interface Case { readonly name: string; readonly world?: WorldOptions; readonly change?: Change; readonly codes: readonly RefusalCode[] }
const patch = (offset: number, ...value: number[]): Change => ({ fields: { patches: [[offset, bytes(value)]] } });
const reserved = (name: string, offset: number, version = 5): Case => ({ name: `D30 ${name}`, change: { fields: { version, patches: [[offset, bytes([1])]] } }, codes: ['FMT_RESERVED'] });
const tcb = (change: Record<string, number>): Uint8Array<ArrayBuffer> => encodeTcb({ ...SIMULATED_TCB.Genoa, ...change }, 'Genoa');

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
  { name: 'D26 reported above current', world: { vek: { tcb: { ...SIMULATED_TCB.Genoa, snp: 28 } } }, change: { fields: { reportedTcb: tcb({ snp: 28 }) } }, codes: ['TCB_ORDER'] },
  { name: 'D26 committed above current', change: { fields: { committedTcb: tcb({ microcode: 89 }) } }, codes: ['TCB_ORDER'] },
];

describe('a report is refused for', () => {
  test.each(REPORT)('$name', async ({ world, change, codes }) => {
    await refused(verified(await snpWorld(world), change), ...codes);
  });

  test('another key\'s signature', async () => {
    await refused(verified(await snpWorld(), { signWith: await KEYS.get('P-384', 'stranger') }), 'SIG_INVALID');
  });
});

const layout = (product: (typeof AMD_PRODUCTS)[number]) => encodeTcb(SIMULATED_TCB[product], product);
const CERTIFICATE: Case[] = [
  ...Object.entries(SIMULATED_TCB.Turin).flatMap(([name, n]): Case[] => [
    { name: `D23 a VCEK of lower ${name}`, world: { product: 'Turin', vek: { tcb: { ...SIMULATED_TCB.Turin, [name]: n - 1 } } }, codes: ['VCEK_TCB_MISMATCH'] },
    { name: `D23 a VCEK of higher ${name}`, world: { product: 'Turin', vek: { tcb: { ...SIMULATED_TCB.Turin, [name]: n + 1 } } }, codes: ['VCEK_TCB_MISMATCH'] },
  ]),
  { name: 'D23 an old VCEK for a new report', change: { fields: { currentTcb: tcb({ snp: 30 }), reportedTcb: tcb({ snp: 30 }) } }, codes: ['VCEK_TCB_MISMATCH'] },
  { name: 'D23 a VLEK of another TCB', world: { kind: 'vlek', vek: { tcb: { ...SIMULATED_TCB.Genoa, microcode: 1 } } }, codes: ['VCEK_TCB_MISMATCH'] },
  { name: 'D25 a VCEK with an FMC below Genoa', world: { vek: { tcb: { ...SIMULATED_TCB.Genoa, fmc: 0 } } }, codes: ['VCEK_TCB_MISMATCH'] },
  { name: 'D25 a VCEK of Turin without its FMC', world: { product: 'Turin', vek: { replace: { 3.9: null } } }, codes: ['VCEK_TCB_MISMATCH'] },
  ...(['currentTcb', 'reportedTcb', 'committedTcb', 'launchTcb'] as const).flatMap((field): Case[] => [
    { name: `D25 ${field} of Genoa in Turin's layout`, change: { fields: { [field]: layout('Turin') } }, codes: ['TCB_LAYOUT'] },
    { name: `D25 ${field} of Turin in Genoa's layout`, world: { product: 'Turin' }, change: { fields: { [field]: layout('Genoa') } }, codes: ['TCB_LAYOUT'] },
  ]),
  { name: 'D24 another chip\'s VCEK', world: { vek: { hwid: simulatedChipId('Genoa', 0x5b) } }, codes: ['CHIP_ID'] },
  { name: 'D24 one bit of the chip id', change: { fields: { chipId: flip(simulatedChipId('Genoa'), 63) } }, codes: ['CHIP_ID'] },
  { name: 'D24 a masked chip id under a VCEK', change: { fields: { chipId: new Uint8Array(64) } }, codes: ['CHIP_ID'] },
  { name: 'D24 a masked chip id under a VCEK for zeros', world: { vek: { hwid: new Uint8Array(64) } }, change: { fields: { chipId: new Uint8Array(64) } }, codes: ['CHIP_ID'] },
  { name: 'D24 Turin: the right 8 bytes and more behind', world: { product: 'Turin' }, change: { fields: { chipId: flip(simulatedChipId('Turin'), 63) } }, codes: ['CHIP_ID'] },
  { name: 'D24 Turin: another chip', world: { product: 'Turin' }, change: { fields: { chipId: flip(simulatedChipId('Turin'), 7) } }, codes: ['CHIP_ID'] },
  { name: 'D24 Turin: a HWID of 64 bytes', world: { product: 'Turin', vek: { hwid: simulatedChipId('Turin') } }, codes: ['CHIP_ID'] },
  { name: 'D24 Genoa: a HWID of 8 bytes', world: { vek: { hwid: filled(8, 0x5a) } }, change: { fields: { chipId: simulatedChipId('Turin') } }, codes: ['CHIP_ID'] },
  { name: 'D24 a byte behind the HWID', world: { vek: { replace: { 4: concat(simulatedChipId('Genoa'), bytes([0])) } } }, codes: ['FMT_FIELD'] },
  { name: 'D24 a byte behind the OCTET STRING', world: { vek: { replace: { 4: concat(der(4, filled(63, 0x5a)), bytes([0])) } } }, codes: ['FMT_DER'] },
  { name: 'D24 the HWID in another string', world: { vek: { replace: { 4: der(3, simulatedChipId('Genoa')) } } }, codes: ['FMT_DER'] },
  { name: 'no HWID', world: { vek: { hwid: null } }, codes: ['FMT_FIELD_MISSING'] },
  { name: 'a CSP_ID in a VCEK', world: { vek: { cspId: 'CN=x' } }, codes: ['FMT_FIELD_UNKNOWN'] },
  { name: 'a HWID in a VLEK', world: { kind: 'vlek', vek: { hwid: simulatedChipId('Genoa') } }, codes: ['FMT_FIELD_UNKNOWN'] },
  { name: 'a VLEK without CSP_ID', world: { kind: 'vlek', vek: { cspId: null } }, codes: ['FMT_FIELD_MISSING'] },
  { name: 'a CSP_ID with a line end', world: { kind: 'vlek', vek: { cspId: 'CN=cc-simulated-1.example\n' } }, codes: ['FMT_FIELD'] },
  { name: 'another cloud\'s VLEK', world: { kind: 'vlek', vek: { cspId: 'CN=cc-simulated-2.example' } }, codes: ['CLOUD_ORIGIN'] },
  { name: 'a CSP_ID that only contains the one expected', world: { kind: 'vlek', vek: { cspId: 'xCN=cc-simulated-1.example' } }, codes: ['CLOUD_ORIGIN'] },
  { name: 'a VLEK where no cloud is named', world: { kind: 'vlek' }, change: { input: { cspIds: [] } }, codes: ['CLOUD_ORIGIN'] },
  { name: 'a VLEK chip id of more bytes than a Turin has', world: { product: 'Turin', kind: 'vlek' }, change: { fields: { chipId: simulatedChipId('Genoa') } }, codes: ['CHIP_ID'] },
  ...['1', '2', '3.1', '3.2', '3.3', '3.8'].map((arc): Case => ({ name: `extension ${arc} absent`, world: { vek: { replace: { [arc]: null } } }, codes: ['FMT_FIELD_MISSING'] })),
  { name: 'a spare security version', world: { vek: { replace: { 3.5: integer(bytes([1])) } } }, codes: ['FMT_RESERVED'] },
  { name: 'a security version of 256', world: { vek: { replace: { 3.3: integer(bytes([1, 0])) } } }, codes: ['FMT_FIELD'] },
  { name: 'a negative security version', world: { vek: { replace: { 3.3: bytes([2, 1, 0x80]) } } }, codes: ['FMT_DER'] },
  { name: 'structVersion 2', world: { vek: { structVersion: 2 } }, codes: ['FMT_VERSION'] },
  { name: 'a product name of another type', world: { vek: { replace: { 2: der(0x0c, bytes([0x47])) } } }, codes: ['FMT_DER'] },
  { name: 'a product name with spaces', world: { vek: { productName: 'Genoa B1' } }, codes: ['FMT_FIELD'] },
  { name: 'a VCEK of another product', world: { vek: { productName: 'Milan-B0' } }, codes: ['CHAIN_NAME'] },
];

describe('a certificate is refused for', () => {
  test.each(CERTIFICATE)('$name', async ({ world, change, codes }) => {
    await refused(verified(await snpWorld(world), change), ...codes);
  });
});

describe('a chain is refused', () => {
  test('D22: a VLEK for a report that names a VCEK, and the reverse', async () => {
    for (const kind of ['vcek', 'vlek'] as const) {
      const w = await snpWorld({ kind });
      const signerInfo = kind === 'vcek' ? 4 : 0;
      await refused(verified(w, { fields: { signerInfo } }), 'CHAIN_SIGNER_KIND');
    }
  });

  test('D22: a VCEK that the ASVK signed, a VLEK that the ASK signed', async () => {
    const pki = await pkiOf('Genoa');
    await refused(verified({ ...await snpWorld({ vekChange: { issuer: pki.asvk } }), issuers: [pki.asvk.certificate, pki.ark.certificate] }), 'CHAIN_SIGNER_KIND');
    await refused(verified({ ...await snpWorld({ kind: 'vlek', vekChange: { issuer: pki.ask } }), issuers: [pki.ask.certificate, pki.ark.certificate] }), 'CHAIN_SIGNER_KIND');
  });

  test('D22: the chain of the other kind', async () => {
    const w = await snpWorld({ kind: 'vlek' });
    await refused(verified({ ...w, issuers: [w.pki.ask.certificate, w.pki.ark.certificate] }), 'CHAIN_SIGNER_KIND');
  });

  test('the name of a leaf that is neither', async () => {
    const { template } = await snpWorld().then((w) => w.pki.ask);
    await refused(verified(await snpWorld({ vekChange: { subject: template.subject } })), 'CHAIN_NAME');
  });

  test('an intermediate of another name than its kind has', async () => {
    const pki = await pkiOf('Genoa', { ask: { subject: (await pkiOf('Milan')).ask.template.subject } });
    await refused(verified(await snpWorld({ pki })), 'CHAIN_NAME');
  });

  test('D31: an ARK of the same name that nobody pinned', async () => {
    const key = await KEYS.get('RSA-4096', 'stranger');
    const pki = await pkiOf('Genoa', { ark: { key } });
    const w = await snpWorld({ pki });
    await refused(verified(w, { trust: { roots: [await snpDevelopmentRoot(await pkiOf('Genoa'))] } }), 'CHAIN_ROOT_UNPINNED');
    await verified(w);
  });

  test('a root that is pinned for another generation', async () => {
    const w = await snpWorld();
    await refused(verified(w, { trust: { roots: [{ ...w.root, purpose: 'amd-ark/Milan' }] } }), 'CHAIN_ROOT_UNPINNED');
    await refused(verified(w, { trust: { roots: [{ ...w.root, purpose: 'intel-sgx' }] } }), 'CHAIN_ROOT_UNPINNED');
  });

  test('a root with another key than the pinned one', async () => {
    const w = await snpWorld();
    await refused(verified(w, { trust: { roots: [{ ...w.root, spkiSha256: '00'.repeat(32) }] } }), 'CHAIN_ROOT_UNPINNED');
  });

  test('an intermediate that is not pinned below a production root, or below a development root where some are', async () => {
    const w = await snpWorld();
    await refused(verified(w, { trust: { roots: [{ ...w.root, anchor: 'production' }] } }), 'CHAIN_ROOT_UNPINNED');
    const other = { ...w.root, purpose: 'amd-ask/Genoa' as const };
    await refused(verified(w, { trust: { roots: [w.root, other] } }), 'CHAIN_ROOT_UNPINNED');
    // A pin of the other anchor says nothing
    await verified(w, { trust: { roots: [w.root, { ...other, anchor: 'production' }] } });
    await refused(verified(w, { trust: { roots: [{ ...w.root, anchor: 'production' }, other] } }), 'CHAIN_ROOT_UNPINNED');
  });

  test('certificates of the wrong time', async () => {
    await refused(verified(await snpWorld({ vekChange: { notAfter: NOW - 1 } })), 'CHAIN_EXPIRED');
    await refused(verified(await snpWorld({ vekChange: { notBefore: NOW + 3600 } })), 'CHAIN_NOT_YET_VALID');
    await refused(verified(await snpWorld({ pki: await pkiOf('Genoa', { ask: { notAfter: NOW - 1 } }) })), 'CHAIN_EXPIRED');
    await refused(verified(await snpWorld({ pki: await pkiOf('Genoa', { ark: { notAfter: NOW - 1 } }) })), 'CHAIN_EXPIRED');
  });

  test('other algorithms and keys than AMD\'s', async () => {
    await refused(verified(await snpWorld({ vekChange: { algorithm: 'RS384' } })), 'CHAIN_ALGORITHM');
    await refused(verified(await snpWorld({ vekChange: { algorithm: 'PS256' } })), 'CHAIN_ALGORITHM');
    const w = await snpWorld({ vekChange: { key: await KEYS.get('P-256', 'vcek') } });
    await refused(verified(w, { signWith: await KEYS.get('P-384', 'amd-vcek') }), 'CHAIN_ALGORITHM', 'SIG_INVALID');
  });

  test('a leaf that its issuer did not sign, and a missing, doubled or foreign certificate', async () => {
    const w = await snpWorld();
    const [ask, ark] = w.issuers as [Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>];
    await refused(verified(await snpWorld({ vekChange: { signWith: await KEYS.get('RSA-4096', 'amd-asvk') } })), 'CHAIN_SIGNATURE');
    await refused(verified({ ...w, issuers: [ark] }), 'CHAIN_ORDER');
    await refused(verified({ ...w, issuers: [ask] }), 'CHAIN_ROOT_UNPINNED');
    await refused(verified({ ...w, issuers: [ask, ask, ark] }), 'CHAIN_LEN');
    await refused(verified({ ...w, issuers: [ask, ark, w.pki.asvk.certificate] }), 'CHAIN_LEN');
    await refused(verified({ ...w, issuers: [ask, ark.subarray(1)] }), 'FMT_DER');
  });

  test('a certificate that the operator revoked; a chip\'s own serial is 0, so its issuer and serial name every chip', async () => {
    const w = await snpWorld();
    const issuer = 'CN=ARK-Genoa,O=Simulated\\, proves nothing about hardware,ST=CA,L=Santa Clara,C=US,OU=Engineering';
    await refused(verified(w, { trust: { revoked: [{ issuer, serial: '10001' }] } }), 'REVOKED');
    await verified(w, { trust: { revoked: [{ issuer, serial: '10002' }] } });
  });
});

describe('D31 revocation lists', () => {
  const list = async (change: Parameters<typeof makeSnpCrl>[2], w: Awaited<ReturnType<typeof snpWorld>>) => ({ trust: { collateral: collateralOf([item('amd-crl', 'Genoa', await makeSnpCrl(w.pki, NOW, change))]) } });

  test('the ASK on it; the ASVK on it is no matter of a VCEK', async () => {
    const w = await snpWorld();
    await refused(verified(w, await list({ revoked: [w.pki.ask] }, w)), 'REVOKED');
    await verified(w, await list({ revoked: [w.pki.asvk] }, w));
    await refused(verified(await snpWorld({ kind: 'vlek' }), await list({ revoked: [w.pki.asvk] }, w)), 'REVOKED');
  });

  test('signed by the ASK, by a stranger, by nobody', async () => {
    const w = await snpWorld();
    await refused(verified(w, await list({ signWith: w.pki.ask.key }, w)), 'CRL_SIGNATURE');
    await refused(verified(w, await list({ issuer: w.pki.ask }, w)), 'CRL_ISSUER', 'CRL_ABSENT');
    await refused(verified(w, await list({ algorithm: 'RS384' }, w)), 'CRL_SIGNATURE');
  });

  test('of the wrong time', async () => {
    const w = await snpWorld();
    await refused(verified(w, await list({ nextUpdate: NOW - 1 }, w)), 'CRL_EXPIRED');
    await refused(verified(w, await list({ thisUpdate: NOW + 3600 }, w)), 'CRL_NOT_YET_VALID');
  });

  test('absent: refused, and taken only where the trust says so', async () => {
    const w = await snpWorld();
    await refused(verified(w, { trust: { collateral: NO_COLLATERAL } }), 'CRL_ABSENT');
    const { facts, checks } = await verified(w, { trust: { collateral: NO_COLLATERAL, revocation: 'ifAvailable' } });
    expect(facts.revocation.status).toBe('unchecked');
    expect(checks.some((c) => c.id === 'SNP-CRL-PRESENT' && c.result === 'skipped-by-policy')).toBe(true);
  });

  test('bytes that are none', async () => {
    const w = await snpWorld();
    await refused(verified(w, { trust: { collateral: collateralOf([item('amd-crl', 'Genoa', bytes([1, 2, 3]))]) } }), 'CRL_FORMAT', 'CRL_ABSENT');
  });
});

describe('collateral', () => {
  test('a missing certificate or chain is named by its key', async () => {
    const w = await snpWorld();
    const report = await reportOf(w);
    const error = await refused(verified(w, { input: { report, vek: undefined } as never }), 'COLLATERAL_ABSENT');
    expect(error.reasons[0]?.path).toBe(`collateral.amd-vek/Genoa/${hex(snpReportFields('Genoa').chipId)}/${hex(snpReportFields('Genoa').reportedTcb)}`);
    expect((await refused(verified(w, { input: { report, issuers: undefined } as never }), 'COLLATERAL_ABSENT')).reasons[0]?.path).toBe('collateral.amd-chain/Genoa/vcek');
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

test('the simulated extensions are those of genuine certificates', () => {
  expect(vekExtensions(vekFields('Turin', 'vcek')).map((e) => e.id.replace('1.3.6.1.4.1.3704.1.', '')).sort()).toEqual(['1', '2', '3.1', '3.2', '3.3', '3.8', '3.9', '4']);
  expect(vekExtensions(vekFields('Milan', 'vlek')).map((e) => e.id.replace('1.3.6.1.4.1.3704.1.', '')).sort()).toEqual(['1', '2', '3.1', '3.2', '3.3', '3.8', '5']);
});

function flip(data: Uint8Array<ArrayBuffer>, offset: number): Uint8Array<ArrayBuffer> {
  const out = data.slice();
  out[offset] = (out[offset] as number) ^ 1;
  return out;
}

function utf8Pem(ders: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const block = (d: Uint8Array): string => `-----BEGIN CERTIFICATE-----\n${(btoa(String.fromCharCode(...d)).match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
  return new TextEncoder().encode(ders.map(block).join(''));
}

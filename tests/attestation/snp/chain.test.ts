/** Certificates, chains and revocation lists behind a report, each wrong in one way under signatures that verify. */
import { describe, expect, test } from 'vitest';
import { bytes, concat, hex } from '../../../attestation/bytes.ts';
import { ChainCache } from '../../../attestation/chain-cache.ts';
import { collateralOf, NO_COLLATERAL } from '../../../attestation/collateral/collateral.ts';
import { encodeTcb } from '../../../attestation/hardware/snp/generation.ts';
import { der, integer } from '../../../attestation/platforms/simulated/der-writer.ts';
import { makeSnpCrl, snpDevelopmentRoot, vekExtensions, vekFields } from '../../../attestation/platforms/simulated/snp-pki.ts';
import { SIMULATED_TCB, simulatedChipId, snpReportFields } from '../../../attestation/platforms/simulated/snp.ts';
import { filled, refused } from '../support.ts';
import { AMD_PRODUCTS, type Case, flip, item, KEYS, NOW, pkiOf, reportOf, snpWorld, tcbOf, verified } from './world.ts';

const DAY = 86_400;
const layout = (product: (typeof AMD_PRODUCTS)[number]) => encodeTcb(SIMULATED_TCB[product], product);
const CERTIFICATE: Case[] = [
  ...Object.entries(SIMULATED_TCB.Turin).flatMap(([name, n]): Case[] => [
    { name: `D23 a VCEK of lower ${name}`, world: { product: 'Turin', vek: { tcb: { ...SIMULATED_TCB.Turin, [name]: n - 1 } } }, codes: ['VCEK_TCB_MISMATCH'] },
    { name: `D23 a VCEK of higher ${name}`, world: { product: 'Turin', vek: { tcb: { ...SIMULATED_TCB.Turin, [name]: n + 1 } } }, codes: ['VCEK_TCB_MISMATCH'] },
  ]),
  { name: 'D23 an old VCEK for a new report', change: { fields: { currentTcb: tcbOf({ snp: 30 }), reportedTcb: tcbOf({ snp: 30 }) } }, codes: ['VCEK_TCB_MISMATCH'] },
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
    // The issuer that the report asks for, and under it a certificate for the other kind
    await refused(verified({ ...await snpWorld({ vekChange: { issuer: pki.asvk } }), issuers: [pki.asvk.certificate, pki.ark.certificate] }, { fields: { signerInfo: 4 } }), 'CHAIN_SIGNER_KIND');
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

describe('remembered signatures of chains', () => {
  test('change no verdict: revoked, expired, unpinned and altered certificates are refused as before', async () => {
    const w = await snpWorld();
    const chainCache = new ChainCache();
    const warm = { trust: { chainCache } };
    for (let i = 0; i < 2; i++) expect((await verified(w, warm)).facts.generation).toBe('Genoa');
    // VCEK, ASK and the list
    expect(chainCache.size).toBe(3);
    await refused(verified(w, { trust: { chainCache, roots: [] } }), 'CHAIN_ROOT_UNPINNED');
    await refused(verified(w, { ...warm, at: NOW + 366 * DAY }), 'CHAIN_EXPIRED', 'CRL_EXPIRED');
    await refused(verified(w, { ...warm, input: { vek: flip(w.vek.certificate, w.vek.certificate.length - 1) } }), 'CHAIN_SIGNATURE');
    await refused(verified(w, { ...warm, bytes: (r) => flip(r, 0x50) }), 'SIG_INVALID');
    const revoked = collateralOf([item('amd-crl', 'Genoa', await makeSnpCrl(w.pki, NOW, { revoked: [w.pki.ask] }))]);
    await refused(verified(w, { trust: { chainCache, collateral: revoked } }), 'REVOKED');
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

test('the simulated extensions are those of genuine certificates', () => {
  expect(vekExtensions(vekFields('Turin', 'vcek')).map((e) => e.id.replace('1.3.6.1.4.1.3704.1.', '')).sort()).toEqual(['1', '2', '3.1', '3.2', '3.3', '3.8', '3.9', '4']);
  expect(vekExtensions(vekFields('Milan', 'vlek')).map((e) => e.id.replace('1.3.6.1.4.1.3704.1.', '')).sort()).toEqual(['1', '2', '3.1', '3.2', '3.3', '3.8', '5']);
});

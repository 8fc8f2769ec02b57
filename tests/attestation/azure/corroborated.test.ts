/** A token of Azure Attestation beside the evidence: each test changes one thing of either, under signatures that verify. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Expectation, TrustContext } from '../../../attestation/adapter.ts';
import { appraise } from '../../../attestation/appraise.ts';
import { d32 } from '../../../attestation/binding.ts';
import { bytes, hex, text, utf8 } from '../../../attestation/bytes.ts';
import { CHECK_IDS } from '../../../attestation/check-ids.ts';
import type { NormalizedClaims } from '../../../attestation/claims.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import { wantedForEvidence } from '../../../attestation/collateral/wanted.ts';
import { parseHclReport } from '../../../attestation/formats/hcl-report.ts';
import { parseSnpReport } from '../../../attestation/formats/snp-report.ts';
import { parseTdxQuote } from '../../../attestation/formats/tdx-quote.ts';
import { encodeAzureEvidence } from '../../../attestation/platforms/azure-cvm/container.ts';
import { azureCorroborated, TOKEN_CHECKS } from '../../../attestation/platforms/azure-cvm/corroborated.ts';
import { splitToken, withToken } from '../../../attestation/platforms/azure-cvm/token.ts';
import { azureCvm } from '../../../attestation/platforms/azure-cvm/verify.ts';
import type { AzureWorld } from '../../../attestation/platforms/simulated/azure.ts';
import { type Json, jwkOf, keySet, maaGuestClaims, maaPlatformClaims, POLICY_HASH, signToken, SIMULATED_MAA_ISSUER } from '../../../attestation/platforms/simulated/tokens.ts';
import { appraisalPolicySchema } from '../../../attestation/policy.ts';
import { KEYS } from '../path-support.ts';
import { NOW, refused } from '../support.ts';
import { azureWorld, BINDING, EXPECT, REGISTERS, trustOf } from './support.ts';

type Tee = 'sev-snp' | 'tdx';
const KID = 'maa-1';
const worlds: Partial<Record<Tee, AzureWorld>> = {};
beforeAll(async () => { [worlds['sev-snp'], worlds.tdx] = [await azureWorld(), await azureWorld({ technology: 'tdx' })]; });
const worldOf = (tee: Tee): AzureWorld => worlds[tee] as AzureWorld;

/** What the service says of this machine when it says the truth. */
function truth(tee: Tee): Json {
  const hcl = parseHclReport(worldOf(tee).parts.hcl, 'hcl');
  if (tee === 'sev-snp') {
    const r = parseSnpReport(hcl.hardwareReport, 'report');
    const snp = { reportdata: r.reportData, launchmeasurement: r.measurement, hostdata: r.hostData, idkeydigest: r.idKeyDigest, authorkeydigest: r.authorKeyDigest, chipid: r.chipId };
    return {
      ...Object.fromEntries(Object.entries(snp).map(([name, value]) => [`x-ms-sevsnpvm-${name}`, hex(value)])),
      'x-ms-sevsnpvm-guestsvn': r.guestSvn, 'x-ms-sevsnpvm-vmpl': r.vmpl, 'x-ms-sevsnpvm-is-debuggable': r.policy.debug, 'x-ms-sevsnpvm-migration-allowed': r.policy.migrateMa, 'x-ms-sevsnpvm-smt-allowed': r.policy.smt,
    };
  }
  const { body } = parseTdxQuote(worldOf(tee).parts.tdQuote as Uint8Array<ArrayBuffer>, 'quote');
  const td = { report_data: body.reportData, mrtd: body.mrTd, mrseam: body.mrSeam, mrsignerseam: body.mrSignerSeam, mrconfigid: body.mrConfigId, mrowner: body.mrOwner, mrownerconfig: body.mrOwnerConfig, td_attributes: body.tdAttributes, xfam: body.xfam };
  return { ...Object.fromEntries(Object.entries(td).map(([name, value]) => [`tdx_${name}`, hex(value)])), ...Object.fromEntries(body.rtmrs.map((value, i) => [`tdx_rtmr${i}`, hex(value)])) };
}

interface Given {
  readonly tee?: Tee; /** Of the machine, when not the token's. */ readonly machine?: Tee;
  readonly top?: Json; readonly said?: Json; readonly nonce?: Uint8Array; readonly at?: number; readonly expect?: Partial<Expectation>; readonly trust?: Partial<TrustContext>; readonly token?: string; readonly mode?: 'live' | 'replay'; readonly runtime?: string;
}
const runtimeOf = (tee: Tee): string => text(parseHclReport(worldOf(tee).parts.hcl, 'hcl').runtimeData);
const DEMANDS: Expectation['services'] = { azureAttestation: { issuer: SIMULATED_MAA_ISSUER, policyHashes: [POLICY_HASH] } };

async function tokenOf({ tee = 'sev-snp', top = {}, said = {}, nonce, at = NOW, runtime }: Given): Promise<string> {
  const claims = await maaGuestClaims(tee, runtime ?? runtimeOf(tee), nonce ?? await d32(BINDING), at, top, { ...truth(tee), ...said });
  return signToken(claims, { key: await KEYS.get('RSA-2048', 'maa'), header: { kid: KID } });
}
async function trusted(w: AzureWorld, change: Partial<TrustContext> = {}): Promise<TrustContext> {
  return { ...trustOf(w), collateral: collateralOf([...w.collateral, keySet(SIMULATED_MAA_ISSUER, [jwkOf(await KEYS.get('RSA-2048', 'maa'), KID)], NOW)]), ...change };
}
async function verify(given: Given = {}): Promise<NormalizedClaims> {
  const w = worldOf(given.machine ?? given.tee ?? 'sev-snp');
  const evidence = { platform: 'azure-cvm', document: withToken(encodeAzureEvidence(w.parts), given.token ?? await tokenOf(given)) } as const;
  const [expectation, trust] = [{ ...EXPECT, services: DEMANDS, ...given.expect }, await trusted(w, given.trust)];
  return given.mode === 'replay' ? azureCorroborated.verifyReplay(evidence, expectation, trust) : azureCorroborated.verify(evidence, expectation, trust);
}

describe.each(['sev-snp', 'tdx'] as const)('%s', (tee) => {
  test('a token that says the same stands beside the evidence, whose claims are as without it', async () => {
    const w = worldOf(tee);
    const [claims, alone] = [await verify({ tee }), await azureCvm.verify({ platform: 'azure-cvm', document: encodeAzureEvidence(w.parts) }, EXPECT, await trusted(w))];
    const { services, evidence, collateral, checks, ...rest } = claims;
    const { evidence: own, collateral: used, checks: made, ...same } = alone;
    expect(rest).toEqual(same);
    expect(services).toMatchObject([{ source: 'service', service: 'maa', issuer: SIMULATED_MAA_ISSUER, anchor: 'development', technology: tee, policyHash: POLICY_HASH }]);
    expect(evidence.slice(0, -1)).toEqual(own);
    expect(evidence.at(-1)).toMatchObject({ kind: 'maa-jwt', role: 'corroborating' });
    expect(collateral?.slice(0, -1)).toEqual(used);
    expect(collateral?.at(-1)?.kind).toBe('jwks');
    expect(checks.slice(0, made.length)).toEqual(made);
    expect([...new Set(checks.map((c) => c.id))].sort()).toEqual([...CHECK_IDS[`azure-cvm/${tee}`], ...TOKEN_CHECKS].sort());
    expect(checks.filter((c) => c.id === 'MAA-AGREES' && c.result === 'pass').length).toBeGreaterThan(12);
  });

  test('without a token the evidence is what it was, and every check of tokens says that it does not apply', async () => {
    const w = worldOf(tee);
    const given = { platform: 'azure-cvm', document: encodeAzureEvidence(w.parts) } as const;
    const [claims, alone] = [await azureCorroborated.verify(given, { ...EXPECT, services: DEMANDS }, trustOf(w)), await azureCvm.verify(given, EXPECT, trustOf(w))];
    expect({ ...claims, checks: claims.checks.filter((c) => !TOKEN_CHECKS.includes(c.id)) }).toEqual(alone);
    expect(claims.checks.filter((c) => TOKEN_CHECKS.includes(c.id)).map((c) => c.result)).toEqual(TOKEN_CHECKS.map(() => 'not-applicable'));
  });
});

const OTHER = (length: number): string => '5c'.repeat(length);
describe('a token that says otherwise refuses the whole', () => {
  test.each<[string, Tee, Json]>([
    ['measurement', 'sev-snp', { 'x-ms-sevsnpvm-launchmeasurement': OTHER(48) }], ['hostData', 'sev-snp', { 'x-ms-sevsnpvm-hostdata': OTHER(32) }], ['idKeyDigest', 'sev-snp', { 'x-ms-sevsnpvm-idkeydigest': OTHER(48) }],
    ['authorKeyDigest', 'sev-snp', { 'x-ms-sevsnpvm-authorkeydigest': OTHER(48) }], ['chipId', 'sev-snp', { 'x-ms-sevsnpvm-chipid': OTHER(64) }], ['generation', 'sev-snp', { 'x-ms-sevsnpvm-chip-family': 'Turin' }], ['guestSvn', 'sev-snp', { 'x-ms-sevsnpvm-guestsvn': 4711 }],
    ['measurement', 'tdx', { tdx_mrtd: OTHER(48) }], ...[0, 1, 2, 3].map((i): [string, Tee, Json] => [`rtmr${i}`, 'tdx', { [`tdx_rtmr${i}`]: OTHER(48) }]), ['mrSeam', 'tdx', { tdx_mrseam: OTHER(48) }], ['mrSignerSeam', 'tdx', { tdx_mrsignerseam: OTHER(48) }],
    ['mrConfigId', 'tdx', { tdx_mrconfigid: OTHER(48) }], ['mrOwner', 'tdx', { tdx_mrowner: OTHER(48) }], ['mrOwnerConfig', 'tdx', { tdx_mrownerconfig: OTHER(48) }], ['attributes', 'tdx', { tdx_td_attributes: '0000001000000080' }], ['xfam', 'tdx', { tdx_xfam: 'ff00000000000000' }],
  ])('%s of %s', async (name, tee, said) => {
    const { reasons } = await refused(verify({ tee, said }), 'MAA_MISMATCH');
    expect(reasons.map((r) => r.path)).toEqual([`evidence.maa.${name}`]);
  });

  test('SMT and Secure Boot', async () => {
    const smt = truth('sev-snp')['x-ms-sevsnpvm-smt-allowed'] as boolean;
    expect((await refused(verify({ said: { 'x-ms-sevsnpvm-smt-allowed': !smt } }), 'MAA_MISMATCH')).reasons.map((r) => r.path)).toEqual(['evidence.maa.smt']);
    expect((await refused(verify({ top: { secureboot: false } }), 'MAA_MISMATCH')).reasons.map((r) => r.path)).toEqual(['evidence.maa.secureBoot']);
  });

  test('what the token does not say contradicts nothing', async () => {
    const silent = Object.fromEntries(['hostdata', 'idkeydigest', 'authorkeydigest', 'chipid', 'guestsvn', 'smt-allowed'].map((name) => [`x-ms-sevsnpvm-${name}`, undefined]));
    expect((await verify({ said: silent, top: { secureboot: undefined } })).services).toHaveLength(1);
  });
});

describe('a token that is none for this', () => {
  test.each<[string, () => Given | Promise<Given>, Parameters<typeof refused>[1]]>([
    ['of another boot: other runtime data', () => ({ runtime: `${runtimeOf('sev-snp').slice(0, -1)},"boot":2}` }), 'RUNTIME_UNBOUND'],
    ['of another challenge', () => ({ nonce: new Uint8Array(32).fill(7) }), 'NONCE_MISMATCH'],
    ['of a platform, which carries no challenge', async () => ({ token: await signToken({ ...await maaPlatformClaims('sev-snp', runtimeOf('sev-snp'), NOW), ...truth('sev-snp') }, { key: await KEYS.get('RSA-2048', 'maa'), header: { kid: KID } }) }), 'NONCE_ABSENT'],
    ['of another instance', () => ({ top: { iss: 'https://other.maa.invalid' } }), 'JWT_ISSUER'],
    ['by another key of the same name', async () => ({ token: await signToken(await maaGuestClaims('sev-snp', runtimeOf('sev-snp'), await d32(BINDING), NOW, {}, truth('sev-snp')), { key: await KEYS.get('RSA-2048', 'stranger'), header: { kid: KID } }) }), 'JWT_SIGNATURE'],
    ['without the key set of the instance', async () => ({ trust: { collateral: collateralOf(worldOf('sev-snp').collateral) } }), 'COLLATERAL_ABSENT'],
    ['with a key set that came along', async () => ({ trust: { collateral: collateralOf([...worldOf('sev-snp').collateral, keySet(SIMULATED_MAA_ISSUER, [jwkOf(await KEYS.get('RSA-2048', 'maa'), KID)], NOW, 'evidence')]) } }), 'COLLATERAL_ABSENT'],
    ['under another policy of the instance', () => ({ top: { 'x-ms-policy-hash': 'A'.repeat(43) } }), 'MAA_POLICY'],
    ['not compliant', () => ({ said: { 'x-ms-compliance-status': 'other' } }), 'MAA_COMPLIANCE'],
    ['of a guest in debug mode', () => ({ top: { 'x-ms-azurevm-kerneldebug-enabled': true } }), 'DEBUG_VM'],
    ['that is old', () => ({ at: NOW - 301 }), 'STALE'],
    ['where the policy names no instance', () => ({ expect: { services: {} } }), 'POLICY_EMPTY'],
    ['where there is no policy', () => ({ expect: { services: undefined as never } }), 'POLICY_EMPTY'],
    ['that is no token', () => ({ token: 'a.b' }), 'JWT_FORMAT'],
  ])('%s', async (_, given, code) => { await refused(verify(await given()), code); });

  test('of a TD beside an SNP machine, whose runtime data it even has', async () => {
    const { codes, reasons } = await refused(verify({ tee: 'tdx', machine: 'sev-snp', runtime: runtimeOf('sev-snp'), said: { tdx_report_data: truth('sev-snp')['x-ms-sevsnpvm-reportdata'] } }), 'MAA_MISMATCH');
    expect(new Set(codes)).toEqual(new Set(['MAA_MISMATCH']));
    expect(reasons[0]).toMatchObject({ path: 'evidence.maa.technology', have: 'tdx', need: 'sev-snp, as in the raw evidence' });
  });

  test('never stands for raw evidence: what refuses that refuses, with the best of tokens', async () => {
    const w = worldOf('sev-snp');
    const parts = { ...w.parts, signature: bytes(w.parts.signature.map((b, i) => (i === 40 ? b ^ 1 : b))) };
    await refused(azureCorroborated.verify({ platform: 'azure-cvm', document: withToken(encodeAzureEvidence(parts), await tokenOf({})) }, { ...EXPECT, services: DEMANDS }, await trusted(w)), 'SIG_INVALID');
  });

  test('is a stranger to a verifier that reads no tokens, and no text is no container', async () => {
    const w = worldOf('sev-snp');
    const document = withToken(encodeAzureEvidence(w.parts), await tokenOf({}));
    await refused(azureCvm.verify({ platform: 'azure-cvm', document }, EXPECT, await trusted(w)), 'FMT_FIELD_UNKNOWN');
    for (const value of ['""', '1', 'null', `"${'a'.repeat(70_000)}"`]) await refused(() => splitToken(utf8(`{"hcl":"x","maa":${value}}`), 'evidence'), 'FMT_FIELD');
    await refused(() => splitToken(utf8('{"maa":"a","maa":"b"}'), 'evidence'), 'FMT_JSON');
    await refused(azureCorroborated.verify({ platform: 'azure-cvm', document: 'text' as never }, EXPECT, trustOf(w)), 'FMT_FIELD');
  });
});

test('a stored one is judged at its own time', async () => {
  const claims = await verify({ mode: 'replay', at: NOW - 40_000 });
  expect(claims.services?.[0]).toMatchObject({ issuedAt: NOW - 40_000 });
  expect(claims.time.freshness).toBe('none');
  await refused(verify({ mode: 'replay', at: NOW + 4000 }), 'JWT_NOT_YET_VALID');
});

test('the container round: what is not the token is as it was', async () => {
  const document = encodeAzureEvidence(worldOf('tdx').parts);
  expect(splitToken(document, 'e')).toEqual({ document });
  const { document: rest, token } = splitToken(withToken(document, 'a.b.c'), 'e');
  expect([text(rest), token]).toEqual([text(document), 'a.b.c']);
});

test('the keys of an instance of Azure\'s are asked for, of nobody else', async () => {
  const wanted = async (iss: string) => wantedForEvidence({ platform: 'azure-cvm', document: withToken(encodeAzureEvidence(worldOf('sev-snp').parts), await tokenOf({ top: { iss } })) }, collateralOf([])).filter((w) => w.kind === 'jwks');
  expect(await wanted('https://sharedwus.wus.attest.azure.net')).toEqual([{ kind: 'jwks', key: 'https://sharedwus.wus.attest.azure.net' }]);
  expect(await wanted('https://evil.example')).toEqual([]);
});

test('the appraisal is that of the raw evidence', async () => {
  const registers = Object.fromEntries((await verify()).measurements.filter((m) => m.register.startsWith('vTPM')).map((m) => [m.register, m.value]));
  const policy = appraisalPolicySchema.parse({
    id: 'p', role: 'counter', references: [{ id: 'v1', platform: 'azure-cvm', registers }], maxAgeSeconds: 300, allowDevelopment: true, scopes: ['vm'], azureAttestation: DEMANDS?.azureAttestation,
  });
  expect(REGISTERS.length).toBe(Object.keys(registers).length);
  const alone = await azureCvm.verify({ platform: 'azure-cvm', document: encodeAzureEvidence(worldOf('sev-snp').parts) }, EXPECT, trustOf(worldOf('sev-snp')));
  const [one, other] = [await appraise(await verify(), policy), await appraise(alone, policy)];
  expect([one.status, one.vector]).toEqual([other.status, other.vector]);
});

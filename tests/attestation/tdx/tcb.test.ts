/** The status of a platform: levels, modules, the QE, and how they come together; and that nobody on the way changes it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Bytes, bytes, fromHex } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { INTEL_STATUSES, type IntelStatus, parseTcbInfo, type TdxTcbInfo } from '../../../attestation/formats/intel-json.ts';
import { checkTcb, CURRENT_TCB, STRICT_TCB, type TcbPolicy } from '../../../attestation/hardware/tdx/appraise.ts';
import { tdxClaims } from '../../../attestation/hardware/tdx/claims.ts';
import { converge, isvLevel as matchIsv, platformLevel } from '../../../attestation/hardware/tdx/tcb.ts';
import { isvLevel, module, tcbInfo, tcbLevel } from '../../../attestation/platforms/simulated/tdx-collateral.ts';
import type { TdxWorldOptions } from '../../../attestation/platforms/simulated/tdx.ts';
import { Refusal, type RefusalCode } from '../../../attestation/refusal.ts';
import { filled } from '../support.ts';
import { NOW, verdict, world } from './support.ts';

const svn = (...list: number[]): Bytes => bytes(Array.from({ length: 16 }, (_, i) => list[i] ?? 0));
const status = async (options: Partial<TdxWorldOptions>) => (await verdict(await world(options))).facts?.tcb;
const codes = async (options: Partial<TdxWorldOptions>) => (await verdict(await world(options))).codes;
const UP = tcbLevel({ sgx: [3, 3, 2, 2, 4, 1, 0, 5], pce: 13, tdx: [5, 0, 3], status: 'UpToDate' });

describe('levels of the platform', () => {
  test('each component one lower falls to the next level, or below all', async () => {
    const sgx = [3, 3, 2, 2, 4, 1, 0, 5];
    for (const i of [0, 1, 4]) expect((await status({ pck: { components: [...sgx, ...Array<number>(8).fill(0)].map((v, at) => (at === i ? v - 1 : v)) } }))?.status).toBe('OutOfDate');
    for (const i of [2, 3, 5, 7]) expect(await codes({ pck: { components: [...sgx, ...Array<number>(8).fill(0)].map((v, at) => (at === i ? v - 1 : v)) } })).toEqual(['TCB_FLOOR']);
    expect((await status({ pck: { pceSvn: 12 } }))?.status).toBe('OutOfDateConfigurationNeeded');
    expect(await codes({ pck: { pceSvn: 4 } })).toEqual(['TCB_FLOOR']);
    expect((await status({ quote: { td: { teeTcbSvn: svn(6, 1, 2) } } }))?.status).toBe('OutOfDate');
    expect(await codes({ quote: { td: { teeTcbSvn: svn(6, 1, 1) } } })).toEqual(['TCB_FLOOR']);
  });

  test('TDX components 0 and 1 count for modules of major version 0 only', async () => {
    expect((await status({ quote: { td: { teeTcbSvn: svn(5, 0, 3) } } }))?.status).toBe('UpToDate');
    expect((await status({ quote: { td: { teeTcbSvn: svn(3, 0, 3) } } }))?.status).toBe('OutOfDateConfigurationNeeded');
    expect(await codes({ quote: { td: { teeTcbSvn: svn(2, 0, 3) } } })).toEqual(['TCB_FLOOR']);
    // The module's own table says 4: level 5 of the platform's is not asked
    expect(await status({ quote: { td: { teeTcbSvn: svn(4, 1, 3) } } })).toMatchObject({ status: 'OutOfDate', platform: { status: 'UpToDate' }, module: { status: 'OutOfDate' } });
  });

  test('of the matching levels the first: what is higher than everything is at the top', () => {
    const info = parseTcbInfo(JSON.stringify({ tcbInfo: tcbInfo(NOW), signature: '00'.repeat(64) }), 'tdx', 'i').value as TdxTcbInfo;
    fc.assert(fc.property(fc.array(fc.nat(255), { minLength: 16, maxLength: 16 }), fc.nat(65_535), fc.array(fc.nat(255), { minLength: 16, maxLength: 16 }), (components, pceSvn, tdx) => {
      const found = platformLevel(info, { components, pceSvn }, bytes(tdx));
      const from = (tdx[1] as number) > 0 ? 2 : 0;
      const fits = info.tcbLevels.filter(({ tcb }) => tcb.sgxtcbcomponents.every((v, i) => (components[i] as number) >= v) && pceSvn >= tcb.pcesvn && tcb.tdxtcbcomponents.slice(from).every((v, i) => (tdx[i + from] as number) >= v));
      expect(found?.status).toBe(fits[0]?.tcbStatus);
      // Never better for being lower
      const lower = platformLevel(info, { components: components.map((v) => Math.max(0, v - 1)), pceSvn }, bytes(tdx));
      if (found === undefined) expect(lower).toBeUndefined();
    }));
  });
});

describe('module', () => {
  const modules = (...list: ReturnType<typeof module>[]) => ({ tcbInfo: { tdxModuleIdentities: list } });
  test.each<[string, readonly RefusalCode[], Partial<TdxWorldOptions>]>([
    ['a version without identity', ['TDX_MODULE'], { quote: { td: { teeTcbSvn: svn(6, 2, 3) } } }],
    ['no identities', ['TDX_MODULE'], { tcbInfo: { tdxModuleIdentities: undefined } }],
    ['below each of its levels', ['TCB_FLOOR'], { quote: { td: { teeTcbSvn: svn(3, 1, 3) } } }],
    ['signed by somebody', ['TDX_MODULE'], { quote: { td: { mrSignerSeam: filled(48, 1) } } }],
    ['attributes', ['TDX_MODULE'], { quote: { td: { seamAttributes: bytes([1, 0, 0, 0, 0, 0, 0, 0]) } } }],
    ['version 0 signed by somebody', ['TDX_MODULE'], { quote: { td: { teeTcbSvn: svn(5, 0, 3), mrSignerSeam: filled(48, 1) } } }],
    ['an identity that asks for another signer', ['TDX_MODULE'], modules(module('TDX_01', [isvLevel(6, 'UpToDate')], { mrsigner: '11'.repeat(48) }))],
  ])('%s', async (_, expected, options) => expect(await codes(options)).toEqual(expected));

  test('out of date while the platform is up to date, and the other way round', async () => {
    expect(await status({ quote: { td: { teeTcbSvn: svn(5, 1, 3) } } })).toMatchObject({ status: 'OutOfDate', platform: { status: 'UpToDate' }, module: { status: 'OutOfDate' }, qe: { status: 'UpToDate' }, advisories: ['INTEL-SA-01036'], date: Date.UTC(2024, 2, 13) / 1000 });
    expect(await status({ pck: { components: [2, 2, 2, 2, 3, 1, 0, 5, ...Array<number>(8).fill(0)] } })).toMatchObject({ status: 'OutOfDate', platform: { status: 'OutOfDate' }, module: { status: 'UpToDate' }, advisories: ['INTEL-SA-01036', 'INTEL-SA-01079'] });
  });

  test('attributes outside of the mask do not count', async () => {
    expect((await status({ quote: { td: { seamAttributes: bytes([1, 0, 0, 0, 0, 0, 0, 0]) } }, ...modules(module('TDX_01', [isvLevel(6, 'UpToDate')], { attributesMask: 'FEFFFFFFFFFFFFFF' })) }))?.status).toBe('UpToDate');
  });
});

describe('quoting enclave', () => {
  test.each<[string, Partial<TdxWorldOptions>]>([
    ['another signer', { quote: { qe: { mrSigner: filled(32, 1) } } }],
    ['another product', { quote: { qe: { isvProdId: 1 } } }],
    ['MISCSELECT', { quote: { qe: { miscSelect: bytes([1, 0, 0, 0]) } } }],
    ['attributes', { quote: { qe: { attributes: fromHex('3500000000000000e700000000000000') } } }],
    ['below each level', { quote: { qe: { isvSvn: 3 } } }],
  ])('%s', async (_, options) => expect(await codes(options)).toEqual(['QE_IDENTITY']));

  test('what the masks leave out may differ; a level behind is a status', async () => {
    expect((await status({ quote: { qe: { attributes: fromHex('1500000000000000ffffffffffffffff') } } }))?.status).toBe('UpToDate');
    expect(await status({ quote: { qe: { isvSvn: 5 } } })).toMatchObject({ status: 'OutOfDate', platform: { status: 'UpToDate' }, qe: { status: 'OutOfDate' }, advisories: ['INTEL-SA-00837'] });
    expect((await status({ qeIdentity: { tcbLevels: [isvLevel(1, 'Revoked')] } }))?.status).toBe('Revoked');
  });

  test('the lower evaluation number of the two is told', async () => {
    expect((await status({ qeIdentity: { tcbEvaluationDataNumber: 17 } }))?.evaluationNumber).toBe(17);
    expect((await status({ tcbInfo: { tcbEvaluationDataNumber: 18 } }))?.evaluationNumber).toBe(18);
  });
});

describe('TD 1.5: at the start and now', () => {
  const v5 = (teeTcbSvn: Bytes, teeTcbSvn2: Bytes): Partial<TdxWorldOptions> => ({ quote: { version: 5, td: { teeTcbSvn, teeTcbSvn2 } } });
  test('started on an old module, updated since: out of date, and a new start helps', async () => {
    expect(await status(v5(svn(4, 1, 3), svn(6, 1, 3)))).toMatchObject({ status: 'OutOfDate', relaunchAdvised: true, current: { status: 'UpToDate' } });
    expect(await status(v5(svn(4, 1, 2), svn(6, 1, 3)))).toMatchObject({ status: 'OutOfDate', relaunchAdvised: true });
  });
  test('now worse than at the start counts', async () => {
    expect(await status(v5(svn(6, 1, 3), svn(4, 1, 3)))).toMatchObject({ status: 'OutOfDate', relaunchAdvised: false, current: { status: 'OutOfDate' } });
    expect(await codes(v5(svn(6, 1, 3), svn(3, 1, 3)))).toEqual(['TCB_FLOOR']);
    expect(await codes(v5(svn(6, 1, 3), svn(6, 2, 3)))).toEqual(['TDX_MODULE']);
  });
  test('both up to date, both out of date', async () => {
    expect(await status(v5(svn(6, 1, 3), svn(6, 1, 3)))).toMatchObject({ status: 'UpToDate', relaunchAdvised: false });
    expect(await status(v5(svn(4, 1, 3), svn(5, 1, 3)))).toMatchObject({ status: 'OutOfDate', relaunchAdvised: false });
  });
});

describe('convergence', () => {
  test.each<[IntelStatus, IntelStatus, IntelStatus]>([
    ['UpToDate', 'UpToDate', 'UpToDate'], ['UpToDate', 'OutOfDate', 'OutOfDate'], ['SWHardeningNeeded', 'OutOfDate', 'OutOfDate'], ['ConfigurationNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['ConfigurationAndSWHardeningNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded'], ['OutOfDate', 'UpToDate', 'OutOfDate'], ['OutOfDateConfigurationNeeded', 'UpToDate', 'OutOfDateConfigurationNeeded'],
    ['Revoked', 'UpToDate', 'Revoked'], ['OutOfDate', 'Revoked', 'Revoked'], ['SWHardeningNeeded', 'ConfigurationNeeded', 'ConfigurationAndSWHardeningNeeded'], ['SWHardeningNeeded', 'UpToDate', 'SWHardeningNeeded'],
  ])('%s and %s are %s', (a, b, c) => expect([converge([a, b]), converge([b, a])]).toEqual([c, c]));

  const any = fc.constantFrom(...INTEL_STATUSES);
  test('no order, no grouping, no repetition; up to date adds nothing; nothing is not up to date', () => {
    fc.assert(fc.property(fc.array(any, { minLength: 1, maxLength: 6 }), (list) => {
      const all = converge(list);
      expect(converge([...list].reverse())).toBe(all);
      expect(converge([...list, ...list, 'UpToDate'])).toBe(all);
      expect(list.reduce((a, b) => converge([a, b]))).toBe(all);
      for (const one of list) expect(converge([all, one])).toBe(all);
      if (all === 'UpToDate') expect(list.every((s) => s === 'UpToDate')).toBe(true);
    }));
    expect(converge([])).toBe('Revoked');
  });

  test('ISV levels: the first that is not higher', () => {
    const levels = [6, 4, 2].map((isvsvn) => ({ tcb: { isvsvn }, tcbDate: isvsvn, tcbStatus: 'UpToDate' as const }));
    expect([7, 6, 5, 4, 3, 2, 1].map((v) => matchIsv(levels, v)?.date)).toEqual([6, 6, 4, 4, 2, 2, undefined]);
  });
});

describe('the status reaches facts, claims and policy as it is', () => {
  const levels = (platform: IntelStatus, ofModule: IntelStatus, qe: IntelStatus): Partial<TdxWorldOptions> => ({
    tcbInfo: { tcbLevels: [{ ...UP, tcbStatus: platform }], tdxModuleIdentities: [module('TDX_01', [isvLevel(1, ofModule)])] }, qeIdentity: { tcbLevels: [isvLevel(1, qe)] },
  });

  test('for every status of platform, module and QE', async () => {
    await fc.assert(fc.asyncProperty(...[0, 1, 2].map(() => fc.constantFrom(...INTEL_STATUSES)) as [fc.Arbitrary<IntelStatus>, fc.Arbitrary<IntelStatus>, fc.Arbitrary<IntelStatus>], async (platform, ofModule, qe) => {
      const { facts } = await verdict(await world(levels(platform, ofModule, qe)));
      if (facts === undefined || facts.tcb === null) throw new Error('no facts');
      expect([facts.tcb.platform.status, facts.tcb.module?.status, facts.tcb.qe.status]).toEqual([platform, ofModule, qe]);
      expect(facts.tcb.status).toBe(converge([platform, ofModule, qe]));
      expect(tdxClaims(facts, NOW).tcb).toMatchObject({ status: facts.tcb.status, advisories: facts.tcb.advisories, date: facts.tcb.date, evaluationNumber: 20 });
      for (const policy of [STRICT_TCB, CURRENT_TCB]) expect(checkTcb(facts.tcb, policy, NOW, new CheckList())).toBe(policy.statuses.includes(facts.tcb.status));
    }), { numRuns: 40 });
  });

  test('a TCB that was not evaluated is NotReported, and no policy takes it', async () => {
    const { facts } = await verdict(await world(), { input: { tcb: 'skip' } });
    expect(tdxClaims(facts as NonNullable<typeof facts>, NOW).tcb.status).toBe('NotReported');
    expect(checkTcb(null, { statuses: INTEL_STATUSES }, NOW, new CheckList())).toBe(false);
  });

  const policyCodes = async (options: Partial<TdxWorldOptions>, policy: TcbPolicy, at = NOW): Promise<RefusalCode[]> => {
    const checks = new CheckList();
    checkTcb((await status(options)) ?? null, policy, at, checks);
    try {
      checks.refuseIfFailed();
      return [];
    } catch (error) {
      return (error as Refusal).codes;
    }
  };
  test.each<[string, readonly RefusalCode[], Partial<TdxWorldOptions>, TcbPolicy]>([
    ['out of date', ['TCB_OUT_OF_DATE'], { quote: { qe: { isvSvn: 5 } } }, CURRENT_TCB],
    ['revoked', ['TCB_REVOKED'], { qeIdentity: { tcbLevels: [isvLevel(1, 'Revoked')] } }, CURRENT_TCB],
    ['in need of configuration', ['TCB_STATUS'], levels('ConfigurationNeeded', 'UpToDate', 'UpToDate'), STRICT_TCB],
    ['no status accepted', ['TCB_STATUS'], {}, { statuses: [] }],
    ['an advisory too many', ['TCB_ADVISORY'], { quote: { qe: { isvSvn: 5 } } }, { statuses: ['OutOfDate'], advisories: ['INTEL-SA-00001'] }],
    ['an advisory that is accepted', [], { quote: { qe: { isvSvn: 5 } } }, { statuses: ['OutOfDate'], advisories: ['INTEL-SA-00837'] }],
    ['levels too old', ['TCB_OUT_OF_DATE'], {}, { ...STRICT_TCB, minDate: Date.UTC(2026, 1, 12) / 1000 }],
    ['levels as old as allowed', [], {}, { ...STRICT_TCB, minDate: Date.UTC(2026, 1, 11) / 1000 }],
    ['an evaluation below the floor', ['COLLATERAL_EVALUATION'], {}, { ...STRICT_TCB, minEvaluationNumber: 21 }],
    ['an evaluation at the floor', [], {}, { ...STRICT_TCB, minEvaluationNumber: 20 }],
    ['collateral too old', ['COLLATERAL_EXPIRED'], {}, { ...STRICT_TCB, maxCollateralAgeSeconds: 7199 }],
    ['collateral as old as allowed', [], {}, { ...STRICT_TCB, maxCollateralAgeSeconds: 7200 }],
  ])('policy: %s', async (_, expected, options, policy) => expect(await policyCodes(options, policy)).toEqual(expected));
});

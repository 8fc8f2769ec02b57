/** HCL reports: form and binding, one thing wrong each, under hardware reports that verify where the whole evidence is judged (D38, D39). */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { bytes, concat, hex, utf8 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { judgeHclReport } from '../../../attestation/corpus/azure-cvm.ts';
import { expectedReportData, parseHclReport, parseRuntimeData } from '../../../attestation/formats/hcl-report.ts';
import { verifyHcl } from '../../../attestation/hardware/tpm/hcl.ts';
import { buildHcl, buildTdReport, type HclFields, runtimeBytes, type RuntimeFields, runtimeFields } from '../../../attestation/platforms/simulated/hcl.ts';
import { Refusal, type RefusalCode } from '../../../attestation/refusal.ts';
import { KEYS } from '../path-support.ts';
import { filled, refused } from '../support.ts';
import { azureWorld, verify } from './support.ts';

let runtime: RuntimeFields;
beforeAll(async () => { runtime = await runtimeFields(await KEYS.get('RSA-2048', 'azure-ak'), await KEYS.get('RSA-2048', 'azure-ek'), 'tdx'); });

const checked = async (data: Uint8Array<ArrayBuffer>): Promise<unknown> => {
  const checks = new CheckList();
  const facts = await verifyHcl(data, 'hcl', checks);
  checks.refuseIfFailed();
  return facts;
};
const report = async (change: Partial<HclFields> = {}, data = runtimeBytes(runtime)) => buildHcl('tdx', buildTdReport(await expectedReportData(data)), data, change);

describe('form', () => {
  test('a report that every other test changes in one place', async () => {
    const facts = await checked(await report()) as Awaited<ReturnType<typeof verifyHcl>>;
    expect(facts?.report).toMatchObject({ version: 2, type: 'tdx' });
    expect(facts?.runtime).toMatchObject({ configuration: { consoleEnabled: false, secureBoot: true, vmUniqueId: '26F8BC30-774E-4290-8E7A-535F3B672AEE' } });
    expect(hex(facts?.runtime.userData ?? bytes([]))).toBe('ab'.repeat(64));
    expect(hex(facts?.runtime.ak.spki ?? bytes([]))).toBe(hex((await KEYS.get('RSA-2048', 'azure-ak')).spki));
  });

  const cases: [string, Partial<HclFields>, RefusalCode][] = [
    ['another signature', { signature: utf8('HCLB') }, 'HCL_FORMAT'], ['version 3', { version: 3 }, 'HCL_FORMAT'], ['a report size that does not add up', { reportSize: 2000 }, 'HCL_FORMAT'],
    ['another request type', { requestType: 1 }, 'HCL_FORMAT'], ['reserved bits', { reserved: filled(16, 1) }, 'HCL_FORMAT'], ['a request size that does not add up', { requestSize: 21 }, 'HCL_FORMAT'],
    ['another request version', { requestVersion: 2 }, 'HCL_FORMAT'], ['hash type 2', { hashType: 2 }, 'HCL_FORMAT'], ['report type 3', { reportType: 3 }, 'HCL_REPORT_TYPE'], ['report type 2 with a TDREPORT', { reportType: 2 }, 'HCL_REPORT_TYPE'],
    ['runtime data past the end', { runtimeSize: 3000 }, 'HCL_FORMAT'], ['no runtime data', { runtimeSize: 0 }, 'HCL_FORMAT'], ['bytes behind the JSON', { padding: 1 }, 'HCL_FORMAT'], ['an area that is too large', { area: 5000 }, 'HCL_FORMAT'],
    ['a hardware report of zeros', { hardwareReport: new Uint8Array(1184) }, 'HCL_REPORT_TYPE'],
  ];
  test.each(cases)('%s', async (_, change, code) => { await refused(checked(await report(change)), code); });

  test('the version, which nothing signs, is no claim (found by the fuzzer)', async () => {
    const judge = async (version: number) => judgeHclReport({ file: 'h', platform: 'azure-cvm', kind: 'hcl-report', bytes: await report({ version }), companions: [], at: null });
    expect(await judge(2)).toMatchObject({ verdict: 'valid', claims: { type: 'tdx' } });
    expect(await judge(1)).toEqual(await judge(2));
  });

  test('report type 4 with an SNP report, as genuine as it is', async () => {
    const w = await azureWorld();
    const swapped = w.parts.hcl.slice();
    swapped[1224] = 4;
    await refused(verify(w, { parts: { hcl: swapped } }), 'HCL_REPORT_TYPE');
  });

  test('areas of 2048 bytes, and without any padding', async () => {
    for (const area of [0, 2600, 4096]) await expect(checked(await report({ area }))).resolves.toBeDefined();
  });
});

describe('binding', () => {
  test('runtime data that was not hashed', async () => {
    const other = runtimeBytes({ ...runtime, 'user-data': '00'.repeat(64) });
    await refused(checked(buildHcl('tdx', buildTdReport(await expectedReportData(runtimeBytes(runtime))), other)), 'HCL_BINDING');
    const w = await azureWorld({ reportData: await expectedReportData(other) });
    const { reasons } = await refused(verify(w), 'HCL_BINDING');
    expect(reasons.map((r) => r.path)).toEqual(['evidence.hcl.hardwareReport.reportData[0..32]']);
  });

  test('the upper half of report_data is zero', async () => {
    const w = await azureWorld();
    const upper = concat((await expectedReportData(parseHclReport(w.parts.hcl, 'hcl').runtimeData)).slice(0, 32), filled(32, 1));
    const { reasons } = await refused(verify(await azureWorld({ reportData: upper })), 'HCL_BINDING');
    expect(reasons.map((r) => r.path)).toEqual(['evidence.hcl.hardwareReport.reportData[32..64]']);
  });

  test('the same JSON in other bytes is other data', async () => {
    const spaced = utf8(JSON.stringify(runtime, null, 1));
    await refused(checked(buildHcl('tdx', buildTdReport(await expectedReportData(runtimeBytes(runtime))), spaced)), 'HCL_BINDING');
  });
});

describe('runtime data', () => {
  const parse = (value: object | string) => () => parseRuntimeData(utf8(typeof value === 'string' ? value : JSON.stringify(value)), 'runtime');
  const jwk = (i: number): Record<string, unknown> => runtime.keys[i] as Record<string, unknown>;

  test('without an EK, without user-data, an AK that says encrypt: reports of 2023', () => {
    const { ek, userData, ak } = parse({ keys: [{ ...jwk(0), key_ops: ['encrypt'] }], 'vm-configuration': { 'console-enabled': true, 'current-time': 1678652405 } })();
    expect([ek, userData, ak.key.kind]).toEqual([null, null, 'RSA']);
  });

  test('user-data in either case is the same bytes; other lengths are refused', () => {
    const value = (text: unknown) => parse({ ...runtime, 'user-data': text });
    expect(value('AB'.repeat(64))().userData).toEqual(value('ab'.repeat(64))().userData);
    for (const text of ['ab'.repeat(63), 'ab'.repeat(65), 'xy'.repeat(64), '', 1, null]) expect(value(text), String(text)).toThrow(/HCL_FORMAT/);
  });

  test.each([
    ['HCLAkPub twice', () => [jwk(0), jwk(1), jwk(0)]], ['HCLEkPub twice', () => [jwk(0), jwk(1), jwk(1)]], ['no HCLAkPub', () => [jwk(1)]], ['another exponent', () => [{ ...jwk(0), e: 'Aw' }]], ['an EC key', () => [{ ...jwk(0), kty: 'EC' }]],
    ['a small modulus', () => [{ ...jwk(0), n: (jwk(0)['n'] as string).slice(0, 172) }]], ['a modulus with a leading zero', () => [{ ...jwk(0), n: `AA${(jwk(0)['n'] as string).slice(2)}` }]], ['a modulus that is no base64url', () => [{ ...jwk(0), n: '+/' }]],
  ])('%s', (_, keys) => { expect(parse({ ...runtime, keys: keys() })).toThrow(/HCL_KEY/); });

  test('a modulus of an odd size is no key of these', () => {
    expect(parse({ ...runtime, keys: [{ ...jwk(0), n: `${jwk(0)['n'] as string}AAAA`.slice(0, 346) }] })).toThrow(Refusal);
  });

  test.each([['no JSON', '{'], ['a list', '[]'], ['a member twice', '{"keys":[],"keys":[],"vm-configuration":{}}'], ['a key\'s member twice', '{"keys":[{"kid":"a","kid":"b"}],"vm-configuration":{}}'], ['text behind it', '{"keys":[],"vm-configuration":{}} x'],
    ['no keys', '{"vm-configuration":{}}'], ['no configuration', '{"keys":[]}'], ['a flag that is a text', '{"keys":[],"vm-configuration":{"secure-boot":"true"}}'], ['too deep', '{"keys":[[[[[]]]]],"vm-configuration":{}}']])('%s', (what, text) => {
    expect(parse(text)).toThrow(what === 'a flag that is a text' ? /HCL_KEY|HCL_FORMAT/ : /HCL_FORMAT/);
  });

  test('flags that are no booleans are refused with good keys too', () => {
    expect(parse({ ...runtime, 'vm-configuration': { 'console-enabled': 'false' } })).toThrow(/HCL_FORMAT at runtime.vm-configuration.console-enabled/);
  });
});

test('every byte counts: a changed one is refused, or is in the unsigned padding of the hardware report', async () => {
  const good = await report();
  await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: good.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
    const changed = good.slice();
    changed[at] = (changed[at] as number) ^ flip;
    const verdict = await checked(changed).then(() => 'accepted', (e: unknown) => { expect(e).toBeInstanceOf(Refusal); return 'refused'; });
    // A TDREPORT is judged by its TD quote: here only its report_data counts
    const free = at >= 32 && at < 32 + 1024 && !(at >= 32 + 128 && at < 32 + 192) && at !== 32;
    expect(verdict).toBe(free ? 'accepted' : at === 4 && (changed[4] === 1) ? 'accepted' : 'refused');
  }), { numRuns: 300, seed: 7 });
});

test('truncations and random bytes are refused, never anything else', async () => {
  const good = await report({ area: 0 });
  for (let n = 0; n < good.length; n += 13) await refused(checked(good.slice(0, n)), 'HCL_FORMAT');
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), async (data) => { await expect(checked(bytes(data))).rejects.toBeInstanceOf(Refusal); }), { numRuns: 200 });
});

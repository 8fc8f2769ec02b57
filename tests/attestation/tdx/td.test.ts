/** What a policy says of a TD, what claims say of it, its event log, and what Google adds on its machines. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, fromHex, hex, sha384, utf8 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { type CollateralItem, collateralOf } from '../../../attestation/collateral/collateral.ts';
import { isMeasured, parseEventLog, replayEventLog } from '../../../attestation/formats/tcg-event-log.ts';
import { checkTd, STRICT_TD, tdAttributes, type TdPolicy } from '../../../attestation/hardware/tdx/appraise.ts';
import { verifyCcel } from '../../../attestation/hardware/tdx/ccel.ts';
import { tdxClaims } from '../../../attestation/hardware/tdx/claims.ts';
import type { TdxFacts } from '../../../attestation/hardware/tdx/facts.ts';
import { checkGceHost, checkGceOwner, type GceInstance, gceOwnerText, type OwnerMode } from '../../../attestation/hardware/tdx/gce.ts';
import { PCK_FIELDS } from '../../../attestation/platforms/simulated/tdx-pki.ts';
import { type QuoteOptions, TD_FIELDS, type TdFields } from '../../../attestation/platforms/simulated/tdx-quote.ts';
import { appraisalPolicySchema } from '../../../attestation/policy.ts';
import { Refusal, type RefusalCode } from '../../../attestation/refusal.ts';
import { filled, NO_VECTORS, vector } from '../support.ts';
import { NOW, verdict, world } from './support.ts';

const td = async (fields: Partial<TdFields>, quote: Partial<QuoteOptions> = {}): Promise<TdxFacts> => {
  const { facts, checks } = await verdict(await world({ quote: { ...quote, td: fields } }), { input: { tcb: 'skip' } });
  checks.refuseIfFailed();
  return facts as TdxFacts;
};
const refusals = async (work: (checks: CheckList) => unknown): Promise<RefusalCode[]> => {
  const checks = new CheckList();
  await work(checks);
  try {
    checks.refuseIfFailed();
    return [];
  } catch (error) {
    return (error as Refusal).codes;
  }
};

describe('attributes', () => {
  const policy = (change: Partial<TdPolicy>): TdPolicy => ({ ...STRICT_TD, ...change });
  test.each<[string, readonly RefusalCode[], Partial<TdFields>, TdPolicy?]>([
    ['as they should be', [], {}],
    ['DEBUG', ['DEBUG_TD'], { tdAttributes: fromHex('0100001000000000') }],
    ['DEBUG, allowed', [], { tdAttributes: fromHex('0100001000000000') }, policy({ allowDebug: true })],
    ['SEPT_VE_DISABLE off', ['TD_ATTR'], { tdAttributes: fromHex('0000000000000000') }],
    ['SEPT_VE_DISABLE off, allowed', [], { tdAttributes: fromHex('0000000000000000') }, policy({ requireSeptVeDisable: false })],
    ['MIGRATABLE', ['TD_ATTR'], { tdAttributes: fromHex('0000003000000000') }],
    ['MIGRATABLE, allowed', [], { tdAttributes: fromHex('0000003000000000') }, policy({ allow: ['MIGRATABLE'] })],
    ['PKS', ['TD_ATTR'], { tdAttributes: fromHex('0000005000000000') }], ['KL', ['TD_ATTR'], { tdAttributes: fromHex('0000009000000000') }], ['PERFMON', ['TD_ATTR'], { tdAttributes: fromHex('0000001000000080') }],
    ['PKS, KL and PERFMON, allowed', [], { tdAttributes: fromHex('000000d000000080') }, policy({ allow: ['PKS', 'KL', 'PERFMON'] })],
    ['PERFMON, another one allowed', ['TD_ATTR'], { tdAttributes: fromHex('0000001000000080') }, policy({ allow: ['PKS'] })],
    ...[1, 7, 8, 27, 32, 62].map((bit): [string, readonly RefusalCode[], Partial<TdFields>] => {
      const attributes = fromHex('0000001000000000');
      attributes[bit >> 3] = (attributes[bit >> 3] as number) | (1 << (bit & 7));
      return [`reserved bit ${bit}`, ['TD_ATTR'], { tdAttributes: attributes }];
    }),
    ['XFAM without x87', ['TD_ATTR'], { xfam: fromHex('e602060000000000') }], ['XFAM without SSE', ['TD_ATTR'], { xfam: fromHex('e502060000000000') }],
    ['XFAM with a reserved bit', ['TD_ATTR'], { xfam: fromHex('e722060000000000') }], ['XFAM with bit 63', ['TD_ATTR'], { xfam: fromHex('e702060000000080') }],
    ['XFAM as large as it may be', [], { xfam: fromHex('e7db060000000000') }], ['XFAM as small as it may be', [], { xfam: fromHex('0300000000000000') }],
    ['a module signed by somebody', ['TD_ATTR'], { mrSignerSeam: filled(48, 1) }], ['attributes of the module', ['TD_ATTR'], { seamAttributes: bytes([0, 0, 0, 0, 0, 0, 0, 1]) }],
  ])('%s', async (_, codes, fields, given = STRICT_TD) => {
    const { quote } = await td(fields);
    expect(await refusals((checks) => checkTd(quote.body, given, checks))).toEqual(codes);
  });

  test('a service TD', async () => {
    const { quote } = await td({ mrServiceTd: filled(48, 1) }, { version: 5 });
    expect(await refusals((checks) => checkTd(quote.body, STRICT_TD, checks))).toEqual(['TD_ATTR']);
    expect(await refusals(async (checks) => checkTd((await td({}, { version: 5 })).quote.body, STRICT_TD, checks))).toEqual([]);
  });

  test('several things at once are all said', async () => {
    const { quote } = await td({ tdAttributes: fromHex('0100002000000000'), xfam: new Uint8Array(8) });
    expect(await refusals((checks) => checkTd(quote.body, STRICT_TD, checks))).toEqual(['DEBUG_TD', 'TD_ATTR', 'TD_ATTR', 'TD_ATTR']);
  });

  test('every bit is read as what it is', () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
      const tdBytes = bytes(Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n)));
      const a = tdAttributes({ tdAttributes: tdBytes });
      const bit = (n: bigint, on: boolean): bigint => (on ? 1n << n : 0n);
      expect(bit(0n, a.debug) | bit(28n, a.septVeDisable) | bit(29n, a.migratable) | bit(30n, a.pks) | bit(31n, a.kl) | bit(63n, a.perfmon) | BigInt(`0x${a.reserved}`)).toBe(value);
    }));
  });
});

describe('claims', () => {
  test('of a TD: what it is, nothing that names its machine', async () => {
    const facts = (await verdict(await world({ quote: { td: { tdAttributes: fromHex('0100003000000000'), mrConfigId: filled(48, 0xcf) } } }))).facts as TdxFacts;
    const claims = tdxClaims(facts, NOW);
    expect(claims).toMatchObject({
      anchor: 'development', hardware: { vendor: 'intel', technology: 'tdx', reportVersion: 4, chipId: facts.pck.ppidSha256, signer: { kind: 'pck', leafSerial: facts.pck.leafSerial, rootSha256: facts.pck.root.certSha256 }, revocation: { status: 'good', checkedAt: NOW } },
      tcb: { status: 'UpToDate', intel: { sgx: PCK_FIELDS.components, tdx: [...TD_FIELDS.teeTcbSvn], pcesvn: 13, module: 'TDX_01', fmspc: 'b0c06f000000' } }, guest: { debug: true, migratable: true, smt: true, attributes: '0100003000000000', hostData: 'cf'.repeat(48) },
    });
    expect(JSON.stringify(claims)).not.toContain(hex(PCK_FIELDS.ppid));
    expect(JSON.stringify(claims)).not.toContain(hex(PCK_FIELDS.platformInstanceId as Bytes));
    expect(claims.collateral).toHaveLength(4);
  });

  test('RTMR3 only when its log was replayed: who runs in the TD can extend it', async () => {
    const facts = await td({ rtmrs: [0, 1, 2, 3].map((v) => filled(48, v + 1)) });
    const registers = (mode?: 'replayed') => tdxClaims(facts, NOW, mode).measurements.map((m) => m.register);
    expect(registers()).toEqual(['MRTD', 'RTMR0', 'RTMR1', 'RTMR2']);
    expect(registers('replayed')).toEqual(['MRTD', 'RTMR0', 'RTMR1', 'RTMR2', 'RTMR3']);
  });

  test('no policy can pin RTMR3 alone', () => {
    const policy = (registers: Record<string, string>) => appraisalPolicySchema.safeParse({ id: 'p', role: 'counter', references: [{ id: 'r', platform: 'gke', registers }], maxAgeSeconds: 60, allowDevelopment: false, scopes: ['node'] }).success;
    const value = 'ab'.repeat(48);
    expect([policy({ RTMR3: value }), policy({ MRTD: value, RTMR3: value }), policy({ MRTD: value, RTMR1: value, RTMR2: value, RTMR3: value })]).toEqual([false, false, true]);
  });
});

const u32 = (value: number): Bytes => bytes([value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24]);
const u16 = (value: number): Bytes => u32(value).slice(0, 2);
type Event = readonly [register: number, type: number, data: Bytes, digest?: Bytes];
const HEADER = concat(u32(1), u32(3), new Uint8Array(20), u32(33), utf8('Spec ID Event03\0'), u32(0), bytes([0, 2, 0, 2]), u32(1), u16(0x0c), u16(48), bytes([0]));
const encodeLog = async (events: readonly Event[]): Promise<Bytes> => concat(HEADER, ...await Promise.all(events.map(async ([register, type, data, digest]) => concat(u32(register), u32(type), u32(1), u16(0x0c), digest ?? await sha384(data), u32(data.length), data))), filled(64, 0xff));

describe('event log', () => {
  const events: Event[] = [[1, 0x80000001, utf8('config')], [1, 4, u32(0)], [2, 0x80000003, utf8('kernel')], [2, 4, u32(0)], [3, 0xd, utf8('cmdline')], [3, 0xd, utf8('initrd')], [4, 0xd, utf8('workload')]];
  let facts: TdxFacts;
  beforeAll(async () => {
    const values = await replayEventLog(parseEventLog(await encodeLog(events), 'log'), 'sha384');
    facts = await td({ rtmrs: [1, 2, 3, 4].map((i) => values.get(i) ?? new Uint8Array(48)) });
  });
  const judged = async (list: readonly Event[]) => {
    const log = await encodeLog(list);
    return refusals((checks) => verifyCcel(facts, log, checks));
  };

  test('that leads to the quoted registers: exactly its events come out', async () => {
    const found = await verifyCcel(facts, await encodeLog(events), new CheckList());
    expect(found?.events.map((e) => [e.register, hex(e.data)])).toEqual(events.map(([register, , data]) => [register, hex(data)]));
  });

  test.each<[string, (list: Event[]) => Event[]]>([
    ['an event otherwise', (list) => list.map((e, i) => (i === 4 ? [3, 0xd, utf8('cmdline init=/bin/sh')] : e))],
    ['an event less', (list) => list.slice(0, -1)], ['an event more', (list) => [...list, [4, 0xd, utf8('more')]]], ['two events of one register exchanged', (list) => list.with(4, list[5] as Event).with(5, list[4] as Event)],
    ['an event of another register', (list) => list.map((e, i) => (i === 6 ? [3, 0xd, utf8('workload')] : e))], ['an event twice', (list) => [...list, list[6] as Event]], ['an event that says to extend nothing', (list) => list.map((e, i) => (i === 4 ? [3, 3, utf8('cmdline')] : e))],
    ['none', () => []],
  ])('%s', async (_, change) => expect(new Set(await judged(change([...events])))).toEqual(new Set(['EVENTLOG_BINDING'])));

  test('one that passes replay and is appraised is one list: other data under the measured digest is not measured data', async () => {
    const lying = events.map((e): Event => (e[0] === 3 ? [3, 0xd, utf8('nicer'), undefined] : e));
    const digests = await Promise.all(events.map(([, , data]) => sha384(data)));
    const log = await encodeLog(lying.map(([r, t, data], i): Event => [r, t, data, digests[i]]));
    const found = await verifyCcel(facts, log, new CheckList());
    // The replay holds, since digests are what is measured; the events carry the data as unmeasured
    expect(await Promise.all((found?.events ?? []).map((e) => isMeasured(e, 'sha384')))).toEqual(events.map(([register]) => register !== 3));
  });

  test('any order of registers, never within one', async () => {
    const byRegister = [4, 3, 2, 1].flatMap((register) => events.filter((e) => e[0] === register));
    expect(await judged(byRegister)).toEqual([]);
  });

  test.skipIf(NO_VECTORS)('a genuine log of another machine', async () => {
    expect(await refusals((checks) => verifyCcel(facts, vector('intel-tdx/trustee/ccel-gcp.bin'), checks))).toContain('EVENTLOG_BINDING');
  });
});

describe('GCE', () => {
  const INSTANCE: GceInstance = { instanceId: 9_007_199_254_740_993n, numericalProjectId: 123_456_789_012n, zone: 'us-central1-a' };
  const owner = async (source: string) => td({ mrOwner: await sha384(utf8(source)) });
  const codes = async (facts: TdxFacts, mode: OwnerMode, instance = INSTANCE) => refusals((checks) => checkGceOwner(facts, instance, mode, checks));
  const TEXT = '{"instanceId":9007199254740993,"numericalProjectId":123456789012,"zone":"us-central1-a"}';

  test('an instance is named by exactly these bytes', async () => {
    expect(gceOwnerText(INSTANCE)).toBe(TEXT);
    expect(await checkGceOwner(await owner(TEXT), INSTANCE, 'requireMatch', new CheckList())).toBe('matched');
    expect(await checkGceOwner(await owner(TEXT), INSTANCE, 'allowZero', new CheckList())).toBe('matched');
  });

  test.each([
    ['another instance', TEXT.replace('0993', '0994')], ['an instance that went through a double', TEXT.replace('9007199254740993', String(Number(9_007_199_254_740_993n)))], ['another project', TEXT.replace('9012', '9013')],
    ['another zone', TEXT.replace('central1-a', 'central1-b')], ['spaces', TEXT.replaceAll(':', ': ')], ['another order', '{"numericalProjectId":123456789012,"instanceId":9007199254740993,"zone":"us-central1-a"}'], ['numbers as text', TEXT.replace('9007199254740993', '"9007199254740993"')], ['a final newline', `${TEXT}\n`],
  ])('%s', async (_, source) => {
    for (const mode of ['requireMatch', 'allowZero'] as const) expect(await codes(await owner(source), mode)).toEqual(['PZID_MISMATCH']);
    expect(await codes(await owner(source), 'ignore')).toEqual([]);
  });

  test('zeros, by mode', async () => {
    const facts = await td({});
    expect(await codes(facts, 'requireMatch')).toEqual(['PZID_ABSENT']);
    expect(await checkGceOwner(facts, INSTANCE, 'allowZero', new CheckList())).toBe('absent');
    const checks = new CheckList();
    expect(await checkGceOwner(facts, INSTANCE, 'ignore', checks)).toBe('ignored');
    expect(checks.done).toMatchObject([{ result: 'skipped-by-policy' }]);
  });

  test('what cannot name an instance is an error, never a match', () => {
    for (const instance of [{ ...INSTANCE, instanceId: 1 as unknown as bigint }, { ...INSTANCE, instanceId: -1n }, { ...INSTANCE, numericalProjectId: 2n ** 64n }, { ...INSTANCE, zone: 'a","x":"' }, { ...INSTANCE, zone: '' }]) expect(() => gceOwnerText(instance)).toThrow(RangeError);
  });

  const entry = (source: string | Bytes, change: Partial<CollateralItem> = {}): CollateralItem => ({ kind: 'gce-host', key: hex(PCK_FIELDS.ppid), bytes: typeof source === 'string' ? utf8(source) : source, source: 'cache', fetchedAt: NOW - 60, ...change });
  const host = async (...items: CollateralItem[]) => {
    const facts = await td({});
    return refusals((checks) => checkGceHost(facts, collateralOf(items), NOW, checks));
  };
  const GOOD = '{"zone":"projects/p/zones/us-central1-a","timestamp":"2026-05-11T00:00:00Z"}';

  test('a host of the registry', async () => {
    expect(checkGceHost(await td({}), collateralOf([entry(GOOD)]), NOW, new CheckList())).toEqual({ zone: 'projects/p/zones/us-central1-a', timestamp: '2026-05-11T00:00:00Z', fetchedAt: NOW - 60 });
    expect(await host(entry('{"timestamp":1780000000,"zone":"z","more":[]}'))).toEqual([]);
  });

  test.each<[string, readonly RefusalCode[], readonly CollateralItem[]]>([
    ['no entry', ['COLLATERAL_ABSENT'], []], ['the entry of another host', ['COLLATERAL_ABSENT'], [entry(GOOD, { key: '00'.repeat(16) })]], ['HTML', ['CLOUD_ORIGIN'], [entry('<html>404</html>')]], ['more than 16 KiB', ['CLOUD_ORIGIN'], [entry(GOOD.replace('}', `,"x":"${'y'.repeat(16_384)}"}`))]],
    ['nothing in it', ['CLOUD_ORIGIN'], [entry('')]], ['an empty object', ['CLOUD_ORIGIN'], [entry('{}')]], ['no timestamp', ['CLOUD_ORIGIN'], [entry('{"zone":"z"}')]], ['an empty zone', ['CLOUD_ORIGIN'], [entry('{"zone":"","timestamp":"t"}')]], ['a zone that is no text', ['CLOUD_ORIGIN'], [entry('{"zone":1,"timestamp":"t"}')]],
    ['fetched more than a week ago', ['COLLATERAL_EXPIRED'], [entry(GOOD, { fetchedAt: NOW - 7 * 86_400 - 1 })]], ['fetched in the future', ['COLLATERAL_EXPIRED'], [entry(GOOD, { fetchedAt: NOW + 61 })]],
  ])('%s', async (_, expected, items) => expect(await host(...items)).toEqual(expected));

  test('refusals do not name the machine', async () => {
    const facts = await td({});
    const checks = new CheckList();
    checkGceHost(facts, undefined, NOW, checks);
    expect(() => checks.refuseIfFailed()).toThrow(facts.pck.ppidSha256);
    expect(() => checks.refuseIfFailed()).not.toThrow(hex(PCK_FIELDS.ppid));
  });
});

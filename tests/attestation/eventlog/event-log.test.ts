/** Event logs: form, replay, order (D43), what is believed of them. Logs here are synthetic; genuine ones are in tests/attestation/tpm/vectors.test.ts. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, hex, sha256, utf8 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { type Bank, BANKS, EVENT, isMeasured, parseEventLog, replayEventLog } from '../../../attestation/formats/tcg-event-log.ts';
import { eventFacts } from '../../../attestation/hardware/tpm/event-facts.ts';
import { type EventLogInput, verifyEventLog } from '../../../attestation/hardware/tpm/event-log.ts';
import { buildEventLog, type EventLogOptions, globalVariable, separator, type SimulatedEvent, simulatedBoot, startupLocality } from '../../../attestation/platforms/simulated/event-log.ts';
import { Refusal } from '../../../attestation/refusal.ts';
import { filled, refused } from '../support.ts';

const parse = async (events: SimulatedEvent[], options: EventLogOptions = {}) => parseEventLog(await buildEventLog(events, options), 'log');
const replayed = async (log: Bytes, bank: Bank = 'sha256') => replayEventLog(parseEventLog(log, 'log'), bank);
const action = (register: number, text: string): SimulatedEvent => ({ register, type: EVENT.efiAction, data: utf8(text) });

async function judge(events: SimulatedEvent[], change: Partial<EventLogInput> = {}) {
  const log = change.log ?? await buildEventLog(events, { banks: [change.bank ?? 'sha256'] });
  const checks = new CheckList();
  const facts = await verifyEventLog({ log, path: 'log', kind: 'tpm', bank: 'sha256', quoted: change.quoted ?? await replayed(log, change.bank), ...change }, checks);
  checks.refuseIfFailed();
  return facts as NonNullable<typeof facts>;
}

describe('form', () => {
  test('events of several banks, with padding', async () => {
    for (const padding of [bytes([]), filled(70, 0xff), filled(1000, 0)]) {
      const log = await parse(simulatedBoot(), { banks: ['sha1', 'sha256', 'sha384', 'sha512'], padding });
      expect(log).toMatchObject({ banks: ['sha1', 'sha256', 'sha384', 'sha512'], startupLocality: null, padding: padding.length });
      expect(log.events).toHaveLength(simulatedBoot().length);
      for (const bank of log.banks) expect([...(log.events[0]?.digests.get(bank) ?? [])]).toHaveLength(BANKS[bank].size);
    }
  });

  test('padding of both kinds at once, or other bytes behind, are no padding', async () => {
    for (const padding of [concat(filled(8, 0xff), filled(8, 0)), filled(20, 1), bytes([1]), concat(filled(30, 0), bytes([9]))]) {
      await refused(async () => parse(simulatedBoot(), { padding }), 'EVENTLOG_FORMAT');
    }
  });

  test('headers that are none', async () => {
    await refused(async () => parse([], { signature: 'Spec ID Event02\0' }), 'EVENTLOG_FORMAT');
    await refused(async () => parse([], { headerRegister: 2 }), 'EVENTLOG_FORMAT');
    await refused(async () => parse([], { banks: ['sha256', 'sha256'] }), 'EVENTLOG_FORMAT');
    await refused(async () => parse([], { banks: [] }), 'EVENTLOG_FORMAT');
    const log = await buildEventLog([]);
    for (const [at, value] of [[4, 4], [8, 1], [28, 0xff], [52, 3], [53, 1], [56, 9], [60, 0x0c], [62, 33]] as const) {
      const changed = log.slice();
      changed[at] = value;
      expect(() => parseEventLog(changed, 'log'), `byte ${at}`).toThrow(/EVENTLOG_FORMAT/);
    }
  });

  test('events: registers, digests and lengths out of bounds', async () => {
    const event = { register: 0, type: 1, data: utf8('x') };
    await refused(async () => parse([{ ...event, register: 24 }]), 'EVENTLOG_FORMAT');
    await refused(async () => parse([{ ...event, digests: [] }]), 'EVENTLOG_FORMAT');
    await refused(async () => parse([{ ...event, digests: [{ id: 0x0c, value: filled(48, 1) }] }]), 'EVENTLOG_FORMAT');
    await refused(async () => parse([{ ...event, digests: [{ id: 0x0b, value: filled(32, 1) }, { id: 0x0b, value: filled(32, 1) }] }]), 'EVENTLOG_FORMAT');
    const log = await buildEventLog([event]);
    // Counts and lengths of 4 GB cost nothing
    for (const at of [log.length - 5, log.length - 43]) {
      const changed = log.slice();
      changed.fill(0xff, at, at + 4);
      expect(() => parseEventLog(changed, 'log')).toThrow(/EVENTLOG_FORMAT/);
    }
    expect(() => parseEventLog(new Uint8Array(1024 * 1024 + 1), 'log')).toThrow(/EVENTLOG_FORMAT/);
  });

  test('no more than 4,096 events', async () => {
    const one = await buildEventLog([{ register: 0, type: 1, data: bytes([]) }]);
    const header = await buildEventLog([]);
    const event = one.slice(header.length);
    const many = (n: number) => concat(header, ...Array.from({ length: n }, () => event));
    expect(parseEventLog(many(4096), 'log').events).toHaveLength(4096);
    expect(() => parseEventLog(many(4097), 'log')).toThrow(/EVENTLOG_FORMAT/);
  });

  test('each truncation and random bytes: a refusal, nothing else', async () => {
    const log = await buildEventLog(simulatedBoot());
    const whole: number[] = [];
    for (let n = 0; n < log.length; n++) {
      try { whole.push(parseEventLog(log.slice(0, n), 'log').events.length); } catch (e) { expect(e).toBeInstanceOf(Refusal); }
    }
    // A log that ends between two events, or in zeros behind one, is a log of fewer events: the replay tells
    expect(whole.length).toBeGreaterThanOrEqual(simulatedBoot().length);
    expect(Math.max(...whole)).toBeLessThan(simulatedBoot().length);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(log.length - 1), (random, at) => {
      for (const input of [bytes(random), concat(log.slice(0, at), bytes(random))]) {
        try { parseEventLog(input, 'log'); } catch (e) { expect(e).toBeInstanceOf(Refusal); }
      }
    }), { numRuns: 300 });
  });
});

describe('replay', () => {
  test('extends as a TPM does, per bank and register', async () => {
    const log = await buildEventLog([{ register: 3, type: 1, data: utf8('a') }, { register: 3, type: 1, data: utf8('b') }], { banks: ['sha1', 'sha256'] });
    const [a, b] = await Promise.all([sha256(utf8('a')), sha256(utf8('b'))]);
    expect(hex((await replayed(log)).get(3) ?? bytes([]))).toBe(hex(await sha256(concat(await sha256(concat(new Uint8Array(32), a)), b))));
    expect((await replayed(log, 'sha1')).get(3)).toHaveLength(20);
  });

  test('EV_NO_ACTION extends nothing', async () => {
    const event: SimulatedEvent = { register: 0, type: EVENT.noAction, data: utf8('SP800-155 Event3') };
    expect(await replayed(await buildEventLog([event]))).toEqual(new Map());
    expect(await replayed(await buildEventLog([event, ...simulatedBoot()]))).toEqual(await replayed(await buildEventLog(simulatedBoot())));
  });

  test('StartupLocality begins PCR0, and nothing else', async () => {
    const boot = simulatedBoot();
    const [with3, without] = [await replayed(await buildEventLog([startupLocality(3), ...boot])), await replayed(await buildEventLog(boot))];
    expect(hex(with3.get(0) ?? bytes([]))).not.toBe(hex(without.get(0) ?? bytes([])));
    expect(with3.get(4)).toEqual(without.get(4));
    expect(await replayed(await buildEventLog([startupLocality(0), ...boot]))).toEqual(without);
    const initial = concat(new Uint8Array(31), bytes([3]));
    expect(hex((await replayed(await buildEventLog([startupLocality(3), { register: 0, type: 1, data: utf8('a') }]))).get(0) ?? bytes([]))).toBe(hex(await sha256(concat(initial, await sha256(utf8('a'))))));
  });

  test('StartupLocality twice, late, of another register or value, of another length', async () => {
    const boot = simulatedBoot();
    for (const events of [
      [startupLocality(0), startupLocality(0)], [{ register: 0, type: 1, data: utf8('a') }, startupLocality(3)], [{ ...startupLocality(3), register: 1 }], [startupLocality(2)], [{ ...startupLocality(3), data: concat(startupLocality(3).data, bytes([0])) }],
    ]) await refused(async () => parse([...events, ...boot]), 'EVENTLOG_FORMAT');
  });
});

describe('against quoted registers', () => {
  test('what a log says is believed of quoted registers alone', async () => {
    const log = await buildEventLog(simulatedBoot());
    const values = await replayed(log);
    const facts = await judge([], { log, quoted: new Map([7, 4].map((i) => [i, values.get(i) as Bytes])) });
    expect(new Set(facts.events.map((e) => e.register))).toEqual(new Set([4, 7]));
    expect(await eventFacts(facts)).toMatchObject({ secureBoot: true, commandLines: [] });
  });

  test('D43: shorter than the register, longer, changed, reordered; a register without events that is not as it began', async () => {
    const events = simulatedBoot();
    const quoted = await replayed(await buildEventLog(events));
    const cases = [events.slice(0, -1), [...events, action(5, 'more')], events.toSpliced(0, 1, { ...(events[0] as SimulatedEvent), data: utf8('firmware 2') }), [...events.slice(0, 1), ...events.slice(1, 3).toReversed(), ...events.slice(3)]];
    for (const other of cases) await refused(judge(other, { quoted }), ...(other.length < events.length ? ['EVENTLOG_BINDING', 'EVENTLOG_ORDER'] as const : ['EVENTLOG_BINDING'] as const));
    await refused(judge(events, { quoted: new Map([...quoted, [10, filled(32, 1)]]) }), 'EVENTLOG_BINDING');
    await refused(judge(events, { quoted: new Map() }), 'EVENTLOG_BINDING');
  });

  test('registers as they began, and those that an operating system may extend without a log', async () => {
    const quoted = await replayed(await buildEventLog(simulatedBoot()));
    await expect(judge(simulatedBoot(), { quoted: new Map([...quoted, [10, filled(32, 0)], [17, filled(32, 0xff)], [23, filled(32, 0)]]) })).resolves.toBeDefined();
    await refused(judge(simulatedBoot(), { quoted: new Map([...quoted, [16, filled(32, 0xff)]]) }), 'EVENTLOG_BINDING');
    await expect(judge(simulatedBoot(), { quoted: new Map([...quoted, [10, filled(32, 1)]]), silentFrom: 8 })).resolves.toBeDefined();
    // Silence is no excuse for a register that the log speaks of
    await refused(judge(simulatedBoot(), { quoted: new Map([...quoted, [8, filled(32, 1)]]), silentFrom: 8 }), 'EVENTLOG_BINDING');
  });

  test('a bank that the log has no digests of', async () => {
    await refused(judge(simulatedBoot(), { log: await buildEventLog(simulatedBoot(), { banks: ['sha1'] }), quoted: new Map([[0, filled(32, 1)]]) }), 'EVENTLOG_ALGORITHM');
  });

  test('a CCEL: registers are RTMRs, separators are shared', async () => {
    const events: SimulatedEvent[] = [
      { register: 1, type: EVENT.efiVariableDriverConfig, data: globalVariable('SecureBoot', bytes([1])) }, separator(1), separator(1), separator(2), action(2, 'Exit Boot Services Invocation'), action(2, 'Exit Boot Services Returned with Success'),
    ];
    const log = await buildEventLog(events, { banks: ['sha384'], headerRegister: 1, padding: filled(500, 0xff) });
    const facts = await judge([], { log, kind: 'ccel', bank: 'sha384' });
    expect(await eventFacts(facts)).toMatchObject({ secureBoot: true, variables: [{ register: 'RTMR0', name: 'SecureBoot' }] });
    const { reasons } = await refused(judge([], { log, kind: 'ccel', bank: 'sha384', quoted: new Map([[1, filled(48, 1)]]) }), 'EVENTLOG_BINDING');
    expect(reasons[0]?.path).toBe('log.RTMR0');
  });
});

describe('order', () => {
  const without = (text: string) => simulatedBoot().filter((e) => new TextDecoder().decode(e.data) !== text);
  const [begin, end, fail] = ['Exit Boot Services Invocation', 'Exit Boot Services Returned with Success', 'Exit Boot Services Returned with Failure'];

  test('ExitBootServices: never twice, never without its invocation; failures before it', async () => {
    await refused(judge([...simulatedBoot(), action(5, end)]), 'EVENTLOG_ORDER');
    await refused(judge([...simulatedBoot(), action(5, begin), action(5, end)]), 'EVENTLOG_ORDER');
    await refused(judge(without(begin)), 'EVENTLOG_ORDER');
    await refused(judge(without(end)), 'EVENTLOG_ORDER');
    await refused(judge([...simulatedBoot(), action(5, begin), action(5, fail)]), 'EVENTLOG_ORDER');
    await expect(judge([...without(end), action(5, fail), action(5, begin), action(5, end)])).resolves.toBeDefined();
    await expect(judge(without(end).filter((e) => e.type !== EVENT.efiAction))).resolves.toBeDefined();
  });

  test('another type does not hide it: types are not measured', async () => {
    await refused(judge([...simulatedBoot(), { ...action(5, end), type: EVENT.ipl }]), 'EVENTLOG_ORDER');
  });

  test('each of the firmware\'s registers has one separator', async () => {
    for (const register of [0, 4, 7]) await refused(judge([...simulatedBoot(), separator(register)]), 'EVENTLOG_ORDER');
    await refused(judge(simulatedBoot().filter((e) => e.register !== 7 || e.type !== EVENT.separator)), 'EVENTLOG_ORDER');
    await refused(judge(simulatedBoot().map((e) => (e.register === 7 && e.type === EVENT.separator ? { ...e, type: EVENT.ipl } : e))), 'EVENTLOG_ORDER');
    await expect(judge([...simulatedBoot(), separator(8)])).resolves.toBeDefined();
  });
});

describe('facts', () => {
  const secure = (value: Bytes, change: Partial<SimulatedEvent> = {}): SimulatedEvent => ({ register: 7, type: EVENT.efiVariableDriverConfig, data: globalVariable('SecureBoot', value), ...change });
  const boot = (...first: SimulatedEvent[]) => [...first, ...simulatedBoot().filter((e) => !(e.register === 7 && e.type === EVENT.efiVariableDriverConfig))];
  const facts = async (events: SimulatedEvent[]) => eventFacts(await judge(events));

  test('Secure Boot: on, off, unstated', async () => {
    expect((await facts(boot(secure(bytes([1]))))).secureBoot).toBe(true);
    expect((await facts(boot(secure(bytes([0]))))).secureBoot).toBe(false);
    expect((await facts(boot(secure(bytes([]))))).secureBoot).toBe(false);
    expect((await facts(boot(secure(bytes([1, 1]))))).secureBoot).toBe(false);
    expect((await facts(boot())).secureBoot).toBeNull();
  });

  test('data that is not what was measured says nothing', async () => {
    expect((await facts(boot(secure(bytes([1]), { measured: globalVariable('SecureBoot', bytes([0])) })))).secureBoot).toBeNull();
    expect((await facts(boot({ ...secure(bytes([1])), type: EVENT.ipl }))).secureBoot).toBeNull();
  });

  test('behind the separator anybody may measure: it says nothing', async () => {
    expect((await facts([...boot(), secure(bytes([1]))])).secureBoot).toBeNull();
    expect((await facts([...boot(secure(bytes([0]))), secure(bytes([1]))])).secureBoot).toBe(false);
  });

  test('stated twice, or by another vendor\'s variable of this name', async () => {
    expect((await facts(boot(secure(bytes([0])), secure(bytes([1]))))).secureBoot).toBeNull();
    const foreign = globalVariable('SecureBoot', bytes([1]));
    foreign[0] = 0;
    expect((await facts(boot({ ...secure(bytes([1])), data: foreign }))).secureBoot).toBeNull();
  });

  test('malformed variables are passed over', async () => {
    for (const data of [bytes([]), filled(31, 0), filled(40, 0xff), concat(globalVariable('SecureBoot', bytes([1])), bytes([0]))]) expect((await facts(boot({ ...secure(bytes([1])), data }))).variables).toEqual([]);
  });

  test('command lines as loaders measure them: with and without prefix and NUL', async () => {
    const line = 'root=/dev/vda ro';
    for (const measured of [line, `${line}\0`, `kernel_cmdline: ${line}`, `kernel_cmdline: ${line}\0`]) {
      const events = [...simulatedBoot(), { register: 8, type: EVENT.ipl, data: utf8(`kernel_cmdline: ${line}\0`), measured: utf8(measured) }];
      expect((await facts(events)).commandLines.at(-1)).toEqual({ register: 'PCR8', text: line });
    }
    const lied = [...simulatedBoot(), { register: 8, type: EVENT.ipl, data: utf8(`kernel_cmdline: ${line}\0`), measured: utf8('init=/bin/sh') }];
    expect((await facts(lied)).commandLines).toHaveLength(1);
  });

  test('isMeasured', async () => {
    const [first] = (await parse([{ register: 0, type: 1, data: utf8('a') }])).events;
    const [second] = (await parse([{ register: 0, type: 1, data: utf8('a'), measured: utf8('b') }])).events;
    expect([await isMeasured(first as never, 'sha256'), await isMeasured(second as never, 'sha256'), await isMeasured(first as never, 'sha384')]).toEqual([true, false, false]);
  });
});

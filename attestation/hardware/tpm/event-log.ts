/**
 * Event logs against quoted registers. A log is believed as far as its replay gives the value that was quoted, register by register; events of
 * registers that were not quoted are dropped. What is read out of events afterwards is in event-facts.ts.
 *
 * The order of events is measured within one register only, and everybody who runs later can extend a register further. So what firmware
 * says is read before its register's separator, which firmware measures exactly once (PC Client Profile, section 3.3.4), and a second
 * ExitBootServices, which would end the firmware's time twice, is refused.
 */
import { type Bytes, equal, hex, utf8 } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import { type Bank, digestOf, EVENT, type EventLog, initialValue, type LogEvent, parseEventLog, replayEventLog } from '../../formats/tcg-event-log.ts';
import { Judge } from '../../judge.ts';

export interface EventLogInput {
  readonly log: Bytes;
  readonly path: string;
  /** `tpm`: PCRs by index. `ccel`: 1 to 4 are RTMR0 to RTMR3, 0 is MRTD. */
  readonly kind: 'tpm' | 'ccel';
  readonly bank: Bank;
  /** Register values under a verified signature. The log must explain each of them. */
  readonly quoted: ReadonlyMap<number, Bytes>;
  /** PCRs from this index on may have values that the log has no event of (what runs after the boot loader may extend them): nothing is said of those then. */
  readonly silentFrom?: number;
}

export interface VerifiedEventLog {
  readonly kind: 'tpm' | 'ccel';
  readonly bank: Bank;
  /** Events of the quoted registers that were extended, in their order: the ones that were replayed, and no others. */
  readonly events: readonly LogEvent[];
}

/** PCRs that firmware owns and ends with a separator. */
const FIRMWARE_PCRS = 8;
/** PCRs that begin as ones: dynamic launch (PC Client Profile, section 3.3.2). */
const DYNAMIC = new Set([17, 18, 19, 20, 21, 22]);
/** EFI actions of the boot manager (section 10.4.4), measured into PCR5, RTMR1. */
const INVOCATION = 'Exit Boot Services Invocation';
const SUCCESS = 'Exit Boot Services Returned with Success';
const FAILURE = 'Exit Boot Services Returned with Failure';
const NEXT = 'Send the whole event log of this boot; if it is whole, something was measured that no log tells.';

/** Register's name for people and claims. */
export const registerName = (kind: 'tpm' | 'ccel', register: number): string => (kind === 'tpm' ? `PCR${register}` : register === 0 ? 'MRTD' : `RTMR${register - 1}`);

/** @returns undefined when a check failed: EVENTLOG_FORMAT, EVENTLOG_ALGORITHM, EVENTLOG_BINDING (replay), EVENTLOG_ORDER */
export async function verifyEventLog(input: EventLogInput, checks: CheckList): Promise<VerifiedEventLog | undefined> {
  const { path, kind, bank, quoted } = input;
  const judge = new Judge(checks, 'EVENTLOG');
  const log = judge.parse('FORMAT', path, () => parseEventLog(input.log, path));
  if (log === undefined) return undefined;
  if (!judge.that('BANK', `${path}.header.algorithms`, log.banks.includes(bank), () => ({ code: 'EVENTLOG_ALGORITHM', have: log.banks.join(', ') || 'no known bank', need: bank, next: NEXT }))) return undefined;
  await checkReplay(log, input, judge);
  const events = log.events.filter((e) => quoted.has(e.register) && e.type !== EVENT.noAction);
  await checkOrder(events, input, judge);
  return judge.failed ? undefined : { kind, bank, events };
}

async function checkReplay(log: EventLog, { path, kind, bank, quoted, silentFrom = Number.POSITIVE_INFINITY }: EventLogInput, judge: Judge): Promise<void> {
  judge.that('QUOTED', path, quoted.size > 0, () => ({ code: 'EVENTLOG_BINDING', have: 'no quoted register', need: 'at least one', next: NEXT }));
  const replayed = await replayEventLog(log, bank);
  for (const [register, value] of quoted) {
    if (register >= silentFrom && !replayed.has(register)) continue;
    const expected = replayed.get(register) ?? initialValue(log, bank, register);
    const untouched = !replayed.has(register) && kind === 'tpm' && DYNAMIC.has(register) && value.every((b) => b === 0xff);
    judge.that('REPLAY', `${path}.${registerName(kind, register)}`, untouched || equal(expected, value), () => ({ code: 'EVENTLOG_BINDING', have: `${hex(expected)} of ${log.events.filter((e) => e.register === register).length} events`, need: `${hex(value)}, as quoted`, next: NEXT }));
  }
}

async function checkOrder(events: readonly LogEvent[], { path, kind, bank, quoted }: EventLogInput, judge: Judge): Promise<void> {
  const is = async (...data: Uint8Array[]): Promise<(e: LogEvent) => boolean> => {
    const digests = await Promise.all(data.map((d) => digestOf(bank, d)));
    return (e) => digests.some((d) => equal(d, e.digests.get(bank) ?? new Uint8Array()));
  };
  // By digest, never by type: the type is not measured
  const isSeparator = await is(new Uint8Array(4), new Uint8Array(4).fill(0xff));
  if (kind === 'tpm') {
    for (const register of quoted.keys()) {
      const ours = events.filter((e) => e.register === register);
      if (register >= FIRMWARE_PCRS || ours.length === 0) continue;
      const separators = ours.filter(isSeparator);
      judge.that('SEPARATOR', `${path}.${registerName(kind, register)}`, separators.length === 1 && separators[0]?.type === EVENT.separator, () => ({ code: 'EVENTLOG_ORDER', have: `${separators.length} separators, type ${separators.map((s) => s.type).join(', ') || 'none'}`, need: 'one EV_SEPARATOR', next: NEXT }));
    }
  }
  const [invocation, success, failure] = [await is(utf8(INVOCATION)), await is(utf8(SUCCESS)), await is(utf8(FAILURE))];
  const boot = kind === 'tpm' ? 5 : 2;
  const exits = events.filter((e) => e.register === boot).flatMap((e) => (invocation(e) ? ['i'] : success(e) ? ['s'] : failure(e) ? ['f'] : [])).join('');
  // Tried, perhaps in vain, then left once; a boot loader that has not left yet has no such events
  judge.that('EXIT-BOOT-SERVICES', `${path}.${registerName(kind, boot)}`, /^(?:if)*(?:is)?$/.test(exits), () => ({ code: 'EVENTLOG_ORDER', have: exits || 'none', need: 'ExitBootServices once: invocation (i), failures (f) before one success (s)', next: NEXT }));
}

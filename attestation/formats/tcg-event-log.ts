/**
 * Event logs of measured boot: TCG crypto-agile logs of a TPM and CCELs of TDX (TCG PC Client Platform Firmware Profile 1.06, section 10;
 * Guest-Host-Communication Interface, "CCEL"). Little endian.
 *
 *   first event   TCG_PCClientPCREvent: register u32 = 0 (CCEL: 0 or 1), type u32 = EV_NO_ACTION, SHA-1 of zeros (20), size u32, data:
 *                 "Spec ID Event03\0", platform class u32, minor, major, errata u8, uintn size u8, n u32, n × (algorithm u16, size u16), vendor info (u8 + bytes)
 *   others        TCG_PCR_EVENT2: register u32, type u32, n u32, n × (algorithm u16, digest), size u32, data
 *   padding       the rest of a fixed area: all 0xff, or all 0x00
 *
 * A register of a CCEL is numbered 0 for MRTD and 1 to 4 for RTMR0 to RTMR3. EV_NO_ACTION extends nothing; of those only "StartupLocality"
 * means something for the replay: it sets the first value of PCR0.
 *
 * Nothing here is true by itself. A log says what was measured only after its replay equals registers that were quoted, register by
 * register; the type of an event and its data are not measured at all unless the digest is that of the data (`isMeasured`).
 */
import { type Bytes, concat, equal, text } from '../bytes.ts';
import { ByteReader } from './byte-reader.ts';

/** TPM_ALG_ID of the digests. */
export const BANKS = { sha1: { id: 0x04, size: 20, subtle: 'SHA-1' }, sha256: { id: 0x0b, size: 32, subtle: 'SHA-256' }, sha384: { id: 0x0c, size: 48, subtle: 'SHA-384' }, sha512: { id: 0x0d, size: 64, subtle: 'SHA-512' } } as const;
export type Bank = keyof typeof BANKS;

/** Types that are looked at here; any other number may occur. */
export const EVENT = {
  noAction: 0x3, separator: 0x4, action: 0x5, eventTag: 0x6, ipl: 0xd, efiVariableDriverConfig: 0x80000001, efiVariableBoot: 0x80000002, efiBootServicesApplication: 0x80000003,
  efiAction: 0x80000007, efiVariableAuthority: 0x800000e0,
} as const;

export interface LogEvent {
  /** Its place in the log, from 0: the first event behind the header. */
  readonly number: number;
  readonly register: number;
  readonly type: number;
  /** One per algorithm of the header that has a name here. */
  readonly digests: ReadonlyMap<Bank, Bytes>;
  readonly data: Bytes;
}

export interface EventLog {
  /** Banks that every event has a digest for. */
  readonly banks: readonly Bank[];
  readonly events: readonly LogEvent[];
  /** Locality of TPM2_Startup: `null` without the event. */
  readonly startupLocality: number | null;
  /** Bytes behind the last event. */
  readonly padding: number;
}

/** Areas are 64 KiB to 256 KiB. */
const MAX_SIZE = 1024 * 1024;
const MAX_EVENTS = 4096;
const MAX_REGISTER = 23;
const MAX_ALGORITHMS = 8;
const SIGNATURE = 'Spec ID Event03\0';
const LOCALITY = 'StartupLocality\0';
const NEXT = 'Send the event log exactly as the firmware wrote it (binary_bios_measurements, CCEL).';

/** @throws Refusal EVENTLOG_FORMAT, FMT_SIZE */
export function parseEventLog(data: Bytes, path: string): EventLog {
  const r = new ByteReader(data, { path, code: 'EVENTLOG_FORMAT', next: NEXT, endian: 'little' });
  if (data.length > MAX_SIZE) r.fail('', `${data.length} bytes`, `at most ${MAX_SIZE}`);
  const sizes = readHeader(r);
  const names = new Map(Object.entries(BANKS).map(([name, { id }]) => [id as number, name as Bank]));
  const events: LogEvent[] = [];
  let startupLocality: number | null = null;
  while (r.left > 0 && !isPadding(r)) {
    if (events.length === MAX_EVENTS) r.fail('events', `more than ${MAX_EVENTS}`, `at most ${MAX_EVENTS}`);
    const event = readEvent(r, events.length, sizes, names);
    events.push(event);
    if (event.type !== EVENT.noAction || !beginsWith(event.data, LOCALITY)) continue;
    if (event.data.length !== LOCALITY.length + 1 || startupLocality !== null) r.fail(`events[${event.number}]`, startupLocality === null ? `${event.data.length} bytes` : 'a second StartupLocality', 'one, of 17 bytes');
    // Behind the first measurement into PCR0 it would say what it cannot have been
    if (event.register !== 0 || events.some((e) => e.register === 0 && e.type !== EVENT.noAction)) r.fail(`events[${event.number}]`, `StartupLocality for register ${event.register}, or behind its first measurement`, 'register 0, first');
    startupLocality = event.data[LOCALITY.length] as number;
    r.expect(`events[${event.number}].locality`, startupLocality, 0, 3, 4);
  }
  return { banks: [...sizes.keys()].flatMap((id) => names.get(id) ?? []), events, startupLocality, padding: r.left };
}

/** @returns digest sizes by algorithm */
function readHeader(r: ByteReader): ReadonlyMap<number, number> {
  r.expect('header.register', r.u32('header.register'), 0, 1);
  r.expect('header.type', r.u32('header.type'), EVENT.noAction);
  if (r.take(20, 'header.digest').some((b) => b !== 0)) r.fail('header.digest', 'a digest', 'zeros');
  const end = r.u32('header.size') + r.at;
  if (end > r.data.length) r.fail('header.size', `${end - r.at} bytes with ${r.left} left`);
  if (!beginsWith(r.take(16, 'header.signature'), SIGNATURE)) r.fail('header.signature', 'another signature', 'Spec ID Event03: a crypto-agile log');
  r.take(4, 'header.platformClass');
  const [minor, major] = [r.u8('header.minor'), r.u8('header.major')];
  r.expect('header.version', `${major}.${minor}`, '2.0');
  r.take(2, 'header.errata');
  const count = r.u32('header.algorithms');
  if (count < 1 || count > MAX_ALGORITHMS) r.fail('header.algorithms', String(count), `1 to ${MAX_ALGORITHMS}`);
  const sizes = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const [id, size] = [r.u16(`header.algorithms[${i}]`), r.u16(`header.algorithms[${i}]`)];
    const known = Object.values(BANKS).find((b) => b.id === id);
    if (sizes.has(id) || size < 1 || size > 64 || (known !== undefined && known.size !== size)) r.fail(`header.algorithms[${i}]`, `0x${id.toString(16)} of ${size} bytes`, 'each algorithm once, with its size');
    sizes.set(id, size);
  }
  r.take(r.u8('header.vendorInfo'), 'header.vendorInfo');
  if (r.at !== end) r.fail('header.size', 'another size than its fields have');
  return sizes;
}

function readEvent(r: ByteReader, number: number, sizes: ReadonlyMap<number, number>, names: ReadonlyMap<number, Bank>): LogEvent {
  const name = `events[${number}]`;
  const [register, type, count] = [r.u32(`${name}.register`), r.u32(`${name}.type`), r.u32(`${name}.digests`)];
  if (register > MAX_REGISTER) r.fail(`${name}.register`, String(register), `0 to ${MAX_REGISTER}`);
  if (count !== sizes.size) r.fail(`${name}.digests`, String(count), `${sizes.size}: one per algorithm of the header`);
  const seen = new Set<number>();
  const digests = new Map<Bank, Bytes>();
  for (let i = 0; i < count; i++) {
    const id = r.u16(`${name}.digests[${i}]`);
    const size = sizes.get(id);
    if (size === undefined || seen.has(id)) return r.fail(`${name}.digests[${i}]`, `0x${id.toString(16)}`, 'an algorithm of the header, each once');
    seen.add(id);
    const digest = r.take(size, `${name}.digests[${i}]`);
    const bank = names.get(id);
    if (bank !== undefined) digests.set(bank, digest);
  }
  const length = r.u32(`${name}.size`);
  return { number, register, type, digests, data: r.take(length, `${name}.data`) };
}

/** No event begins with two such words: 0xffffffff is no register; a register 0 of type 0 has digests, so a third word is not zero. */
function isPadding({ data, at }: ByteReader): boolean {
  const first = data[at];
  if (first !== 0xff && first !== 0) return false;
  // A loop: areas are mostly padding
  let end = at;
  while (end < data.length && data[end] === first) end++;
  return end === data.length;
}

const beginsWith = (data: Bytes, ascii: string): boolean => data.length >= ascii.length && [...ascii].every((c, i) => data[i] === c.charCodeAt(0));

export const digestOf = async (bank: Bank, data: Uint8Array): Promise<Bytes> => new Uint8Array(await crypto.subtle.digest(BANKS[bank].subtle, data as Bytes));

/** What a register holds before the first event: the locality in the last byte of PCR0 (PC Client Profile, section 3.3.2), zeros otherwise. */
export function initialValue(log: EventLog, bank: Bank, register: number): Bytes {
  const value = new Uint8Array(BANKS[bank].size);
  if (register === 0 && log.startupLocality !== null) value[value.length - 1] = log.startupLocality;
  return value;
}

/** Values of the registers that have events: new = H(old ‖ digest), in the order of the log. */
export async function replayEventLog(log: EventLog, bank: Bank): Promise<ReadonlyMap<number, Bytes>> {
  const values = new Map<number, Bytes>();
  for (const { register, type, digests } of log.events) {
    const digest = digests.get(bank);
    if (type === EVENT.noAction || digest === undefined) continue;
    values.set(register, await digestOf(bank, concat(values.get(register) ?? initialValue(log, bank, register), digest)));
  }
  return values;
}

/** Whether the digest is that of the data: only then the data is what was measured. */
export async function isMeasured(event: LogEvent, bank: Bank): Promise<boolean> {
  const digest = event.digests.get(bank);
  return digest !== undefined && event.type !== EVENT.noAction && equal(await digestOf(bank, event.data), digest);
}

/** Text of an event's data, without a final NUL; `undefined` when it is none. */
export function textOf(event: LogEvent): string | undefined {
  try {
    return text(event.data).replace(/\0$/, '');
  } catch {
    return undefined;
  }
}

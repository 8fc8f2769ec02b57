/** Builds event logs: the writing side of formats/tcg-event-log.ts. Isomorphic. */
import { type Bytes, concat, utf8 } from '../../bytes.ts';
import { type Bank, BANKS, digestOf, EVENT } from '../../formats/tcg-event-log.ts';
import { u16le, u32le, u64le, u8 } from './binary.ts';

export interface SimulatedEvent {
  readonly register: number;
  readonly type: number;
  readonly data: Bytes;
  /** What is measured, where it is not the data. */
  readonly measured?: Bytes;
  /** Digests to write instead. */
  readonly digests?: readonly { readonly id: number; readonly value: Bytes }[];
}

export interface EventLogOptions {
  readonly banks?: readonly Bank[];
  /** 0 in a TPM's log, 1 in a CCEL. */
  readonly headerRegister?: number;
  readonly signature?: string;
  readonly padding?: Bytes;
}

export async function buildEventLog(events: readonly SimulatedEvent[], options: EventLogOptions = {}): Promise<Bytes> {
  const banks = options.banks ?? ['sha256'];
  const spec = concat(utf8(options.signature ?? 'Spec ID Event03\0'), u32le(0), u8(0), u8(2), u8(0), u8(2), u32le(banks.length), ...banks.map((b) => concat(u16le(BANKS[b].id), u16le(BANKS[b].size))), u8(0));
  const header = concat(u32le(options.headerRegister ?? 0), u32le(EVENT.noAction), new Uint8Array(20), u32le(spec.length), spec);
  const written = await Promise.all(events.map(async (e) => {
    const digests = e.digests ?? await Promise.all(banks.map(async (b) => ({ id: BANKS[b].id, value: e.type === EVENT.noAction ? new Uint8Array(BANKS[b].size) : await digestOf(b, e.measured ?? e.data) })));
    return concat(u32le(e.register), u32le(e.type), u32le(digests.length), ...digests.map((d) => concat(u16le(d.id), d.value)), u32le(e.data.length), e.data);
  }));
  return concat(header, ...written, options.padding ?? new Uint8Array());
}

/** UEFI_VARIABLE_DATA of a global variable. */
export function globalVariable(name: string, data: Bytes): Bytes {
  const characters = [...name].flatMap((c) => [c.charCodeAt(0) & 255, c.charCodeAt(0) >> 8]);
  const guid = Uint8Array.of(0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c);
  return concat(guid, u64le(name.length), u64le(data.length), Uint8Array.from(characters), data);
}

export const separator = (register: number): SimulatedEvent => ({ register, type: EVENT.separator, data: new Uint8Array(4) });
export const startupLocality = (locality: number): SimulatedEvent => ({ register: 0, type: EVENT.noAction, data: concat(utf8('StartupLocality\0'), u8(locality)) });

/** A boot with Secure Boot, GRUB and one kernel. */
export function simulatedBoot(change: { readonly secureBoot?: boolean; readonly commandLine?: string } = {}): SimulatedEvent[] {
  const line = change.commandLine ?? '/vmlinuz root=/dev/vda1 ro';
  return [
    { register: 0, type: 0x8, data: utf8('firmware 1') },
    { register: 7, type: EVENT.efiVariableDriverConfig, data: globalVariable('SecureBoot', u8(change.secureBoot === false ? 0 : 1)) },
    { register: 7, type: EVENT.efiVariableDriverConfig, data: globalVariable('PK', utf8('platform key')) },
    ...[0, 1, 2, 3, 4, 5, 6, 7].map(separator),
    { register: 4, type: EVENT.efiBootServicesApplication, data: utf8('device path'), measured: utf8('the boot loader') },
    { register: 8, type: EVENT.ipl, data: utf8(`kernel_cmdline: ${line}\0`), measured: utf8(line) },
    { register: 5, type: EVENT.efiAction, data: utf8('Exit Boot Services Invocation') },
    { register: 5, type: EVENT.efiAction, data: utf8('Exit Boot Services Returned with Success') },
  ];
}

/**
 * What a verified event log says of a boot. Only data whose digest is the measured one is read, each fact names its register, and firmware's
 * facts come from before its register's separator.
 */
import { type Bytes, equal, hex, sha256, utf8 } from '../../bytes.ts';
import { digestOf, EVENT, isMeasured, type LogEvent, textOf } from '../../formats/tcg-event-log.ts';
import { registerName, type VerifiedEventLog } from './event-log.ts';

export interface EventFacts {
  /** Secure Boot enforced; `null` when no event of the log says it. */
  readonly secureBoot: boolean | null;
  /** Firmware variables of the Secure Boot policy (PK, KEK, db, dbx): SHA-256 of their contents. */
  readonly variables: readonly { readonly register: string; readonly name: string; readonly sha256: string }[];
  /** Command lines of the kernels that the boot loader started. */
  readonly commandLines: readonly { readonly register: string; readonly text: string }[];
}

/** EFI_GLOBAL_VARIABLE, 8be4df61-93ca-11d2-aa0d-00e098032b8c, as it is stored. */
const GLOBAL = '61dfe48bca93d211aa0d00e098032b8c';
/** GRUB's names of one thing, by age; what follows is measured, with or without the final NUL. */
const COMMAND_LINE = /^(?:kernel_cmdline: |grub_kernel_cmdline )/;

export async function eventFacts({ kind, bank, events }: VerifiedEventLog): Promise<EventFacts> {
  const separators = await Promise.all([new Uint8Array(4), new Uint8Array(4).fill(0xff)].map((d) => digestOf(bank, d)));
  const isSeparator = (e: LogEvent): boolean => separators.some((d) => equal(d, e.digests.get(bank) ?? new Uint8Array()));
  const policy = kind === 'tpm' ? 7 : 1;
  const variables: { register: string; name: string; sha256: string; global: boolean; data: Bytes }[] = [];
  for (const event of events.filter((e) => e.register === policy)) {
    if (isSeparator(event)) break;
    const variable = event.type === EVENT.efiVariableDriverConfig && await isMeasured(event, bank) ? readVariable(event.data) : undefined;
    if (variable !== undefined) variables.push({ register: registerName(kind, policy), name: variable.name, sha256: hex(await sha256(variable.data)), global: variable.vendor === GLOBAL, data: variable.data });
  }
  const secure = variables.filter((v) => v.global && v.name === 'SecureBoot');
  const commandLines: { register: string; text: string }[] = [];
  for (const event of events) {
    const line = event.type === EVENT.ipl ? await commandLine(event, bank) : undefined;
    if (line !== undefined) commandLines.push({ register: registerName(kind, event.register), text: line });
  }
  return {
    // Two of them contradict each other, or somebody adds
    secureBoot: secure.length === 1 ? (secure[0] as { data: Bytes }).data.length === 1 && (secure[0] as { data: Bytes }).data[0] === 1 : null,
    variables: variables.map(({ register, name, sha256: digest }) => ({ register, name, sha256: digest })),
    commandLines,
  };
}

/** UEFI_VARIABLE_DATA: vendor GUID, lengths of name and data (u64), name in UTF-16, data. `undefined`: not of this form. */
function readVariable(data: Bytes): { vendor: string; name: string; data: Bytes } | undefined {
  if (data.length < 32) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [characters, size] = [view.getBigUint64(16, true), view.getBigUint64(24, true)];
  if (32n + 2n * characters + size !== BigInt(data.length) || characters > 128n) return undefined;
  const end = 32 + 2 * Number(characters);
  let name = '';
  for (let at = 32; at < end; at += 2) name += String.fromCharCode(view.getUint16(at, true));
  return { vendor: hex(data.subarray(0, 16)), name, data: data.subarray(end) };
}

async function commandLine(event: LogEvent, bank: VerifiedEventLog['bank']): Promise<string | undefined> {
  const all = textOf(event);
  const measured = event.digests.get(bank);
  const prefix = all === undefined ? null : COMMAND_LINE.exec(all);
  if (all === undefined || prefix === null || measured === undefined) return undefined;
  const line = all.slice(prefix[0].length);
  for (const spelling of [line, `${line}\0`, all, `${all}\0`]) if (equal(await digestOf(bank, utf8(spelling)), measured)) return line;
  return undefined;
}

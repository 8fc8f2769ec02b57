/**
 * A strict reader of protobuf messages (protobuf.dev/programming-guides/encoding) by their table of fields:
 *
 *   tag = number << 3 | type      type 0: varint · 1: 8 bytes · 2: length and bytes · 5: 4 bytes; groups (3, 4) are refused
 *
 * One spelling of every number (shortest varint), a singular field once (the format lets the last one win, so two readers may see two values), the
 * type that the table names, fields and bytes bounded. Fields that the table does not have are refused, or passed over where somebody signed the whole.
 */
import type { Bytes } from '../bytes.ts';
import { refuse, type RefusalCode } from '../refusal.ts';

export type FieldKind = 'varint' | 'bytes';
export interface Field { readonly name: string; readonly kind: FieldKind; readonly repeated?: true }
export type Fields = Readonly<Record<number, Field>>;
export interface ProtobufOptions {
  readonly path: string;
  readonly code: RefusalCode;
  readonly next: string;
  /** Of fields that the table does not have. */
  readonly unknown: 'refuse' | 'skip';
  /** Fields in one message. */
  readonly maxFields: number;
}

/** Values by name in their order; none where the field is absent. */
export interface Message {
  /** 0 where absent, as proto3 has it. */
  readonly varint: (name: string) => bigint;
  /** `undefined` where absent. */
  readonly bytes: (name: string) => Bytes | undefined;
  readonly all: (name: string) => readonly Bytes[];
}

const WIRE: Readonly<Record<FieldKind, number>> = { varint: 0, bytes: 2 };
const FIXED: Readonly<Record<number, number>> = { 1: 8, 5: 4 };
const MAX_FIELD_NUMBER = 2 ** 29 - 1;

/** @throws Refusal with `options.code` */
export function readMessage(data: Bytes, fields: Fields, options: ProtobufOptions): Message {
  const { path, code, next } = options;
  const bad = (name: string, have: string, need?: string): never => refuse(code, name === '' ? path : `${path}.${name}`, next, need === undefined ? { have } : { have, need });
  const varints = new Map<string, bigint>();
  const strings = new Map<string, Bytes[]>();
  let at = 0;

  const varint = (name: string): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = data[at++];
      if (byte === undefined) return bad(name, 'the end inside of a number');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0n) return bad(name, 'a number in more bytes than it needs');
        return value < 2n ** 64n ? value : bad(name, 'a number of more than 64 bits');
      }
    }
    return bad(name, 'a number of more than 10 bytes');
  };
  const take = (length: bigint | number, name: string): Bytes => {
    if (length > data.length - at) return bad(name, `${length} bytes with ${data.length - at} left`);
    at += Number(length);
    return data.subarray(at - Number(length), at);
  };

  for (let count = 0; at < data.length; count++) {
    if (count === options.maxFields) return bad('', `more than ${options.maxFields} fields`);
    const tag = varint('');
    const number = Number(tag >> 3n);
    const wire = Number(tag & 7n);
    if (number === 0 || number > MAX_FIELD_NUMBER) return bad('', `field number ${number}`);
    const field = Object.hasOwn(fields, number) ? fields[number] : undefined;
    const name = field?.name ?? `field ${number}`;
    if (field === undefined) {
      if (options.unknown === 'refuse') return bad(name, 'an unknown field', 'none');
      if (wire === 0) varint(name);
      else if (wire === 2) take(varint(name), name);
      else take(FIXED[wire] ?? bad(name, `wire type ${wire}`), name);
      continue;
    }
    if (wire !== WIRE[field.kind]) return bad(name, `wire type ${wire}`, String(WIRE[field.kind]));
    if (field.repeated !== true && (varints.has(name) || strings.has(name))) return bad(name, 'a singular field twice', 'once');
    if (field.kind === 'varint') varints.set(name, varint(name));
    else {
      const list = strings.get(name) ?? [];
      list.push(take(varint(name), name));
      strings.set(name, list);
    }
  }
  return { varint: (name) => varints.get(name) ?? 0n, bytes: (name) => strings.get(name)?.[0], all: (name) => strings.get(name) ?? [] };
}

/**
 * Values of verifiers as JSON, the same in Node and in a browser: bytes, big integers, maps and sets keep what they are, members are sorted,
 * members that are undefined are left out. What it does not know is an error, so that nothing compares equal by being lost.
 */
import { b64u, fromB64u } from '../../attestation/bytes.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

function pack(value: unknown): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0) ? value : { $number: Object.is(value, -0) ? '-0' : String(value) };
  if (typeof value === 'bigint') return { $bigint: String(value) };
  if (value === undefined) return { $undefined: true };
  if (value instanceof Uint8Array) return { $bytes: b64u(value) };
  if (value instanceof Map) return { $map: [...value].map(([k, v]) => [pack(k), pack(v)]) };
  if (value instanceof Set) return { $set: [...value].map(pack) };
  if (Array.isArray(value)) return value.map(pack);
  if (typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null)) {
    return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined).sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [k, pack(v)]));
  }
  throw new TypeError(`no wire form: ${Object.prototype.toString.call(value)} ${typeof value === 'object' ? value.constructor.name : String(value)}`);
}

function unpack(value: Json): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return (value as Json[]).map(unpack);
  const entries = Object.entries(value);
  const [name, inner] = entries[0] ?? [];
  if (entries.length === 1 && name === '$bytes') return fromB64u(inner as string);
  if (entries.length === 1 && name === '$bigint') return BigInt(inner as string);
  if (entries.length === 1 && name === '$number') return Number(inner);
  if (entries.length === 1 && name === '$undefined') return undefined;
  if (entries.length === 1 && name === '$map') return new Map((inner as [Json, Json][]).map(([k, v]) => [unpack(k), unpack(v)]));
  if (entries.length === 1 && name === '$set') return new Set((inner as Json[]).map(unpack));
  return Object.fromEntries(entries.map(([k, v]) => [k, unpack(v)]));
}

export const toWire = (value: unknown): string => JSON.stringify(pack(value));
export const fromWire = <T>(text: string): T => unpack(JSON.parse(text) as Json) as T;

/** What a step looked at, as items to open: signed texts as they were received, bytes as bytes, the rest as JSON. */
import { fromB64u } from '../../../attestation/bytes.ts';
import type { Raw } from './model.ts';

const JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const words = (key: string): string => key.replaceAll(/[_-]/g, ' ').replaceAll(/([a-z])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`);
const file = (prefix: string, key: string, extension: string): string => `${prefix}-${key.replaceAll(/[^A-Za-z0-9]+/g, '-').toLowerCase()}.${extension}`;

/** Byte strings inside JSON are shown as hex. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value, (_, v: unknown) => (v instanceof Uint8Array ? Array.from(v, (b) => b.toString(16).padStart(2, '0')).join('') : v)) ?? 'null');

function item(prefix: string, key: string, value: unknown): Raw[] {
  if (value === undefined || value === null) return [];
  if (value instanceof Uint8Array) return [{ name: words(key), file: file(prefix, key, 'bin'), form: 'bytes', value: new Uint8Array(value) }];
  if (typeof value === 'string') return [{ name: words(key), file: file(prefix, key, JWS.test(value) ? 'jws' : 'txt'), form: 'text', value }];
  if (isEvidence(value)) return [{ name: `evidence document, ${value.platform}`, file: file(prefix, 'evidence', 'cbor'), form: 'bytes', value: fromB64u(value.document) }];
  return [{ name: words(key), file: file(prefix, key, 'json'), form: 'json', value: plain(value) }];
}

const isEvidence = (value: unknown): value is { platform: string; document: string } =>
  typeof value === 'object' && value !== null && 'document' in value && 'platform' in value && typeof value.document === 'string' && typeof value.platform === 'string';

/** `raw` of one report. An object whose members are documents of their own is opened one level. */
export function toRaw(name: string, raw: unknown): Raw[] {
  if (typeof raw !== 'object' || raw === null || raw instanceof Uint8Array || Array.isArray(raw) || isEvidence(raw)) return item(name, name, raw);
  const members = Object.entries(raw);
  const separate = members.some(([, v]) => v instanceof Uint8Array || isEvidence(v) || (typeof v === 'string' && JWS.test(v)));
  return separate ? members.flatMap(([key, value]) => item(name, key, value)) : item(name, name, raw);
}

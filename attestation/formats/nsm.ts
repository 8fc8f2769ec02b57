/**
 * The payload of a Nitro attestation document (aws-nitro-enclaves-nsm-api, docs/attestation_process.md, section 3.2): a CBOR map
 *
 *   | key         | value                                                        |
 *   |-------------|--------------------------------------------------------------|
 *   | module_id   | text, not empty: "i-…-enc…"                                  |
 *   | digest      | text "SHA384"                                                |
 *   | timestamp   | integer, milliseconds since the epoch, above 0               |
 *   | pcrs        | map of 1 to 32 registers: index 0..31 -> 48 bytes            |
 *   | certificate | leaf, DER, 1..1024 bytes                                     |
 *   | cabundle    | 1 to 16 certificates, DER, 1..1024 bytes each, root first    |
 *   | public_key  | null, absent, or up to 1,024 bytes                           |
 *   | user_data   | null, absent, or up to 512 bytes                             |
 *   | nonce       | null, absent, or up to 512 bytes                             |
 *
 * NSM writes an optional field that was not asked for as null (genuine documents have all three null); the binding checks refuse it
 * where it is needed. A key that is not in the table is refused, so that a change at AWS is seen. A document of EC2 NitroTPM has
 * the same envelope and PKI with `nitrotpm_pcrs` instead of `pcrs`: it describes another machine and has a refusal of its own.
 */
import type { Bytes } from '../bytes.ts';
import { printable, type Reason, Refusal, refuse, type RefusalCode } from '../refusal.ts';
import { type CborMap, type CborValue, decodeCbor } from './cbor.ts';
import { MAX_PAYLOAD } from './cose.ts';

export interface NsmPayload {
  readonly moduleId: string;
  /** Epoch milliseconds. */
  readonly timestamp: number;
  /** In index order. */
  readonly pcrs: ReadonlyMap<number, Bytes>;
  readonly certificate: Bytes;
  readonly cabundle: readonly Bytes[];
  readonly publicKey?: Bytes;
  readonly userData?: Bytes;
  readonly nonce?: Bytes;
}

const REQUIRED = ['module_id', 'digest', 'timestamp', 'pcrs', 'certificate', 'cabundle'] as const;
const OPTIONAL = { public_key: 1024, user_data: 512, nonce: 512 } as const;
const KNOWN: ReadonlySet<unknown> = new Set([...REQUIRED, ...Object.keys(OPTIONAL)]);
const MAX_CERTIFICATE = 1024;
const MAX_BUNDLE = 16;
const SHA384_LENGTH = 48;
const NEXT = 'Send the attestation document exactly as the security module made it.';

/** @throws Refusal FMT_* with every field that is wrong */
export function parseNsmPayload(payload: Bytes, path: string): NsmPayload {
  const map = decodeCbor(payload, { path, maxBytes: MAX_PAYLOAD, maxDepth: 3, indefiniteTopMap: true });
  if (!(map instanceof Map)) return refuse('FMT_FIELD', path, NEXT, { have: 'no map', need: 'a map' });
  if (map.has('nitrotpm_pcrs')) {
    refuse('FMT_NITROTPM', `${path}.nitrotpm_pcrs`, 'This is a document of an EC2 NitroTPM. Attest inside the Nitro Enclave instead.', { have: 'nitrotpm_pcrs', need: 'pcrs' });
  }

  const reasons: Reason[] = [];
  const wrong = (code: RefusalCode, key: string, have: string, need: string): void => void reasons.push({ code, path: `${path}.${key}`, have, need, next: NEXT });
  for (const key of map.keys()) if (!KNOWN.has(key)) wrong('FMT_FIELD_UNKNOWN', printable(key, 32), 'an unknown field', [...KNOWN].join(', '));
  for (const key of REQUIRED) if (!map.has(key)) wrong('FMT_FIELD_MISSING', key, 'nothing', 'the field');

  const moduleId = map.get('module_id');
  if (map.has('module_id') && (typeof moduleId !== 'string' || moduleId.length === 0 || moduleId.length > 128)) wrong('FMT_FIELD', 'module_id', kind(moduleId), 'text of 1 to 128 characters');
  const digest = map.get('digest');
  if (map.has('digest') && digest !== 'SHA384') wrong('FMT_DIGEST', 'digest', typeof digest === 'string' ? printable(digest, 32) : kind(digest), 'SHA384');
  const timestamp = map.get('timestamp');
  if (map.has('timestamp') && !(typeof timestamp === 'number' && timestamp > 0 && timestamp <= 8.64e15)) wrong('FMT_FIELD', 'timestamp', kind(timestamp), 'milliseconds above 0');
  const pcrs = map.get('pcrs');
  if (map.has('pcrs')) checkPcrs(pcrs, wrong);
  const certificate = map.get('certificate');
  if (map.has('certificate') && !isBlob(certificate, 1, MAX_CERTIFICATE)) wrong('FMT_FIELD', 'certificate', kind(certificate), `1 to ${MAX_CERTIFICATE} bytes`);
  const cabundle = map.get('cabundle');
  if (map.has('cabundle') && !(Array.isArray(cabundle) && cabundle.length >= 1 && cabundle.length <= MAX_BUNDLE && cabundle.every((c) => isBlob(c, 1, MAX_CERTIFICATE)))) {
    wrong('FMT_FIELD', 'cabundle', kind(cabundle), `1 to ${MAX_BUNDLE} certificates of 1 to ${MAX_CERTIFICATE} bytes`);
  }
  for (const [key, max] of Object.entries(OPTIONAL)) {
    const value = map.get(key);
    if (value !== undefined && value !== null && !isBlob(value, 0, max)) wrong('FMT_FIELD', key, kind(value), `null or up to ${max} bytes`);
  }
  if (reasons.length > 0) throw new Refusal(reasons);

  return {
    moduleId: moduleId as string,
    timestamp: timestamp as number,
    pcrs: new Map([...(pcrs as Map<number, Bytes>)].sort(([a], [b]) => a - b)),
    certificate: certificate as Bytes,
    cabundle: cabundle as Bytes[],
    publicKey: optional(map, 'public_key'),
    userData: optional(map, 'user_data'),
    nonce: optional(map, 'nonce'),
  };
}

function checkPcrs(pcrs: CborValue | undefined, wrong: (code: RefusalCode, key: string, have: string, need: string) => void): void {
  if (!(pcrs instanceof Map) || pcrs.size < 1 || pcrs.size > 32) {
    return wrong('FMT_PCR', 'pcrs', pcrs instanceof Map ? `${pcrs.size} registers` : kind(pcrs), 'a map of 1 to 32 registers');
  }
  for (const [index, value] of pcrs) {
    if (typeof index !== 'number' || index < 0 || index > 31) wrong('FMT_PCR', `pcrs.${printable(index, 32)}`, 'this index', '0 to 31');
    else if (!isBlob(value, SHA384_LENGTH, SHA384_LENGTH)) wrong('FMT_PCR', `pcrs.${index}`, kind(value), `${SHA384_LENGTH} bytes`);
  }
}

const optional = (map: CborMap, key: string): Bytes | undefined => (map.get(key) ?? undefined) as Bytes | undefined;

const isBlob = (value: unknown, min: number, max: number): value is Bytes => value instanceof Uint8Array && value.length >= min && value.length <= max;

function kind(value: CborValue | undefined): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (value instanceof Map) return 'a map';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return value === null ? 'null' : typeof value === 'string' ? `text of ${value.length} characters` : typeof value;
}

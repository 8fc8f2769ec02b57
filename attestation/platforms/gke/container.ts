/**
 * Evidence of a confidential GKE node as it travels: one JSON object, bytes in base64url, the members of exactly one technology.
 *
 *   | technology | member    |                                                                                                  |
 *   |------------|-----------|--------------------------------------------------------------------------------------------------|
 *   | SEV-SNP    | report    | SNP report (/dev/sev-guest)                                                                      |
 *   |            | vek       | optional: VCEK; collateral otherwise                                                             |
 *   |            | issuers   | optional: ASK and ARK; collateral otherwise                                                      |
 *   | TDX        | tdQuote   | TD quote (/dev/tdx_guest)                                                                        |
 *   |            | ccel      | optional: event log of the TD                                                                    |
 *   |            | instance  | optional: {"instanceId": n, "numericalProjectId": n, "zone": "..."}; numbers above 2^53, read exactly |
 *   | SEV        | message   | TPMS_ATTEST of the vTPM's quote (/dev/tpmrm0)                                                    |
 *   |            | signature | its TPMT_SIGNATURE                                                                               |
 *   |            | pcrs      | object: PCR index in decimal to value; only quoted ones are used                                 |
 *   |            | ak        | certificate of the attestation key, then its issuers, root included                              |
 *   |            | eventLog  | measurements of the firmware (binary_bios_measurements): the quote alone says nothing of SEV     |
 */
import { b64u, type Bytes, fromB64u, utf8 } from '../../bytes.ts';
import { type JsonMember, readJsonObject } from '../../formats/json-span.ts';
import type { GceInstance } from '../../hardware/tdx/gce.ts';
import { printable, refuse } from '../../refusal.ts';

export interface SnpParts { readonly technology: 'sev-snp'; readonly report: Bytes; readonly vek?: Bytes; readonly issuers?: readonly Bytes[] }
export interface TdxParts { readonly technology: 'tdx'; readonly tdQuote: Bytes; readonly ccel?: Bytes; readonly instance?: GceInstance }
/** `ak`: leaf first. */
export interface SevParts { readonly technology: 'sev'; readonly message: Bytes; readonly signature: Bytes; readonly pcrs: ReadonlyMap<number, Bytes>; readonly ak: readonly Bytes[]; readonly eventLog: Bytes }
export type GkeParts = SnpParts | TdxParts | SevParts;

/** An event log of 128 KiB and everything else. */
const MAX_SIZE = 262_144;
const MAX_CERTIFICATES = 6;
const PCRS = 24;
const U64 = 2n ** 64n;
const MEMBERS = {
  'sev-snp': { required: ['report'], optional: ['vek', 'issuers'] }, tdx: { required: ['tdQuote'], optional: ['ccel', 'instance'] }, sev: { required: ['message', 'signature', 'pcrs', 'ak', 'eventLog'], optional: [] },
} as const;
const NEXT = 'Send the evidence as the attester of this version makes it.';

/** @throws Refusal FMT_JSON, FMT_FIELD, FMT_FIELD_MISSING, FMT_FIELD_UNKNOWN, FMT_PCR */
export function parseGkeEvidence(document: Bytes, path: string): GkeParts {
  const members = readJsonObject(document, path, { maxBytes: MAX_SIZE, maxDepth: 3, code: 'FMT_JSON', next: NEXT });
  const kinds = (Object.keys(MEMBERS) as (keyof typeof MEMBERS)[]).filter((t) => members.has(MEMBERS[t].required[0]));
  const [technology] = kinds;
  if (technology === undefined || kinds.length > 1) return refuse('FMT_FIELD', path, NEXT, { have: kinds.join(' and ') || 'no report, tdQuote or message', need: 'the members of one technology' });
  const known: readonly string[] = [...MEMBERS[technology].required, ...MEMBERS[technology].optional];
  for (const name of members.keys()) if (!known.includes(name)) refuse('FMT_FIELD_UNKNOWN', `${path}.${printable(name, 32)}`, NEXT, { have: `a member that is not of ${technology}`, need: known.join(', ') });
  for (const name of MEMBERS[technology].required) if (!members.has(name)) refuse('FMT_FIELD_MISSING', `${path}.${name}`, NEXT, { have: 'nothing', need: 'the member' });

  const blob = (name: string): Bytes => readBlob(members.get(name)?.value, `${path}.${name}`);
  const maybe = <K extends string, T>(name: K, read: () => T): { [P in K]?: T } => (members.has(name) ? { [name]: read() } as { [P in K]: T } : {});
  const list = (name: string): Bytes[] => readList(members.get(name)?.value, `${path}.${name}`);
  if (technology === 'sev-snp') return { technology, report: blob('report'), ...maybe('vek', () => blob('vek')), ...maybe('issuers', () => list('issuers')) };
  if (technology === 'tdx') return { technology, tdQuote: blob('tdQuote'), ...maybe('ccel', () => blob('ccel')), ...maybe('instance', () => readInstance(members.get('instance')?.source ?? '', `${path}.instance`)) };
  return { technology, message: blob('message'), signature: blob('signature'), pcrs: readPcrs(members.get('pcrs'), `${path}.pcrs`), ak: list('ak'), eventLog: blob('eventLog') };
}

function readBlob(value: unknown, path: string): Bytes {
  try {
    if (typeof value === 'string' && value !== '') return fromB64u(value);
  } catch { /* said below */ }
  return refuse('FMT_FIELD', path, NEXT, { have: typeof value, need: 'bytes in base64url' });
}

function readList(value: unknown, path: string): Bytes[] {
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_CERTIFICATES) return refuse('FMT_FIELD', path, NEXT, { have: Array.isArray(value) ? `${value.length} certificates` : typeof value, need: `1 to ${MAX_CERTIFICATES} certificates` });
  return value.map((item, i) => readBlob(item, `${path}[${i}]`));
}

function readPcrs(member: JsonMember | undefined, path: string): ReadonlyMap<number, Bytes> {
  const value = member?.value;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse('FMT_PCR', path, NEXT, { have: typeof value, need: 'an object' });
  return new Map(Object.entries(value).map(([name, encoded]) => {
    if (!/^(?:0|[1-9]\d?)$/.test(name) || Number(name) >= PCRS) refuse('FMT_PCR', `${path}.${printable(name, 8)}`, NEXT, { have: 'this index', need: `0 to ${PCRS - 1}` });
    return [Number(name), readBlob(encoded, `${path}.${name}`)];
  }));
}

/** The digits as they are written: a JS number would round them. */
function readInstance(source: string, path: string): GceInstance {
  const members = readJsonObject(source, path, { maxBytes: 512, maxDepth: 1, code: 'FMT_JSON', next: NEXT });
  if ([...members.keys()].sort().join() !== 'instanceId,numericalProjectId,zone') refuse('FMT_FIELD', path, NEXT, { have: [...members.keys()].map((k) => printable(k, 32)).join(', '), need: 'instanceId, numericalProjectId, zone' });
  const number = (name: string): bigint => {
    const text = members.get(name)?.source ?? '';
    const value = /^(?:0|[1-9]\d{0,19})$/.test(text) ? BigInt(text) : U64;
    return value < U64 ? value : refuse('FMT_FIELD', `${path}.${name}`, NEXT, { have: printable(text, 32), need: 'a whole number of 64 bits' });
  };
  const zone = members.get('zone')?.value;
  if (typeof zone !== 'string' || !/^[a-z0-9-]{1,63}$/.test(zone)) return refuse('FMT_FIELD', `${path}.zone`, NEXT, { have: typeof zone, need: 'a zone' });
  return { instanceId: number('instanceId'), numericalProjectId: number('numericalProjectId'), zone };
}

/** The inverse of {@link parseGkeEvidence}. */
export function encodeGkeEvidence(parts: GkeParts): Bytes {
  const encoded = Object.entries(parts).flatMap(([name, value]: [string, unknown]): string[] => {
    if (name === 'technology' || value === undefined) return [];
    if (name === 'instance') {
      const { instanceId, numericalProjectId, zone } = value as GceInstance;
      return [`"instance":{"instanceId":${instanceId},"numericalProjectId":${numericalProjectId},"zone":${JSON.stringify(zone)}}`];
    }
    const json = value instanceof Map ? Object.fromEntries([...value as ReadonlyMap<number, Bytes>].map(([i, v]) => [i, b64u(v)])) : Array.isArray(value) ? value.map((v) => b64u(v as Bytes)) : b64u(value as Bytes);
    return [`"${name}":${JSON.stringify(json)}`];
  });
  return utf8(`{${encoded.join(',')}}`);
}

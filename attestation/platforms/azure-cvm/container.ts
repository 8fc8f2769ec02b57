/**
 * Evidence of an Azure Confidential VM as it travels: one JSON object, bytes in base64url.
 *
 *   | member    |                                                                                              |
 *   |-----------|----------------------------------------------------------------------------------------------|
 *   | hcl       | HCL report: NV index 0x01400001 (formats/hcl-report.ts)                                      |
 *   | message   | TPMS_ATTEST of the vTPM's quote by the key 0x81000003                                        |
 *   | signature | its TPMT_SIGNATURE                                                                           |
 *   | pcrs      | object: PCR index in decimal to value; only quoted ones are used                             |
 *   | ak        | optional: certificate of the attestation key (NV index 0x01C101D0, without its padding), then its issuers, root included |
 *   | vek       | SEV-SNP, optional: VCEK; collateral otherwise                                                |
 *   | issuers   | SEV-SNP, optional: ASK and ARK; collateral otherwise                                         |
 *   | tdQuote   | TDX: TD quote over the report_data of the HCL report                                         |
 *   | eventLog  | optional: measurements of the firmware (binary_bios_measurements)                            |
 */
import { b64u, type Bytes, fromB64u, utf8 } from '../../bytes.ts';
import { type JsonMember, readJsonObject } from '../../formats/json-span.ts';
import { printable, refuse } from '../../refusal.ts';

export interface AzureParts {
  readonly hcl: Bytes;
  readonly message: Bytes;
  readonly signature: Bytes;
  readonly pcrs: ReadonlyMap<number, Bytes>;
  /** Leaf first. */
  readonly ak?: readonly Bytes[];
  readonly vek?: Bytes;
  readonly issuers?: readonly Bytes[];
  readonly tdQuote?: Bytes;
  readonly eventLog?: Bytes;
}

/** An event log of 128 KiB and everything else. */
const MAX_SIZE = 262_144;
const MAX_CERTIFICATES = 6;
const PCRS = 24;
const REQUIRED = ['hcl', 'message', 'signature', 'pcrs'] as const;
const BLOBS = ['hcl', 'message', 'signature', 'vek', 'tdQuote', 'eventLog'] as const;
const LISTS = ['ak', 'issuers'] as const;
const KNOWN: ReadonlySet<string> = new Set([...REQUIRED, ...BLOBS, ...LISTS]);
const NEXT = 'Send the evidence as the attester of this version makes it.';

/** @throws Refusal FMT_JSON, FMT_FIELD, FMT_FIELD_MISSING, FMT_FIELD_UNKNOWN */
export function parseAzureEvidence(document: Bytes, path: string): AzureParts {
  const members = readJsonObject(document, path, { maxBytes: MAX_SIZE, maxDepth: 3, code: 'FMT_JSON', next: NEXT });
  for (const name of members.keys()) if (!KNOWN.has(name)) refuse('FMT_FIELD_UNKNOWN', `${path}.${printable(name, 32)}`, NEXT, { have: 'an unknown member', need: [...KNOWN].join(', ') });
  for (const name of REQUIRED) if (!members.has(name)) refuse('FMT_FIELD_MISSING', `${path}.${name}`, NEXT, { have: 'nothing', need: 'the member' });
  const blob = (value: unknown, at: string): Bytes => {
    try {
      if (typeof value === 'string' && value !== '') return fromB64u(value);
    } catch { /* said below */ }
    return refuse('FMT_FIELD', at, NEXT, { have: typeof value, need: 'bytes in base64url' });
  };
  const optional = (name: string): Bytes | undefined => (members.has(name) ? blob(members.get(name)?.value, `${path}.${name}`) : undefined);
  const list = (name: string): Bytes[] | undefined => {
    const value = members.get(name)?.value;
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || value.length < 1 || value.length > MAX_CERTIFICATES) return refuse('FMT_FIELD', `${path}.${name}`, NEXT, { have: Array.isArray(value) ? `${value.length} certificates` : typeof value, need: `1 to ${MAX_CERTIFICATES} certificates` });
    return value.map((item, i) => blob(item, `${path}.${name}[${i}]`));
  };
  return {
    hcl: blob(members.get('hcl')?.value, `${path}.hcl`), message: blob(members.get('message')?.value, `${path}.message`), signature: blob(members.get('signature')?.value, `${path}.signature`),
    pcrs: readPcrs(members.get('pcrs'), `${path}.pcrs`, blob), ak: list('ak'), vek: optional('vek'), issuers: list('issuers'), tdQuote: optional('tdQuote'), eventLog: optional('eventLog'),
  };
}

function readPcrs(member: JsonMember | undefined, path: string, blob: (value: unknown, at: string) => Bytes): ReadonlyMap<number, Bytes> {
  const value = member?.value;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse('FMT_PCR', path, NEXT, { have: typeof value, need: 'an object' });
  return new Map(Object.entries(value).map(([name, encoded]) => {
    if (!/^(?:0|[1-9]\d?)$/.test(name) || Number(name) >= PCRS) refuse('FMT_PCR', `${path}.${printable(name, 8)}`, NEXT, { have: 'this index', need: `0 to ${PCRS - 1}` });
    return [Number(name), blob(encoded, `${path}.${name}`)];
  }));
}

/** The inverse of {@link parseAzureEvidence}. */
export function encodeAzureEvidence(parts: AzureParts): Bytes {
  const out: Record<string, unknown> = { hcl: b64u(parts.hcl), message: b64u(parts.message), signature: b64u(parts.signature), pcrs: Object.fromEntries([...parts.pcrs].map(([i, value]) => [i, b64u(value)])) };
  for (const name of LISTS) if (parts[name] !== undefined) out[name] = parts[name].map(b64u);
  for (const name of ['vek', 'tdQuote', 'eventLog'] as const) if (parts[name] !== undefined) out[name] = b64u(parts[name]);
  return utf8(JSON.stringify(out));
}

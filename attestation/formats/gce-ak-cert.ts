/**
 * What Google says of an instance in the certificates of its vTPM: extension 1.3.6.1.4.1.11129.2.1.21 (go-tpm-tools, server/instance_info.go).
 *
 *   GceInstance ::= SEQUENCE {
 *     zone           UTF8String,
 *     projectNumber  INTEGER,             -- 64 bits
 *     projectId      UTF8String,
 *     instanceId     INTEGER,             -- 64 bits
 *     instanceName   UTF8String,
 *     security  [0]  EXPLICIT SEQUENCE {  -- OPTIONAL
 *       version     [0] EXPLICIT INTEGER  OPTIONAL,
 *       production  [1] EXPLICIT BOOLEAN  OPTIONAL,
 *       [2] and up      EXPLICIT BOOLEAN, ascending; without names in Google's source, kept by number
 *     }
 *   }
 *
 * Both numbers are above 2^53: they are BigInt, never JS numbers.
 */
import type { Bytes } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { boolean, children, type DerNode, expectTag, readDer, small, string, TAG, unsigned } from './der.ts';

export const GCE_INSTANCE = '1.3.6.1.4.1.11129.2.1.21';

export interface GceInstanceInfo {
  readonly zone: string;
  readonly projectNumber: bigint;
  readonly projectId: string;
  readonly instanceId: bigint;
  readonly instanceName: string;
  /** `null`: not stated. */
  readonly security: { readonly version: number | null; readonly production: boolean | null; readonly flags: ReadonlyMap<number, boolean> } | null;
}

const MAX_SIZE = 1024;
const MAX_TEXT = 128;
const MAX_FLAG = 15;
const EXPLICIT = 0xa0;
const NEXT = 'Send the certificate exactly as Google made it.';

/** @throws Refusal FMT_DER, FMT_SIZE */
export function readGceInstance(value: Bytes, path: string): GceInstanceInfo {
  if (value.length > MAX_SIZE) refuse('FMT_SIZE', path, NEXT, { have: `${value.length} bytes`, need: `at most ${MAX_SIZE}` });
  const fields = children(readDer(value, path));
  if (fields.length < 5 || fields.length > 6) refuse('FMT_DER', path, NEXT, { have: `${fields.length} fields`, need: '5 or 6' });
  const [zone, projectNumber, projectId, instanceId, instanceName, security] = fields;
  return {
    zone: name(zone), projectNumber: number(projectNumber), projectId: name(projectId), instanceId: number(instanceId), instanceName: name(instanceName),
    security: security === undefined ? null : readSecurity(only(security, EXPLICIT)),
  };
}

/** Printable ASCII: what names of zones, projects and instances are made of. */
function name(node: DerNode | undefined): string {
  const { path } = expectTag(node, TAG.utf8String);
  const value = string(node);
  if (!/^[\x21-\x7e]+$/.test(value) || value.length > MAX_TEXT) refuse('FMT_DER', path, NEXT, { have: `text of ${value.length} characters`, need: `1 to ${MAX_TEXT} printable ones` });
  return value;
}

function number(node: DerNode | undefined): bigint {
  const digits = unsigned(node);
  if (digits.length > 8) refuse('FMT_DER', node?.path ?? 'der', NEXT, { have: `an INTEGER of ${digits.length} bytes`, need: 'at most 8' });
  return digits.reduce((n, byte) => (n << 8n) | BigInt(byte), 0n);
}

/** The one value of an explicit tag. */
function only(node: DerNode, tag: number): DerNode {
  const [first, ...rest] = children(node, tag);
  if (first === undefined || rest.length > 0) return refuse('FMT_DER', node.path, NEXT, { have: `${first === undefined ? 0 : rest.length + 1} values`, need: '1' });
  return first;
}

function readSecurity(node: DerNode): NonNullable<GceInstanceInfo['security']> {
  let [version, production]: [number | null, boolean | null] = [null, null];
  const flags = new Map<number, boolean>();
  let last = -1;
  for (const field of children(node)) {
    const tag = field.tag - EXPLICIT;
    if (tag <= last || tag > MAX_FLAG) refuse('FMT_DER', field.path, NEXT, { have: `tag ${field.tag.toString(16)}`, need: 'ascending explicit tags' });
    const inner = only(field, field.tag);
    if (tag === 0) version = small(inner);
    else if (tag === 1) production = boolean(inner);
    else flags.set(tag, boolean(inner));
    last = tag;
  }
  return { version, production, flags };
}

/**
 * What a PCK certificate says of its platform (Intel SGX PCK Certificate and CRL Profile Specification, section 1.3.5): extension
 * 1.2.840.113741.1.13.1, a SEQUENCE of pairs { OBJECT IDENTIFIER, value }, each once, here in any order:
 *
 *   | .1 PPID               | OCTET STRING 16 | .2 TCB       | SEQUENCE of pairs: .2.1 to .2.16 components, .2.17 PCESVN (INTEGER), .2.18 CPUSVN (OCTET STRING 16)
 *   | .3 PCE-ID             | OCTET STRING 2  | .4 FMSPC     | OCTET STRING 6        | .5 SGX type | ENUMERATED
 *   | .6 platform instance  | OCTET STRING 16 | .7 configuration | SEQUENCE of pairs: .7.1 dynamic platform, .7.2 cached keys, .7.3 SMT (BOOLEAN); both of Platform CAs only
 */
import { type Bytes, hex } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { boolean, children, type DerNode, expectTag, oid, readDer, small, TAG } from './der.ts';
import type { Certificate } from './x509.ts';

export const PCK_EXTENSION = '1.2.840.113741.1.13.1';

export interface PckPlatform {
  /** Names the machine: goes into look-ups, never into claims or receipts. */
  readonly ppid: Bytes;
  /** 16 security versions of SGX components, 0 to 255. */
  readonly components: readonly number[];
  readonly pceSvn: number;
  readonly cpuSvn: Bytes;
  /** Lower-case hex. */
  readonly pceId: string;
  readonly fmspc: string;
  readonly sgxType: number;
  readonly platformInstanceId?: Bytes;
  readonly configuration?: { readonly dynamicPlatform?: boolean; readonly cachedKeys?: boolean; readonly smt?: boolean };
}

const NEXT = 'Send the PCK certificate exactly as Intel made it.';
const ENUMERATED = 0x0a;
const bad = (path: string, have: string, need: string): never => refuse('FMT_DER', path, NEXT, { have, need });

/** @throws Refusal FMT_FIELD_MISSING, FMT_DER */
export function readPckPlatform(certificate: Certificate, path: string): PckPlatform {
  const extension = certificate.extensions.get(PCK_EXTENSION);
  if (extension === undefined) return refuse('FMT_FIELD_MISSING', `${path}.sgx`, NEXT, { have: 'no extension of SGX', need: PCK_EXTENSION });
  const at = `${path}.sgx`;
  const top = pairs(readDer(extension.value, at), PCK_EXTENSION, 7, at);
  const need = (fields: ReadonlyMap<number, DerNode>, number: number, field: string): DerNode => fields.get(number) ?? refuse('FMT_FIELD_MISSING', `${at}.${field}`, NEXT, { have: 'nothing', need: 'the field' });

  const tcb = pairs(need(top, 2, 'tcb'), `${PCK_EXTENSION}.2`, 18, `${at}.tcb`);
  const components = Array.from({ length: 16 }, (_, i) => bounded(need(tcb, i + 1, `tcb.component${i + 1}`), 255, `${at}.tcb.component${i + 1}`));
  const instance = top.get(6);
  const configuration = top.get(7);
  return {
    components, ppid: octets(need(top, 1, 'ppid'), 16, `${at}.ppid`), pceSvn: bounded(need(tcb, 17, 'tcb.pceSvn'), 65_535, `${at}.tcb.pceSvn`), cpuSvn: octets(need(tcb, 18, 'tcb.cpuSvn'), 16, `${at}.tcb.cpuSvn`),
    pceId: hex(octets(need(top, 3, 'pceId'), 2, `${at}.pceId`)), fmspc: hex(octets(need(top, 4, 'fmspc'), 6, `${at}.fmspc`)),
    sgxType: bounded({ ...expectTag(need(top, 5, 'sgxType'), ENUMERATED), tag: TAG.integer }, 255, `${at}.sgxType`),
    ...(instance === undefined ? {} : { platformInstanceId: octets(instance, 16, `${at}.platformInstanceId`) }),
    ...(configuration === undefined ? {} : { configuration: readConfiguration(configuration, `${at}.configuration`) }),
  };
}

function readConfiguration(node: DerNode, path: string): NonNullable<PckPlatform['configuration']> {
  const fields = pairs(node, `${PCK_EXTENSION}.7`, 3, path);
  const flag = (number: number): boolean | undefined => {
    const found = fields.get(number);
    return found === undefined ? undefined : boolean(found);
  };
  return { dynamicPlatform: flag(1), cachedKeys: flag(2), smt: flag(3) };
}

/** Values by the last arc of their identifiers, 1 to `max`. */
function pairs(node: DerNode, prefix: string, max: number, path: string): ReadonlyMap<number, DerNode> {
  const out = new Map<number, DerNode>();
  for (const pair of children(node)) {
    const [identifier, value, ...rest] = children(pair);
    const id = oid(identifier);
    const number = id.startsWith(`${prefix}.`) ? Number(id.slice(prefix.length + 1)) : Number.NaN;
    if (!Number.isInteger(number) || number < 1 || number > max) return bad(path, id, `${prefix}.1 to .${max}`);
    if (value === undefined || rest.length !== 0) return bad(path, `${rest.length + 1} values of ${id}`, '1');
    if (out.has(number)) return bad(path, `${id} twice`, 'once');
    out.set(number, value);
  }
  return out;
}

function octets(node: DerNode, length: number, path: string): Bytes {
  const { value } = expectTag(node, TAG.octetString);
  return value.length === length ? value : bad(path, `${value.length} bytes`, String(length));
}

function bounded(node: DerNode, max: number, path: string): number {
  const value = small(node);
  return value <= max ? value : bad(path, String(value), `at most ${max}`);
}

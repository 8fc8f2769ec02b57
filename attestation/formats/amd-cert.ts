/**
 * What AMD writes into the certificates of chip keys (AMD 57230, VCEK; 58369 for VLEK): extensions below 1.3.6.1.4.1.3704.1, none critical.
 *
 * | arc | extension | form |
 * |---|---|---|
 * | 1 | structVersion | INTEGER: 0, or 1 (Turin) |
 * | 2 | productName | IA5String: "Milan-B0", "Genoa", "Turin" |
 * | 3.1, 3.2, 3.3, 3.8 | security versions of bootloader, TEE, SNP firmware, microcode | INTEGER 0 to 255 |
 * | 3.9 | of the FMC (Turin) | the same |
 * | 3.4 to 3.7 | spare | the same, 0 |
 * | 4 | HWID (VCEK only) | 64 bytes, 8 on Turin; raw, or inside an OCTET STRING |
 * | 5 | CSP_ID (VLEK only) | IA5String: "CN=cc-us-east-2.amazonaws.com" |
 */
import type { Bytes } from '../bytes.ts';
import type { TcbComponents } from '../claims.ts';
import { printable, refuse } from '../refusal.ts';
import { expectTag, readDer, small, string, TAG } from './der.ts';
import type { Certificate } from './x509.ts';

export const AMD_ARC = '1.3.6.1.4.1.3704.1';
const SPARE = ['3.4', '3.5', '3.6', '3.7'] as const;
const NEXT = 'Send the certificate exactly as AMD\'s key distribution service made it.';
/** commonName of the certificates. */
const KINDS: Readonly<Record<string, 'vcek' | 'vlek'>> = { 'SEV-VCEK': 'vcek', 'SEV-VLEK': 'vlek' };

export interface AmdVek {
  /** Chip key, or key that a cloud loaded. */
  readonly kind: 'vcek' | 'vlek';
  readonly structVersion: number;
  readonly productName: string;
  /** Security versions by component: bootloader, tee, snp, microcode and, on Turin, fmc. */
  readonly tcb: TcbComponents;
  /** 8 or 64 bytes; `null` in a VLEK. */
  readonly hwid: Bytes | null;
  /** `null` in a VCEK. */
  readonly cspId: string | null;
}

/** @throws Refusal CHAIN_NAME, FMT_DER, FMT_FIELD, FMT_FIELD_MISSING, FMT_FIELD_UNKNOWN, FMT_VERSION, FMT_RESERVED */
export function readVek(certificate: Certificate, path: string): AmdVek {
  const kind = KINDS[certificate.commonName];
  if (kind === undefined) return refuse('CHAIN_NAME', `${path}.subject`, NEXT, { have: printable(certificate.commonName), need: Object.keys(KINDS).join(' or ') });
  const where = (arc: string): string => `${path}.${AMD_ARC}.${arc}`;
  const find = (arc: string): Bytes | undefined => certificate.extensions.get(`${AMD_ARC}.${arc}`)?.value;
  const need = (arc: string): Bytes => find(arc) ?? refuse('FMT_FIELD_MISSING', where(arc), NEXT, { need: 'this extension' });
  const spl = (arc: string): number => {
    const value = small(readDer(need(arc), where(arc)));
    return value <= 255 ? value : refuse('FMT_FIELD', where(arc), NEXT, { have: String(value), need: '0 to 255' });
  };

  const structVersion = small(readDer(need('1'), where('1')));
  if (structVersion > 1) refuse('FMT_VERSION', where('1'), NEXT, { have: String(structVersion), need: '0 or 1' });
  const productName = string(expectTag(readDer(need('2'), where('2')), TAG.ia5String));
  if (!/^[A-Za-z][A-Za-z0-9-]{0,31}$/.test(productName)) refuse('FMT_FIELD', where('2'), NEXT, { have: printable(productName, 40), need: 'a product name' });
  for (const arc of SPARE) if (find(arc) !== undefined && spl(arc) !== 0) refuse('FMT_RESERVED', where(arc), NEXT, { have: String(spl(arc)), need: '0' });
  const tcb: TcbComponents = { ...(find('3.9') === undefined ? {} : { fmc: spl('3.9') }), bootloader: spl('3.1'), tee: spl('3.2'), snp: spl('3.3'), microcode: spl('3.8') };

  const other = kind === 'vcek' ? '5' : '4';
  if (find(other) !== undefined) refuse('FMT_FIELD_UNKNOWN', where(other), NEXT, { have: kind === 'vcek' ? 'a CSP_ID in a VCEK' : 'a HWID in a VLEK', need: 'none' });
  return {
    kind, structVersion, productName, tcb,
    hwid: kind === 'vcek' ? readHwid(need('4'), where('4')) : null,
    cspId: kind === 'vlek' ? readCspId(need('5'), where('5')) : null,
  };
}

/** The lengths tell the two forms apart. */
function readHwid(value: Bytes, path: string): Bytes {
  if (value.length === 64 || value.length === 8) return value;
  const inner = value.length === 66 || value.length === 10 ? expectTag(readDer(value, path), TAG.octetString).value : undefined;
  return inner ?? refuse('FMT_FIELD', path, NEXT, { have: `${value.length} bytes`, need: '64 or 8, or an OCTET STRING of as many' });
}

function readCspId(value: Bytes, path: string): string {
  const id = string(expectTag(readDer(value, path), TAG.ia5String));
  return /^[\x21-\x7e]{1,256}$/.test(id) ? id : refuse('FMT_FIELD', path, NEXT, { have: printable(id), need: 'up to 256 visible characters' });
}

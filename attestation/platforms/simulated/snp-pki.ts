/**
 * AMD's PKI, simulated: ARK, ASK and ASVK with RSA-4096, RSASSA-PSS with SHA-384; VCEK and VLEK on P-384 with AMD's extensions; the ARK's
 * revocation list. Names are AMD's in the common name, because verifiers tell the kinds apart by it; the organization says what it is. Isomorphic.
 */
import { type Bytes, bytes, hex, sha256, utf8 } from '../../bytes.ts';
import type { TrustRoot } from '../../adapter.ts';
import type { TcbComponents } from '../../claims.ts';
import { AMD_ARC } from '../../formats/amd-cert.ts';
import type { AmdProduct } from '../../trust/purposes.ts';
import { der, integer, octets } from './der-writer.ts';
import { type AuthorityOptions, type CrlOptions, dn, type Extension, type Issued, makeAuthority, makeCrl } from './issue.ts';
import type { KeyRing } from './keys.ts';
import { SIMULATED_TCB, simulatedChipId } from './snp.ts';

const DAY = 86_400;
export const SIMULATED_ORGANIZATION = 'Simulated, proves nothing about hardware';

/** Attributes in AMD's order. */
export const amdName = (commonName: string): Bytes => dn([['OU', 'Engineering'], ['C', 'US'], ['L', 'Santa Clara'], ['ST', 'CA'], ['O', SIMULATED_ORGANIZATION], ['CN', commonName]]);

export interface SnpPki { readonly product: AmdProduct; readonly ark: Issued; readonly ask: Issued; readonly asvk: Issued }
type Change = Partial<AuthorityOptions>;

export interface SnpPkiOptions {
  readonly product: AmdProduct;
  /** Epoch seconds. */
  readonly now: number;
  /** RSA-4096 keys take seconds to make. */
  readonly keys: KeyRing;
  readonly change?: Partial<Record<'ark' | 'ask' | 'asvk', Change>>;
}

export async function makeSnpPki({ product, now, keys, change = {} }: SnpPkiOptions): Promise<SnpPki> {
  const [a, b, c] = await Promise.all([keys.get('RSA-4096', 'amd-ark'), keys.get('RSA-4096', 'amd-ask'), keys.get('RSA-4096', 'amd-asvk')]);
  const common = { notBefore: now - 365 * DAY, notAfter: now + 20 * 365 * DAY, algorithm: 'PS384' as const };
  const ark = await makeAuthority({ ...common, key: a, subject: amdName(`ARK-${product}`), keyUsage: ['keyCertSign', 'cRLSign'], change: { serial: bytes([1, 0, 0]) }, ...change.ark });
  const below = { ...common, issuer: ark, pathLen: 0, keyUsage: ['keyCertSign'] as const };
  const ask = await makeAuthority({ ...below, key: b, subject: amdName(`SEV-${product}`), change: { serial: bytes([1, 0, 1]) }, ...change.ask });
  const asvk = await makeAuthority({ ...below, key: c, subject: amdName(`SEV-VLEK-${product}`), change: { serial: bytes([1, 0, 2]) }, ...change.asvk });
  return { product, ark, ask, asvk };
}

export interface VekFields {
  readonly structVersion: number;
  readonly productName: string;
  readonly tcb: TcbComponents;
  /** `null`: no such extension. */
  readonly hwid: Bytes | null;
  /** HWID inside of an OCTET STRING. */
  readonly wrapHwid: boolean;
  readonly cspId: string | null;
  /** Instead of those made of these fields, by arc; `null` leaves one out. */
  readonly replace: Readonly<Record<string, Bytes | null>>;
}

const ARCS: Readonly<Record<string, string>> = { bootloader: '3.1', tee: '3.2', snp: '3.3', microcode: '3.8', fmc: '3.9' };

export function vekExtensions(f: VekFields): Extension[] {
  const values: Record<string, Bytes | null> = {
    1: integer(bytes([f.structVersion])), 2: der(0x16, utf8(f.productName)),
    ...Object.fromEntries(Object.entries(f.tcb).map(([name, n]) => [ARCS[name] ?? name, integer(bytes([n]))])),
    4: f.hwid === null ? null : f.wrapHwid ? octets(f.hwid) : f.hwid, 5: f.cspId === null ? null : der(0x16, utf8(f.cspId)), ...f.replace,
  };
  return Object.entries(values).flatMap(([arc, value]) => (value === null ? [] : [{ id: `${AMD_ARC}.${arc}`, critical: false, value }]));
}

export function vekFields(product: AmdProduct, kind: 'vcek' | 'vlek', change: Partial<VekFields> = {}): VekFields {
  const chip = simulatedChipId(product);
  return {
    structVersion: product === 'Turin' ? 1 : 0, productName: product === 'Milan' && kind === 'vcek' ? 'Milan-B0' : product, tcb: SIMULATED_TCB[product],
    hwid: kind === 'vlek' ? null : product === 'Turin' ? chip.slice(0, 8) : chip, wrapHwid: false, cspId: kind === 'vlek' ? 'CN=cc-simulated-1.example' : null, replace: {}, ...change,
  };
}

/** A VCEK by the ASK or a VLEK by the ASVK, with serial 0 and without the standard extensions, as AMD's. */
export async function makeVek(pki: SnpPki, kind: 'vcek' | 'vlek', now: number, keys: KeyRing, fields: Partial<VekFields> = {}, change: Change = {}): Promise<Issued> {
  const { change: template, ...options } = change;
  return makeAuthority({
    key: await keys.get('P-384', `amd-${kind}`), subject: amdName(`SEV-${kind.toUpperCase()}`), issuer: kind === 'vcek' ? pki.ask : pki.asvk, notBefore: now - DAY, notAfter: now + 365 * DAY, pathLen: null, algorithm: 'PS384',
    ...options, change: { serial: bytes([0]), extensions: vekExtensions(vekFields(pki.product, kind, fields)), ...template },
  });
}

/** The list of revoked ASKs and ASVKs. */
export const makeSnpCrl = (pki: SnpPki, now: number, change: Partial<CrlOptions> = {}): Promise<Bytes> => makeCrl({ issuer: pki.ark, thisUpdate: now - DAY, nextUpdate: now + 30 * DAY, algorithm: 'PS384', ...change });

/** What a development policy names. */
export async function snpDevelopmentRoot(pki: SnpPki): Promise<TrustRoot> {
  const { certificate, template } = pki.ark;
  return { name: `simulated ARK-${pki.product}`, purpose: `amd-ark/${pki.product}`, anchor: 'development', certSha256: hex(await sha256(certificate)), spkiSha256: hex(await sha256(template.spki)) };
}

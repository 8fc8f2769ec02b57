/**
 * Intel's PKI under a development root: root, Platform and Processor CA, PCK certificates that describe a platform, TCB signing certificate,
 * revocation lists. Names, usages, path lengths and lifetimes are Intel's; only the root's name says what it is. Isomorphic.
 */
import { type Bytes, bytes, fromHex, hex, sha256 } from '../../bytes.ts';
import { PCK_EXTENSION } from '../../formats/intel-pck.ts';
import { parseCertificate } from '../../formats/x509.ts';
import type { TrustRoot } from '../../adapter.ts';
import { bool, der, integer, octets, oid, sequence } from './der-writer.ts';
import { type AuthorityOptions, type CrlOptions, dn, type Extension, type Issued, makeAuthority, makeCrl } from './issue.ts';
import { KeyRing } from './keys.ts';

const YEAR = 365 * 86_400;
const DAY = 86_400;
export const DEVELOPMENT_INTEL_ROOT = 'DEVELOPMENT ROOT simulated Intel SGX';
export const intelName = (commonName: string): Bytes => dn([['CN', commonName], ['O', 'Intel Corporation'], ['L', 'Santa Clara'], ['ST', 'CA'], ['C', 'US']]);

export interface PckFields {
  readonly ppid: Bytes;
  readonly components: readonly number[];
  readonly pceSvn: number;
  readonly cpuSvn: Bytes;
  readonly pceId: Bytes;
  readonly fmspc: Bytes;
  readonly sgxType: number;
  readonly platformInstanceId: Bytes | null;
  /** Dynamic platform, cached keys, SMT. */
  readonly configuration: readonly [boolean, boolean, boolean] | null;
}

export const PCK_FIELDS: PckFields = {
  ppid: new Uint8Array(16).fill(0x71), components: [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0], pceSvn: 13, cpuSvn: bytes([3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]), pceId: bytes([0, 0]),
  fmspc: fromHex('b0c06f000000'), sgxType: 1, platformInstanceId: new Uint8Array(16).fill(0x72), configuration: [true, true, true],
};

const pair = (id: string, value: Bytes): Bytes => sequence(oid(id), value);
const number = (value: number): Bytes => integer(bytes([value >> 8, value & 255]));

/** The pairs of the extension, one list each for platform and TCB: tests leave out, double or change single ones. */
export function pckPairs(f: PckFields): { platform: Bytes[]; tcb: Bytes[] } {
  const tcb = [...f.components.map((svn, i) => pair(`${PCK_EXTENSION}.2.${i + 1}`, number(svn))), pair(`${PCK_EXTENSION}.2.17`, number(f.pceSvn)), pair(`${PCK_EXTENSION}.2.18`, octets(f.cpuSvn))];
  const platform = [
    pair(`${PCK_EXTENSION}.3`, octets(f.pceId)), pair(`${PCK_EXTENSION}.4`, octets(f.fmspc)), pair(`${PCK_EXTENSION}.5`, der(0x0a, bytes([f.sgxType]))),
    ...(f.platformInstanceId === null ? [] : [pair(`${PCK_EXTENSION}.6`, octets(f.platformInstanceId))]),
    ...(f.configuration === null ? [] : [pair(`${PCK_EXTENSION}.7`, sequence(...f.configuration.map((on, i) => pair(`${PCK_EXTENSION}.7.${i + 1}`, bool(on)))))]),
  ];
  return { platform: [pair(`${PCK_EXTENSION}.1`, octets(f.ppid)), ...platform], tcb };
}

export function pckExtension(f: PckFields, change: (pairs: ReturnType<typeof pckPairs>) => ReturnType<typeof pckPairs> = (p) => p): Extension {
  const { platform, tcb } = change(pckPairs(f));
  const [ppid, ...rest] = platform;
  return { id: PCK_EXTENSION, critical: false, value: sequence(...(ppid === undefined ? [] : [ppid]), pair(`${PCK_EXTENSION}.2`, sequence(...tcb)), ...rest) };
}

export const TDX_LEVELS = ['root', 'ca', 'pck', 'signer'] as const;
export type TdxLevel = (typeof TDX_LEVELS)[number];

export interface TdxPkiOptions {
  /** Epoch seconds. */
  readonly now: number;
  readonly ring?: KeyRing;
  readonly ca?: 'platform' | 'processor';
  readonly pck?: Partial<PckFields>;
  /** Replaces the extension made of `pck`; `null`: none. */
  readonly pckExtension?: Extension | null;
  readonly change?: Partial<Record<TdxLevel, Partial<AuthorityOptions>>>;
  readonly rootCrl?: Partial<CrlOptions>;
  readonly pckCrl?: Partial<CrlOptions>;
}

export interface TdxPki { readonly root: Issued; readonly ca: Issued; readonly pck: Issued; readonly signer: Issued; readonly rootCrl: Bytes; readonly pckCrl: Bytes; readonly caKind: 'platform' | 'processor' }

export async function makeTdxPki(options: TdxPkiOptions): Promise<TdxPki> {
  const { now, ring = new KeyRing(), ca: caKind = 'platform', change = {} } = options;
  const key = (name: string) => ring.get('P-256', `tdx-${name}`);
  const life = (years: number) => ({ notBefore: now - DAY, notAfter: now + years * YEAR });
  const root = await makeAuthority({ key: await key('root'), subject: intelName(DEVELOPMENT_INTEL_ROOT), ...life(20), pathLen: 1, ...change.root });
  const ca = await makeAuthority({ key: await key('ca'), subject: intelName(`Intel SGX PCK ${caKind === 'platform' ? 'Platform' : 'Processor'} CA`), issuer: root, ...life(15), pathLen: 0, ...change.ca });
  const extension = options.pckExtension === undefined ? pckExtension({ ...PCK_FIELDS, ...options.pck }) : options.pckExtension;
  const usage = ['digitalSignature', 'nonRepudiation'] as const;
  const pck = await makeAuthority({ key: await key('pck'), subject: intelName('Intel SGX PCK Certificate'), issuer: ca, ...life(7), pathLen: null, keyUsage: usage, extensions: extension === null ? [] : [extension], ...change.pck });
  const signer = await makeAuthority({ key: await key('signer'), subject: intelName('Intel SGX TCB Signing'), issuer: root, ...life(7), pathLen: null, keyUsage: usage, ...change.signer });
  const dates = { thisUpdate: now - 3600, nextUpdate: now + 30 * DAY };
  const rootCrl = await makeCrl({ issuer: root, ...dates, ...options.rootCrl });
  const pckCrl = await makeCrl({ issuer: ca, ...dates, ...options.pckCrl });
  return { root, ca, pck, signer, rootCrl, pckCrl, caKind };
}

/** Pins a simulated root: what a development policy says. */
export async function pinIntel(root: Bytes, anchor: TrustRoot['anchor'] = 'development'): Promise<TrustRoot> {
  return { name: 'simulated Intel root', purpose: 'intel-sgx', anchor, certSha256: hex(await sha256(root)), spkiSha256: hex(await sha256(parseCertificate(root, 'root').spki)) };
}

/** Certificates as Intel sends them. */
export function pem(...ders: Bytes[]): string {
  return ders.map((data) => {
    const base64 = btoa(Array.from(data, (b) => String.fromCharCode(b)).join(''));
    return `-----BEGIN CERTIFICATE-----\n${base64.replace(/(.{64})(?=.)/g, '$1\n')}\n-----END CERTIFICATE-----\n`;
  }).join('');
}

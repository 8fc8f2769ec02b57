/**
 * A PKI shaped like AWS's: root, regional, zonal, instance and leaf certificates with its names, path lengths, key usages and
 * lifetimes. Everything can be set, so a test can change exactly one thing under signatures that verify. Isomorphic.
 */
import { type Bytes, bytes, concat, randomBytes, utf8 } from '../../bytes.ts';
import type { KeyUsage } from '../../formats/x509.ts';
import { der, oid, sequence } from './der-writer.ts';
import { assemble, basicConstraints, type CertificateBody, dn, type Extension, keyUsage } from './issue.ts';
import { derSignature } from './keys.ts';

export type { Extension } from './issue.ts';
export { derSignature } from './keys.ts';

const P384 = { name: 'ECDSA', namedCurve: 'P-384' } as const;
const ES384 = { name: 'ECDSA', hash: 'SHA-384' } as const;
const HOUR = 3600;
const DAY = 24 * HOUR;
export const ECDSA_SHA384 = sequence(oid('1.2.840.10045.4.3.3'));
export const LEVELS = ['root', 'regional', 'zonal', 'instance', 'leaf'] as const;
export type Level = (typeof LEVELS)[number];

/** `extensions`: behind the two that it has by itself. */
export interface CertificateFields extends CertificateBody {
  readonly ca: boolean;
  readonly pathLen: number | null;
  readonly keyUsage: readonly KeyUsage[] | null;
  /** AlgorithmIdentifier, inside and outside of the signed part. */
  readonly algorithm: Bytes;
}

export interface Authority { readonly certificate: Bytes; readonly fields: CertificateFields; readonly keys: CryptoKeyPair }

export interface ChainOptions {
  readonly region: string;
  readonly instanceId: string;
  readonly moduleId: string;
  /** Epoch seconds: when the chain is made. */
  readonly now: number;
  /** An existing root; a new one otherwise. */
  readonly root?: Authority;
  /** Fields of single certificates to set otherwise; a changed subject is the next certificate's issuer. */
  readonly change?: Partial<Record<Level, Partial<CertificateFields>>>;
  /** Sign a certificate with another key than its issuer's. */
  readonly signWith?: Partial<Record<Level, CryptoKey>>;
}

export interface SimulatedChain {
  readonly levels: Readonly<Record<Level, Authority>>;
  /** Root first, as in the document. */
  readonly cabundle: Bytes[];
  readonly certificate: Bytes;
  readonly leafKey: CryptoKey;
  readonly notBefore: number;
  /** When the first of them expires, epoch seconds. */
  readonly notAfter: number;
}

export const newKeyPair = async (): Promise<CryptoKeyPair> => crypto.subtle.generateKey(P384, true, ['sign', 'verify']);
export const newInstanceId = (): string => `i-${randomHex(17)}`;
export const newModuleId = (instanceId: string): string => `${instanceId}-enc${randomHex(16)}`;
const randomHex = (digits: number): string => Array.from(randomBytes(digits), (b) => (b & 15).toString(16)).join('');

/** Attributes in AWS's order for root, regional, instance and leaf names. */
export function name(commonName: string, organization = 'Amazon'): Bytes {
  return dn([['C', 'US'], ['O', organization], ['OU', 'AWS'], ['CN', commonName]]);
}

/** Says what it is in the field that people read. */
export const DEVELOPMENT_ROOT = 'DEVELOPMENT ROOT simulated aws.nitro-enclaves';

export async function makeRoot(now: number, change: Partial<CertificateFields> = {}, keys?: CryptoKeyPair): Promise<Authority> {
  const pair = keys ?? await newKeyPair();
  const subject = change.subject ?? name(DEVELOPMENT_ROOT, 'Simulated, proves nothing about hardware');
  const fields = { ...await defaults(pair, subject, subject, now, 3650 * DAY), ca: true, keyUsage: CA_USAGE, ...change };
  return { certificate: await issue(fields, pair.privateKey), fields, keys: pair };
}

const CA_USAGE = ['digitalSignature', 'keyCertSign', 'cRLSign'] as const;

export async function makeChain(options: ChainOptions): Promise<SimulatedChain> {
  const { region, instanceId, moduleId, now, change = {}, signWith = {} } = options;
  const root = options.root ?? await makeRoot(now - DAY, change.root);
  const shapes: Record<Exclude<Level, 'root'>, { cn: string; age: number; life: number; rest: Partial<CertificateFields> }> = {
    regional: { cn: `${randomHex(16)}.${region}.aws.nitro-enclaves`, age: DAY, life: 20 * DAY, rest: { ca: true, pathLen: 2, keyUsage: CA_USAGE } },
    zonal: { cn: `${randomHex(16)}.zonal.${region}.aws.nitro-enclaves`, age: 6 * HOUR, life: 6 * DAY, rest: { ca: true, pathLen: 1, keyUsage: CA_USAGE } },
    instance: { cn: `${instanceId}.${region}.aws.nitro-enclaves`, age: HOUR, life: DAY, rest: { ca: true, pathLen: 0, keyUsage: ['keyCertSign'] } },
    leaf: { cn: `${moduleId}.${region}.aws`, age: 3, life: 3 * HOUR + 3, rest: { ca: false, keyUsage: ['digitalSignature', 'nonRepudiation'] } },
  };
  const levels: Partial<Record<Level, Authority>> = { root };
  let issuer = root;
  for (const level of ['regional', 'zonal', 'instance', 'leaf'] as const) {
    const { cn, age, life, rest } = shapes[level];
    const keys = await newKeyPair();
    // No certificate begins before its issuer's: a chain of a young root is valid throughout.
    const notBefore = Math.max(now - age, root.fields.notBefore);
    const fields = { ...await defaults(keys, issuer.fields.subject, name(cn), notBefore, life), ...rest, ...change[level] };
    issuer = { certificate: await issue(fields, signWith[level] ?? issuer.keys.privateKey), fields, keys };
    levels[level] = issuer;
  }
  const all = levels as Record<Level, Authority>;
  return {
    levels: all,
    cabundle: [all.root, all.regional, all.zonal, all.instance].map((a) => a.certificate),
    certificate: all.leaf.certificate,
    leafKey: all.leaf.keys.privateKey,
    notBefore: Math.max(...LEVELS.map((l) => all[l].fields.notBefore)),
    notAfter: Math.min(...LEVELS.map((l) => all[l].fields.notAfter)),
  };
}

async function defaults(keys: CryptoKeyPair, issuer: Bytes, subject: Bytes, notBefore: number, life: number): Promise<CertificateFields> {
  return {
    version: 2, serial: concat(bytes([0x40]), randomBytes(15)), issuer, subject, notBefore, notAfter: notBefore + life, spki: await spkiOf(keys),
    ca: false, pathLen: null, keyUsage: null, extensions: [], algorithm: ECDSA_SHA384,
  };
}

export const spkiOf = async (keys: CryptoKeyPair): Promise<Bytes> => new Uint8Array(await crypto.subtle.exportKey('spki', keys.publicKey));

/** Signed ECDSA with SHA-384. */
export function issue(fields: CertificateFields, key: CryptoKey): Promise<Bytes> {
  const extensions = [basicConstraints(fields.ca, fields.pathLen), ...(fields.keyUsage === null ? [] : [keyUsage(fields.keyUsage, fields.ca)]), ...fields.extensions];
  return assemble({ ...fields, extensions }, fields.algorithm, fields.algorithm, async (tbs) => derSignature(new Uint8Array(await crypto.subtle.sign(ES384, key, tbs))));
}

/** An extension that nobody knows, for tests and for AWS-like non-critical ones. */
export const unknownExtension = (critical: boolean): Extension => ({ id: '1.3.6.1.4.1.99999.1', critical, value: der(0x04, utf8('?')) });

/**
 * A simulated machine of Compute Engine: vTPM, the certificate of its attestation key under Google's kind of PKI, the event log of its firmware; and the
 * evidence of GKE nodes of each technology. Real formats under development roots: it proves nothing about hardware. Every part can be set
 * otherwise, under signatures that verify. Isomorphic.
 */
import type { TrustRoot } from '../../adapter.ts';
import { type Bytes, bytes, concat, hex, sha256, utf8 } from '../../bytes.ts';
import type { CollateralItem, CollateralKind } from '../../collateral/collateral.ts';
import { GCE_INSTANCE } from '../../formats/gce-ak-cert.ts';
import { parseEventLog, replayEventLog } from '../../formats/tcg-event-log.ts';
import { EV_NONHOST_INFO, GCE_TECHNOLOGIES, type GceTechnology, NON_HOST_INFO } from '../../hardware/gce/boot.ts';
import { parseCertificate } from '../../formats/x509.ts';
import type { SevParts } from '../gke/container.ts';
import { bool, explicit, integer, sequence, utf8String } from './der-writer.ts';
import { buildEventLog, simulatedBoot, type SimulatedEvent } from './event-log.ts';
import { type AuthorityOptions, dn, type Extension, extendedKeyUsage, type Issued, makeAuthority, makeCrl } from './issue.ts';
import { KeyRing } from './keys.ts';
import { SIMULATED_ORGANIZATION } from './snp-pki.ts';
import { buildQuote, freshPcrs, type QuoteOptions } from './tpm.ts';

const DAY = 86_400;
const YEAR = 365 * DAY;
const TPM_ENDORSEMENT_KEY = '2.23.133.8.1';

export interface GceInstanceFields {
  readonly zone: string; readonly projectNumber: bigint; readonly projectId: string; readonly instanceId: bigint; readonly instanceName: string;
  /** `null`: no security properties. */
  readonly security: readonly Bytes[] | null;
}

/** The integer of a BigInt, as DER has it. */
const big = (value: bigint): Bytes => integer(Uint8Array.from(value.toString(16).padStart(2 * Math.ceil(value.toString(16).length / 2), '0').match(/../g) ?? [], (d) => Number.parseInt(d, 16)));

/** Members of the security properties, by their tags. */
export const gceVersion = (value: number): Bytes => explicit(0, integer(bytes([value])));
export const gceProduction = (value: boolean): Bytes => explicit(1, bool(value));

export const GCE_FIELDS: GceInstanceFields = {
  zone: 'europe-west4-a', projectNumber: 232_923_608_972n, projectId: 'simulated-project', instanceId: 7_899_197_072_425_216_309n, instanceName: 'gke-simulated-node-1',
  security: [gceVersion(0), gceProduction(true), explicit(2, bool(true)), explicit(3, bool(false))],
};

export const encodeGceInstance = (f: GceInstanceFields): Bytes => sequence(utf8String(f.zone), big(f.projectNumber), utf8String(f.projectId), big(f.instanceId), utf8String(f.instanceName), ...(f.security === null ? [] : [explicit(0, sequence(...f.security))]));

export const gceInstanceExtension = (f: GceInstanceFields): Extension => ({ id: GCE_INSTANCE, critical: false, value: encodeGceInstance(f) });
export const gceSubject = (f: GceInstanceFields): Bytes => dn([['L', f.zone], ['O', 'Google Compute Engine'], ['OU', f.projectId], ['CN', String(f.instanceId)]]);

export type GceLevel = 'root' | 'ca' | 'ak';
export interface GcePki { readonly root: Issued; readonly ca: Issued; readonly ak: Issued; readonly crl: Bytes }
export interface GcePkiOptions {
  readonly now: number;
  readonly ring?: KeyRing;
  readonly instance?: Partial<GceInstanceFields>;
  readonly change?: Partial<Record<GceLevel, Partial<AuthorityOptions>>>;
  /** Names of the ring's keys, so that two CAs of one name differ. */
  readonly caKey?: string;
}

export async function makeGcePki({ now, ring = new KeyRing(), instance, change = {}, caKey = 'gce-ca' }: GcePkiOptions): Promise<GcePki> {
  const fields = { ...GCE_FIELDS, ...instance };
  const [rootKey, key, akKey] = await Promise.all([ring.get('RSA-2048', 'gce-root'), ring.get('RSA-2048', caKey), ring.get('P-256', 'gce-ak')]);
  const named = (cn: string): Bytes => dn([['C', 'US'], ['O', SIMULATED_ORGANIZATION], ['OU', 'Simulated Cloud'], ['CN', cn]]);
  const purposes = [extendedKeyUsage([TPM_ENDORSEMENT_KEY])];
  const root = await makeAuthority({ key: rootKey, subject: named('DEVELOPMENT ROOT simulated EK/AK CA'), extensions: purposes, notBefore: now - YEAR, notAfter: now + 90 * YEAR, ...change.root });
  const ca = await makeAuthority({ key, subject: named('EK/AK CA Intermediate'), issuer: root, extensions: purposes, notBefore: now - 200 * DAY, notAfter: now + 90 * YEAR, ...change.ca });
  const ak = await makeAuthority({ key: akKey, subject: gceSubject(fields), issuer: ca, pathLen: null, extensions: [gceInstanceExtension(fields)], notBefore: now - DAY, notAfter: now + 30 * YEAR, ...change.ak });
  return { root, ca, ak, crl: await makeCrl({ issuer: root, thisUpdate: now - DAY, nextUpdate: now + 30 * DAY }) };
}

export async function gceDevelopmentRoot({ root }: Pick<GcePki, 'root'>, anchor: TrustRoot['anchor'] = 'development'): Promise<TrustRoot> {
  return { name: 'simulated EK/AK CA', purpose: 'google-ek-ak', anchor, certSha256: hex(await sha256(root.certificate)), spkiSha256: hex(await sha256(root.template.spki)) };
}

/** Google's firmware, and then a boot with Secure Boot. */
export function gceBoot(technology: GceTechnology = 'sev', boot: readonly SimulatedEvent[] = simulatedBoot()): SimulatedEvent[] {
  return [{ register: 0, type: EV_NONHOST_INFO, data: concat(NON_HOST_INFO, bytes([GCE_TECHNOLOGIES.indexOf(technology)]), new Uint8Array(15)) }, { register: 0, type: 0x8, data: utf8('GCE Virtual Firmware v2') }, ...boot];
}

export interface GceWorldOptions extends GcePkiOptions {
  /** What the quote carries: D32 of the binding. */
  readonly extraData: Bytes;
  /** PCRs that the quote selects: gkeSelection of the policy's registers. */
  readonly select: readonly number[];
  readonly technology?: GceTechnology;
  readonly events?: readonly SimulatedEvent[];
  readonly quote?: Partial<Pick<QuoteOptions, 'change' | 'signWith' | 'bank' | 'key' | 'pcrs'>>;
  readonly anchor?: TrustRoot['anchor'];
}

export interface GceWorld { readonly parts: SevParts; readonly root: TrustRoot; readonly collateral: readonly CollateralItem[]; readonly pki: GcePki; readonly pcrs: ReadonlyMap<number, Bytes> }

export async function makeGceWorld(options: GceWorldOptions): Promise<GceWorld> {
  const { now, extraData, select } = options;
  const pki = await makeGcePki(options);
  const eventLog = await buildEventLog(options.events ?? gceBoot(options.technology));
  const pcrs = freshPcrs('sha256', Object.fromEntries(await replayEventLog(parseEventLog(eventLog, 'log'), 'sha256')));
  const quote = await buildQuote({ bank: 'sha256', pcrs, select, extraData, key: pki.ak.key, ...options.quote });
  const item = (kind: CollateralKind, key: string, data: Bytes): CollateralItem => ({ kind, key, bytes: data, source: 'offline', fetchedAt: now });
  const keyId = parseCertificate(pki.ca.certificate, 'ca').authorityKeyId?.keyId ?? '';
  return {
    parts: { technology: 'sev', message: quote.message, signature: quote.signature, pcrs, ak: [pki.ak, pki.ca, pki.root].map((c) => c.certificate), eventLog },
    root: await gceDevelopmentRoot(pki, options.anchor), collateral: [item('google-crl', keyId, pki.crl)], pki, pcrs,
  };
}

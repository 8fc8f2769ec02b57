/**
 * `measurements.lock.json`: the one source of measurements. The image build writes it; key policies, release policies, token conditions and the owner's
 * appraisal policy are generated from it. Entries per role, two generations for blue/green: both are allowed while both run.
 *
 * | field | of |
 * |---|---|
 * | image | OCI image digest: gateways everywhere, Confidential Space brokers, pods on GKE, Binary Authorization |
 * | nitro | the enclave image's PCRs (AWS Nitro Enclaves, "Cryptographic attestation"), SHA-384 |
 * | azure | vTPM PCRs (SHA-256) of the confidential VM's image, launch measurement of its paravisor under SEV-SNP and TDX |
 * | gke | launch measurement of the node's firmware: SEV-SNP, and MRTD with RTMR1 and RTMR2 for TDX |
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigurationError } from './configuration-error.ts';

export const LOCK_FILE = new URL('../measurements.lock.json', import.meta.url);
export const GENERATIONS = ['blue', 'green'] as const;
export type Generation = (typeof GENERATIONS)[number];
export const WORKLOAD_ROLES = ['gateway', 'broker', 'counter'] as const;
export type WorkloadRole = (typeof WORKLOAD_ROLES)[number];

const notZero = (value: string): boolean => !/^(?:sha256:)?0+$/.test(value);
const hex = (length: number) => z.string().regex(new RegExp(`^[0-9a-f]{${length}}$`), `${length} lower-case hexadecimal digits`).refine(notZero, 'not all zero: that is a TEE in debug mode, or a value that was never filled in');
const sha384 = hex(96);
/** A PCR that this image never extends is zero and stays so. */
const pcr = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hexadecimal digits');
const image = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'sha256: and 64 lower-case hexadecimal digits').refine(notZero, 'not all zero');

const provenance = z.discriminatedUnion('source', [
  z.strictObject({ source: z.literal('built'), commit: z.string().regex(/^[0-9a-f]{40}$/) }),
  z.strictObject({ source: z.literal('placeholder'), label: z.string().min(1).max(64) }),
]);
const nitro = z.strictObject({ PCR0: sha384, PCR1: sha384, PCR2: sha384, PCR8: sha384 });
const azure = z.strictObject({
  launch: sha384, mrtd: sha384,
  pcrs: z.strictObject({ 4: pcr.refine(notZero, 'not all zero'), 7: pcr.refine(notZero, 'not all zero'), 8: pcr, 9: pcr, 11: pcr, 12: pcr, 13: pcr }),
});
const gke = z.strictObject({ launch: sha384, mrtd: sha384, rtmr1: sha384, rtmr2: sha384 });

const teeEntry = z.strictObject({ provenance, image, nitro, azure, gke });
const plainEntry = z.strictObject({ provenance, image });
export type TeeEntry = z.infer<typeof teeEntry>;
export type PlainEntry = z.infer<typeof plainEntry>;

const generations = <T extends z.ZodType>(entry: T) => z.strictObject({ blue: entry, green: entry.optional() });
export const lockSchema = z.strictObject({
  version: z.literal(1),
  roles: z.strictObject({ gateway: generations(plainEntry), broker: generations(teeEntry), counter: generations(teeEntry) }),
});
export type MeasurementLock = z.infer<typeof lockSchema>;

/** @throws ConfigurationError naming the first field that does not hold */
export function parseLock(text: string): MeasurementLock {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConfigurationError('measurements.lock.json', 'no JSON', 'the file that the image build writes');
  }
  const parsed = lockSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new ConfigurationError(`measurements.lock.json ${issue?.path.join('.') ?? ''}`, at(value, issue?.path ?? []), issue?.message ?? 'a lock file');
  }
  return parsed.data;
}

const at = (value: unknown, path: readonly PropertyKey[]): unknown => path.reduce<unknown>((v, key) => (typeof v === 'object' && v !== null ? (v as Record<PropertyKey, unknown>)[key] : undefined), value);

export const readLock = (file: URL | string = LOCK_FILE): MeasurementLock => parseLock(readFileSync(file, 'utf8'));

/** The entries of a role that may run now, blue first. */
export function entriesOf(lock: MeasurementLock, role: 'broker' | 'counter'): readonly TeeEntry[];
export function entriesOf(lock: MeasurementLock, role: WorkloadRole): readonly PlainEntry[];
export function entriesOf(lock: MeasurementLock, role: WorkloadRole): readonly PlainEntry[] {
  const { blue, green } = lock.roles[role];
  return green === undefined ? [blue] : [blue, green];
}

/** The colour's entry; blue's while no green one exists. */
export function entryOf(lock: MeasurementLock, role: 'broker' | 'counter', generation: Generation): TeeEntry {
  return lock.roles[role][generation] ?? lock.roles[role].blue;
}

/** Labels of the entries that no image build wrote. */
export function placeholders(lock: MeasurementLock): string[] {
  return WORKLOAD_ROLES.flatMap((role) => entriesOf(lock, role).flatMap(({ provenance: p }) => (p.source === 'placeholder' ? [p.label] : [])));
}

const digest = (algorithm: 'sha256' | 'sha384', label: string): string => createHash(algorithm).update(label).digest('hex');

/** A stand-in until the image build has written the real values: hashes of a label, so that nothing it names can ever match a TEE. */
export function placeholderEntry(label: string): TeeEntry {
  const wide = (field: string): string => digest('sha384', `${label}/${field}`);
  const narrow = (field: string): string => digest('sha256', `${label}/${field}`);
  return {
    provenance: { source: 'placeholder', label },
    image: `sha256:${narrow('image')}`,
    nitro: { PCR0: wide('PCR0'), PCR1: wide('PCR1'), PCR2: wide('PCR2'), PCR8: wide('PCR8') },
    azure: { launch: wide('launch'), mrtd: wide('mrtd'), pcrs: { 4: narrow('4'), 7: narrow('7'), 8: narrow('8'), 9: narrow('9'), 11: narrow('11'), 12: narrow('12'), 13: narrow('13') } },
    gke: { launch: wide('gke-launch'), mrtd: wide('gke-mrtd'), rtmr1: wide('gke-rtmr1'), rtmr2: wide('gke-rtmr2') },
  };
}

export function placeholderLock(): MeasurementLock {
  const plain = (label: string): PlainEntry => ({ provenance: { source: 'placeholder', label }, image: `sha256:${digest('sha256', `${label}/image`)}` });
  return {
    version: 1,
    roles: {
      gateway: { blue: plain('gateway-blue'), green: plain('gateway-green') },
      broker: { blue: placeholderEntry('broker-blue'), green: placeholderEntry('broker-green') },
      counter: { blue: placeholderEntry('counter-blue'), green: placeholderEntry('counter-green') },
    },
  };
}

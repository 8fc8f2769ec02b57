/**
 * `promotions.json`: which measured images were admitted to which environment, in order. One lock file serves all environments; this file says how far each
 * of its digests has come. A record of an environment repeats a record of the environment before it, to the digest: nothing enters staging or prod another way.
 */
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { ConfigurationError } from './configuration-error.ts';
import { CLOUDS, type Cloud, ENVIRONMENT_NAMES, type EnvironmentName } from './environments.ts';
import { GENERATIONS, type MeasurementLock, type TeeEntry, WORKLOAD_ROLES } from './measurements.ts';

export const PROMOTIONS_FILE = new URL('../promotions.json', import.meta.url);

const commit = z.string().regex(/^[0-9a-f]{40}$/, 'a commit: 40 lower-case hexadecimal digits');
const sha256 = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'sha256: and 64 lower-case hexadecimal digits');

/** `built`: the commit that the image is of. `PCR0` and `eif` (SHA-256 of the enclave file) on AWS for brokers and counters, nowhere else. */
const entry = z.strictObject({
  role: z.enum(WORKLOAD_ROLES), generation: z.enum(GENERATIONS), built: commit, image: sha256,
  PCR0: z.string().regex(/^[0-9a-f]{96}$/, '96 lower-case hexadecimal digits').optional(), eif: sha256.optional(),
});
/** `commit`: the checkout whose lock file was promoted. */
const promotion = z.strictObject({ cloud: z.enum(CLOUDS), commit, at: z.iso.datetime(), entries: z.array(entry).min(1) }).superRefine(({ cloud, entries }, context) => {
  if (new Set(entries.map(({ role, generation }) => `${role} ${generation}`)).size !== entries.length) context.addIssue({ code: 'custom', path: ['entries'], message: 'one entry per role and generation' });
  for (const [i, { role, PCR0, eif }] of entries.entries()) {
    const enclave = cloud === 'aws' && role !== 'gateway';
    if ((PCR0 !== undefined) !== enclave || (eif !== undefined) !== enclave) context.addIssue({ code: 'custom', path: ['entries', i], message: 'PCR0 and eif for brokers and counters on AWS, and only there' });
  }
});
export type PromotedEntry = z.infer<typeof entry>;
export type Promotion = z.infer<typeof promotion>;

export const promotionsSchema = z.strictObject({
  version: z.literal(1),
  environments: z.strictObject({ dev: z.array(promotion), staging: z.array(promotion), prod: z.array(promotion) }),
}).superRefine(({ environments }, context) => {
  for (const name of ENVIRONMENT_NAMES) {
    const before = environmentBefore(name);
    for (const [i, record] of environments[name].entries()) {
      const path = ['environments', name, i];
      const previous = environments[name][i - 1];
      if (previous !== undefined && Date.parse(previous.at) > Date.parse(record.at)) context.addIssue({ code: 'custom', path: [...path, 'at'], message: 'not before the record above it' });
      if (before !== undefined && !environments[before].some((earlier) => sameEntries(earlier, record) && Date.parse(earlier.at) <= Date.parse(record.at))) context.addIssue({ code: 'custom', path, message: `entries that ${before} recorded before` });
    }
  }
});
export type Promotions = z.infer<typeof promotionsSchema>;

/** The environment that an image has to come through first. */
export const environmentBefore = (name: EnvironmentName): EnvironmentName | undefined => ENVIRONMENT_NAMES[ENVIRONMENT_NAMES.indexOf(name) - 1];

export const sameEntries = (a: Pick<Promotion, 'cloud' | 'entries'>, b: Pick<Promotion, 'cloud' | 'entries'>): boolean => a.cloud === b.cloud && isDeepStrictEqual(a.entries, b.entries);

/** What was promoted last. */
export const latest = (promotions: Promotions, environment: EnvironmentName, cloud: Cloud): Promotion | undefined => promotions.environments[environment].findLast((record) => record.cloud === cloud);

/** Without `eif`, which no lock file holds: the enclave file's digest is taken when dev admits it. @throws ConfigurationError at a placeholder */
export function lockedEntries(lock: MeasurementLock, cloud: Cloud): PromotedEntry[] {
  return WORKLOAD_ROLES.flatMap((role) => GENERATIONS.flatMap((generation) => {
    const locked = lock.roles[role][generation];
    if (locked === undefined) return [];
    const { provenance, image } = locked;
    if (provenance.source !== 'built') throw new ConfigurationError(`roles.${role}.${generation}.provenance`, `placeholder ${provenance.label}`, 'an image that was built');
    return [{ role, generation, built: provenance.commit, image, ...(cloud === 'aws' && role !== 'gateway' ? { PCR0: (locked as TeeEntry).nitro.PCR0 } : {}) }];
  }));
}

/**
 * Images of the lock file that did not come into an environment by the record of its latest promotion, as `role generation`: none where no environment is
 * before it, for that is where images begin. Placeholders are never promoted.
 */
export function unpromoted(lock: MeasurementLock, promotions: Promotions, environment: EnvironmentName, cloud: Cloud): string[] {
  if (environmentBefore(environment) === undefined) return [];
  const admitted = latest(promotions, environment, cloud)?.entries ?? [];
  return WORKLOAD_ROLES.flatMap((role) => GENERATIONS.flatMap((generation) => {
    const locked = lock.roles[role][generation];
    if (locked === undefined) return [];
    const { provenance, image } = locked;
    const enclave = cloud === 'aws' && role !== 'gateway' ? (locked as TeeEntry).nitro.PCR0 : undefined;
    const found = admitted.some((one) => one.role === role && one.generation === generation && one.image === image && one.PCR0 === enclave && provenance.source === 'built' && one.built === provenance.commit);
    return found ? [] : [`${role} ${generation}`];
  }));
}

/** @throws ConfigurationError naming the first field that does not hold */
export function parsePromotions(text: string): Promotions {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConfigurationError('promotions.json', 'no JSON', 'the file that ccc promote writes');
  }
  const parsed = promotionsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new ConfigurationError(`promotions.json ${issue?.path.join('.') ?? ''}`, 'something else', issue?.message ?? 'records of promotions');
}

export const readPromotions = (file: URL | string = PROMOTIONS_FILE): Promotions => parsePromotions(readFileSync(file, 'utf8'));

/**
 * What the deployment's owner signs: policy and cell directory, each a compact JWS (EdDSA) over canonical
 * UTF-8 JSON. Brokers, gateways and clients obey only these; databases and files hold copies.
 */
import { z } from 'zod';
import { ROLES, PLATFORMS } from '../../attestation/evidence.ts';
import { gceTrustSchema } from '../../attestation/hardware/gce/trust-schema.ts';
import { appraisalPolicySchema } from '../../attestation/policy.ts';
import { ROOT_PURPOSES } from '../../attestation/trust/purposes.ts';
import { CLASSIFICATIONS } from './context.ts';
import { b64uText, cellName, epochSeconds, hexText, tenantId, zoneName } from './wire.ts';

export const POLICY_TYPE = 'ccc-policy+jws';
export const DIRECTORY_TYPE = 'ccc-directory+jws';

const dated = { revision: z.number().int().min(1), notAfter: epochSeconds };

export const tenantRuleSchema = z.strictObject({
  /** A tenant's id, or `*` for every tenant without a rule of its own. */
  tenant: z.union([tenantId, z.literal('*')]),
  zones: z.array(zoneName).min(1),
  classifications: z.array(z.enum(CLASSIFICATIONS)).min(1),
  /** The widest scope of evidence that may see this tenant's data. */
  scopes: z.array(z.enum(['enclave', 'vm', 'node', 'container'])).min(1),
  /** Fields of the result that may leave the TEE. */
  egress: z.array(z.enum(['count', 'boxes', 'scores', 'image'])).min(1),
});

/** A detector that does not look at pictures (workloads/detectors/fixture.ts). */
export const FIXTURE_NAME = 'fixture';

export const policySchema = z.strictObject({
  ...dated,
  deployment: z.string().min(1).max(64),
  /** One appraisal policy per role, measurements included. */
  roles: z.strictObject({ broker: appraisalPolicySchema, counter: appraisalPolicySchema })
    .refine((roles) => ROLES.every((role) => roles[role].role === role), 'each role\'s policy names that role: what a broker may never have hangs on it'),
  /** Development roots that this owner's policy trusts by fingerprint; empty in production. */
  developmentRoots: z.array(z.strictObject({
    platform: z.enum(PLATFORMS), /** May be left out for aws-nitro, which has one purpose only. */ purpose: z.enum(ROOT_PURPOSES).optional(),
    name: z.string().max(64), certSha256: hexText(32), spkiSha256: hexText(32),
  }).refine((root) => root.purpose !== undefined || root.platform === 'aws-nitro', { path: ['purpose'], message: 'say what this root is good for' })),
  /** What is demanded of Google's machines beyond signatures. */
  gce: gceTrustSchema.optional(),
  revoked: z.array(z.strictObject({ issuer: z.string().max(512), serial: z.string().regex(/^[0-9a-f]{1,64}$/) })),
  zones: z.array(z.strictObject({ name: zoneName, regions: z.array(z.string().min(1).max(64)).min(1), origin: z.enum(['proven', 'asserted']) })).min(1),
  tenants: z.array(tenantRuleSchema).min(1),
  detectors: z.array(z.strictObject({ name: z.string().max(64), digest: hexText(32), threshold: z.number().gt(0).lt(1) })).min(1),
  /** The cell directory that goes with it, or a later one: by that epochs are judged. Never left out, since whoever then withholds the directory would decide who may work. */
  directoryRevision: z.number().int().min(1),
}).refine(({ detectors, developmentRoots }) => developmentRoots.length > 0 || detectors.every(({ name }) => name !== FIXTURE_NAME), { path: ['detectors'], message: 'a fixture counts nothing: only a policy with development roots may list it' });
export type OwnerPolicy = z.infer<typeof policySchema>;

const cellEntrySchema = z.strictObject({
  name: cellName,
  cloud: z.enum(['aws', 'azure', 'gcp', 'local']),
  region: z.string().min(1).max(64),
  url: z.url({ protocol: /^https?$/ }),
  configDigest: hexText(32),
  /** Counts where no observers are listed. */
  epoch: z.number().int().min(1),
  /** What its gateway proves its requests to observers and to other cells with, raw Ed25519. */
  key: b64uText(32).optional(),
  /** Its observer, and the raw Ed25519 key of the promises. */
  observer: z.strictObject({ url: z.url({ protocol: /^https?$/ }), key: b64uText(32) }).optional(),
});

/** `sync`: a job is acknowledged once the standby has it; `async`: with a bounded lag. */
export const TIERS = ['sync', 'async'] as const;
/** Which cells may hold a tenant's epoch, first choice first. `*`: every tenant without an entry of its own. */
export const tenantOrderSchema = z.strictObject({ tenant: z.union([tenantId, z.literal('*')]), order: z.array(cellName).min(1).max(16), tier: z.enum(TIERS) });

const distinct = (values: readonly string[]): boolean => new Set(values).size === values.length;

export const directorySchema = z.strictObject({
  ...dated,
  deployment: z.string().min(1).max(64),
  cells: z.array(cellEntrySchema).min(1),
  tenants: z.array(tenantOrderSchema).optional(),
  /** How far apart any two clocks of the deployment may be. */
  clockBoundSeconds: z.number().min(0.01).max(60).optional(),
  /** How long an observer's promise lasts. */
  leaseSeconds: z.number().min(1).max(3_600).optional(),
}).superRefine(({ cells, tenants, clockBoundSeconds, leaseSeconds }, ctx) => {
  const need = (holds: boolean, path: string, message: string): void => { if (!holds) ctx.addIssue({ code: 'custom', path: [path], message }); };
  const observers = cells.flatMap(({ observer }) => (observer === undefined ? [] : [observer.key]));
  const ordered = (tenants ?? []).flatMap(({ order }) => order);
  need((tenants ?? []).every(({ order }) => distinct(order)) && ordered.every((name) => cells.some((cell) => cell.name === name)), 'tenants', 'an order names cells of this directory, each once');
  need(distinct((tenants ?? []).map(({ tenant }) => tenant)), 'tenants', 'one entry per tenant');
  if (observers.length === 0) return;
  need(distinct(cells.map(({ name }) => name)), 'cells', 'one entry per cell');
  need(observers.length >= 3 && distinct(observers), 'cells', 'three observers or more, each with a key of its own: with fewer, the loss of one stops everything');
  need(tenants !== undefined && cells.every(({ name, key }) => key !== undefined || !ordered.includes(name)), 'cells', 'with observers, tenants have an order, and its cells have a key');
  need(clockBoundSeconds !== undefined && leaseSeconds !== undefined && leaseSeconds >= 4 * clockBoundSeconds, 'leaseSeconds', 'with observers, a lease lasts at least four times the clock bound');
});
export type CellDirectory = z.infer<typeof directorySchema>;
export { ROLES };

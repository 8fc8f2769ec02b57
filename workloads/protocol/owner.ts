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
import { cellName, epochSeconds, hexText, tenantId, zoneName } from './wire.ts';

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
});
export type OwnerPolicy = z.infer<typeof policySchema>;

export const directorySchema = z.strictObject({
  ...dated,
  deployment: z.string().min(1).max(64),
  cells: z.array(z.strictObject({
    name: cellName,
    cloud: z.enum(['aws', 'azure', 'gcp', 'local']),
    region: z.string().min(1).max(64),
    url: z.url({ protocol: /^https?$/ }),
    configDigest: hexText(32),
    epoch: z.number().int().min(1),
  })).min(1),
});
export type CellDirectory = z.infer<typeof directorySchema>;
export { ROLES };

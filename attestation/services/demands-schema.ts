/** Demands on attestation services (demands.ts) as a policy states them. */
import { z } from 'zod';
import { CONFIDENTIAL_SPACE_FLOOR, type ServiceDemands } from './demands.ts';

export const confidentialSpaceSchema = z.strictObject({ minVersion: z.number().int().min(CONFIDENTIAL_SPACE_FLOOR).max(999_999) }) satisfies z.ZodType<ServiceDemands['confidentialSpace']>;

export const azureAttestationSchema = z.strictObject({
  issuer: z.url({ protocol: /^https$/ }).max(256),
  policyHashes: z.array(z.string().regex(/^[A-Za-z0-9_-]{43}$/, 'SHA-256 in base64url')).min(1).max(16),
}) satisfies z.ZodType<ServiceDemands['azureAttestation']>;

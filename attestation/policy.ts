/**
 * Appraisal policy: a closed, typed document. A misspelled field is refused, every dangerous field must be stated, an
 * empty reference set is refused (CVE-2025-64186 was a verifier that took "nothing configured" for "nothing to check").
 */
import { z } from 'zod';
import { PLATFORMS, ROLES } from './evidence.ts';

const register = z.string().regex(/^[0-9a-f]{96}$/, 'SHA-384 in lower-case hex').refine((v) => !/^0+$/.test(v), 'not all zero');

/** One generation of one role's image: every listed register must match. */
export const referenceSchema = z.strictObject({
  id: z.string().min(1).max(128),
  platform: z.enum(PLATFORMS),
  registers: z.strictObject({ PCR0: register, PCR1: register, PCR2: register, PCR3: register.optional(), PCR4: register.optional(), PCR8: register.optional() }),
});
export type Reference = z.infer<typeof referenceSchema>;

export const appraisalPolicySchema = z.strictObject({
  id: z.string().min(1).max(128),
  role: z.enum(ROLES),
  references: z.array(referenceSchema).min(1).max(64),
  /** Oldest acceptable evidence, seconds. */
  maxAgeSeconds: z.number().int().min(1).max(3600),
  /** `true` lets evidence under a development root reach `warning`; it never reaches `affirming`. */
  allowDevelopment: z.boolean(),
  /** Scopes of binding that may hold this role. Never `node` for a broker. */
  scopes: z.array(z.enum(['enclave', 'vm', 'node', 'container'])).min(1),
}).refine((p) => p.role !== 'broker' || !p.scopes.includes('node'), { path: ['scopes'], message: 'evidence of scope "node" never gets the role broker' });
export type AppraisalPolicy = z.infer<typeof appraisalPolicySchema>;

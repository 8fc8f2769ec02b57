/**
 * Appraisal policy: a closed, typed document. A misspelled field is refused, every dangerous field must be stated, an
 * empty reference set is refused (CVE-2025-64186 was a verifier that took "nothing configured" for "nothing to check").
 *
 * References name the registers of their platform; all that a reference lists must match:
 *
 *   aws-nitro   PCR0, PCR1, PCR2 (image, kernel, application); PCR3, PCR4, PCR8
 *   azure-cvm   vTPM PCRs 4, 7, 8, 9, 11, 12, 13: boot loader or unified kernel image, Secure Boot, kernel, initrd and command line, by whatever boots
 *               them (those that this image leaves alone are zero and stay so); other vTPM PCRs; LAUNCH or MRTD, idKeyDigest: the paravisor
 *   confidential-space   IMAGE: the container image's digest, as Google states it
 *   gke         LAUNCH (SEV-SNP); MRTD, RTMR1, RTMR2 (TDX), RTMR0, RTMR3; or the vTPM's PCRs (SEV)
 */
import { z } from 'zod';
import { ROLES } from './evidence.ts';
import { exceptionSchema } from './exception-schema.ts';
import { oneQuote, vtpm, VTPM_REQUIRED } from './policy-registers.ts';
import { azureAttestationSchema, confidentialSpaceSchema } from './services/demands-schema.ts';
import { snpRulesSchema } from './snp-rules.ts';

export { isComplete, referenceRegisters } from './policy-registers.ts';
export { requiredRegisters } from './reference-index.ts';

const notZero = (value: string): boolean => !/^0+$/.test(value);
const sha384 = z.string().regex(/^[0-9a-f]{96}$/, 'SHA-384 in lower-case hex').refine(notZero, 'not all zero');
/** A PCR that nothing extends is zero, which must stay so: zeros are a reference value. */
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'SHA-256 in lower-case hex');
const extended = sha256.refine(notZero, 'not all zero');

const VTPM_OPTIONAL = [0, 1, 2, 3, 5, 6, 10, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23] as const;
const requiredShape = Object.fromEntries(VTPM_REQUIRED.map((i) => [vtpm(i), i === 4 || i === 7 ? extended : sha256])) as Record<`vTPM:PCR${(typeof VTPM_REQUIRED)[number]}`, typeof sha256>;
const optionalShape = Object.fromEntries(VTPM_OPTIONAL.map((i) => [vtpm(i), sha256.optional()])) as Record<`vTPM:PCR${(typeof VTPM_OPTIONAL)[number]}`, z.ZodOptional<typeof sha256>>;
const vtpmShape = { ...requiredShape, ...optionalShape };

const id = z.string().min(1).max(128);
const nitroReference = z.strictObject({
  id, platform: z.literal('aws-nitro'),
  registers: z.strictObject({ PCR0: sha384, PCR1: sha384, PCR2: sha384, PCR3: sha384.optional(), PCR4: sha384.optional(), PCR8: sha384.optional() }),
});
const azureReference = z.strictObject({
  id, platform: z.literal('azure-cvm'),
  registers: z.strictObject({ ...vtpmShape, LAUNCH: sha384.optional(), MRTD: sha384.optional() }),
  /** Digest of the key that signed the paravisor's id block (SEV-SNP): what stays the same when Microsoft updates it. */
  idKeyDigest: sha384.optional(),
});
const gkeReference = z.strictObject({
  id, platform: z.literal('gke'),
  registers: z.union([
    z.strictObject({ LAUNCH: sha384 }),
    z.strictObject({ MRTD: sha384, RTMR0: sha384.optional(), RTMR1: sha384, RTMR2: sha384, RTMR3: sha384.optional() }),
    z.strictObject(vtpmShape),
  ]),
});

const confidentialSpaceReference = z.strictObject({ id, platform: z.literal('confidential-space'), registers: z.strictObject({ IMAGE: extended }) });

/** One generation of one role's image: every listed register must match. */
export const referenceSchema = z.discriminatedUnion('platform', [nitroReference, azureReference, gkeReference, confidentialSpaceReference]);
export type Reference = z.infer<typeof referenceSchema>;

export const appraisalPolicySchema = z.strictObject({
  id: z.string().min(1).max(128),
  role: z.enum(ROLES),
  references: z.array(referenceSchema).min(1).max(100_000),
  /** Oldest acceptable evidence, seconds. */
  maxAgeSeconds: z.number().int().min(1).max(3600),
  /** `true` lets evidence under a development root reach `warning`; it never reaches `affirming`. */
  allowDevelopment: z.boolean(),
  /** Scopes of binding that may hold this role. Never `node` for a broker. */
  scopes: z.array(z.enum(['enclave', 'vm', 'node', 'container'])).min(1),
  /** SEV-SNP: floors, denied generations and chips, the guest's own policy. Absent: those of DEFAULT_SNP. */
  snp: snpRulesSchema.optional(),
  /** Confidential Space: which of Google's images count. Absent: from 250000 on. */
  confidentialSpace: confidentialSpaceSchema.optional(),
  /** Azure: the instance of Azure Attestation whose tokens may stand beside a machine's evidence. Absent: evidence with a token is refused. */
  azureAttestation: azureAttestationSchema.optional(),
  /** What is accepted of old firmware for a while: exceptions.ts. */
  exceptions: z.array(exceptionSchema).max(32).refine((list) => new Set(list.map((e) => e.id)).size === list.length, 'each id once').optional(),
}).refine((p) => p.role !== 'broker' || !p.scopes.includes('node'), { path: ['scopes'], message: 'evidence of scope "node" never gets the role broker' })
  .refine((p) => oneQuote(p.references), { path: ['references'], message: 'references of one platform name the same vTPM PCRs: a quote has one selection' });
export type AppraisalPolicy = z.infer<typeof appraisalPolicySchema>;

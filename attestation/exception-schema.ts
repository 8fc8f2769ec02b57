/** An exception as a policy states it: exceptions.ts says what one does. */
import { z } from 'zod';

export const EXCEPTED_RULES = ['tcb', 'snp-tcb-reported', 'snp-tcb-launch', 'snp-firmware', 'snp-firmware-committed', 'snp-mitigations', 'snp-alias-check'] as const;

export const exceptionSchema = z.strictObject({
  id: z.string().min(1).max(128),
  rule: z.enum(EXCEPTED_RULES),
  platform: z.enum(['azure-cvm', 'gke']),
  /** Intel: only platforms of this kind (their firmware is one vendor's). */
  fmspc: z.string().regex(/^[0-9a-f]{12}$/, 'six bytes in lower-case hex').optional(),
  /** Epoch seconds; not from here on. */
  until: z.number().int().min(1).max(8_640_000_000),
  reason: z.string().min(1).max(512),
});
export type PolicyException = z.infer<typeof exceptionSchema>;

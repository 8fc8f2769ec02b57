/** Demands on Google's machines (trust.ts) as an owner's policy states them. */
import { z } from 'zod';
import type { GceTrust } from './trust.ts';

/** 64-bit numbers of Google's, in decimal: JSON numbers would lose digits of them. One spelling each, since they are compared as text. */
const decimal = z.string().regex(/^(?:0|[1-9][0-9]{0,19})$/, 'a number in decimal');

/** A list that is stated and empty allows no project. */
export const gceTrustSchema = z.strictObject({
  projects: z.array(decimal).max(1024).optional(),
  deniedInstances: z.array(decimal).max(65_536).optional(),
  owner: z.enum(['requireMatch', 'allowZero', 'ignore']).optional(),
  host: z.enum(['require', 'ifAvailable']).optional(),
  endorsement: z.strictObject({ svn: z.number().int().min(0).max(0xffff_ffff), timestamp: z.number().int().min(0).max(8_640_000_000) }).optional(),
}) satisfies z.ZodType<GceTrust>;

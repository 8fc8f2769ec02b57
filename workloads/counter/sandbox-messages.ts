/**
 * What the sandbox's two processes say to each other. Down standard input: [u32 length, the picture's bytes], one at a time. Up file
 * descriptor 3: one line of JSON per message, of bounded length. Neither side ever deserializes objects that the other one made.
 */
import { z } from 'zod';
import { REJECTION_CODES } from './rejected.ts';
import { resultSchema } from './workload.ts';

export const HEADER_LENGTH = 4;
export const MAX_PICTURE = 64 * 2 ** 20;
/** Characters of one line. */
export const MAX_LINE = 2 ** 18;
export const UP_FD = 3;

const code = z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/);
export const messageSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready'), model: resultSchema.shape.model }),
  z.strictObject({ kind: z.literal('unready'), code }),
  z.strictObject({ kind: z.literal('result'), result: resultSchema }),
  z.strictObject({ kind: z.literal('rejected'), code: z.enum(REJECTION_CODES) }),
  z.strictObject({ kind: z.literal('failed'), code }),
]);
export type Message = z.infer<typeof messageSchema>;

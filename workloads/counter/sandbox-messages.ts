/**
 * What the sandbox's two processes say to each other. Down standard input: [u32 length, u32 number, the picture's bytes]. Up file
 * descriptor 3: one line of JSON per message, of bounded length; answers carry the picture's number and come in the pictures' order.
 * Neither side ever deserializes objects that the other one made.
 */
import { z } from 'zod';
import { REJECTION_CODES } from './rejected.ts';
import { resultSchema } from './workload.ts';

export const HEADER_LENGTH = 8;
export const MAX_PICTURE = 64 * 2 ** 20;
/** Characters of one line. */
export const MAX_LINE = 2 ** 18;
export const UP_FD = 3;

/** Pictures in a child at once, whatever the workload offers. */
export const MAX_AT_ONCE = 4;

const number = z.number().int().min(0).max(2 ** 32 - 1);
const code = z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/);
export const messageSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready'), model: resultSchema.shape.model, at_once: z.number().int().min(1).max(MAX_AT_ONCE) }),
  z.strictObject({ kind: z.literal('unready'), code }),
  z.strictObject({ kind: z.literal('result'), number, result: resultSchema }),
  z.strictObject({ kind: z.literal('rejected'), number, code: z.enum(REJECTION_CODES) }),
  z.strictObject({ kind: z.literal('failed'), number, code }),
]);
export type Message = z.infer<typeof messageSchema>;

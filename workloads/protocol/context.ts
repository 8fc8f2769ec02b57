/** The encryption context of a message: all of these, nothing else (the AWS Encryption SDK authenticates it as AAD). */
import { z } from 'zod';
import { type Bytes, bytes, concat, utf8 } from '../../attestation/bytes.ts';
import { RECEIVING_KEY_LENGTH } from '../../attestation/binding.ts';
import { b64uText, jobId, tenantId, zoneName } from './wire.ts';

export const PURPOSE = 'count-cats';
export const CLASSIFICATIONS = ['public', 'internal', 'confidential', 'restricted'] as const;

export const contextSchema = z.strictObject({
  tenant_id: tenantId,
  job_id: jobId,
  purpose: z.literal(PURPOSE),
  data_classification: z.enum(CLASSIFICATIONS),
  compliance_zone: zoneName,
  /** The client's raw X-Wing public key: results are sealed to it. */
  result_key: b64uText(RECEIVING_KEY_LENGTH),
});
export type EncryptionContext = z.infer<typeof contextSchema>;

/** Keys sorted, each key and value prefixed by its length (u16): AAD of every wrap of the data key. */
export function contextAad(context: Readonly<Record<string, string>>): Bytes {
  const u16 = (n: number) => bytes([n >> 8, n & 0xff]);
  const parts = Object.keys(context).sort().flatMap((key) => {
    const [k, v] = [utf8(key), utf8(context[key] as string)];
    return [u16(k.length), k, u16(v.length), v];
  });
  return concat(...parts);
}

/** What a client keeps of a job until it has the result: the port, and one in memory. */
import { z } from 'zod';
import { manifestRequestSchema, manifestResponseSchema } from '../protocol/messages.ts';
import { b64uText, hexText, jobId, tenantId, zoneName } from '../protocol/wire.ts';
import type { Receipt } from './receipt.ts';

export const storedJobSchema = z.strictObject({
  v: z.literal('ccc-client-job/v1'),
  job_id: jobId,
  sent: z.strictObject({ tenant_id: tenantId, job_id: jobId, message_id: b64uText(32), commitment: b64uText(32), body_digest: hexText(32) }),
  message_digest: hexText(32),
  /** X-Wing seed that the result is sealed to: secret, gone once the result was read. */
  private_key: b64uText(32),
  zone: zoneName,
  manifest: z.strictObject({ request: manifestRequestSchema, response: manifestResponseSchema }),
  /** Epoch milliseconds. */
  created_at: z.number(),
});
export type StoredJob = z.infer<typeof storedJobSchema>;

export interface JobStore {
  /** Durable before it returns. `message` is ciphertext. */
  put(job: StoredJob, message: Uint8Array): Promise<void>;
  get(jobId: string): Promise<{ job: unknown; message?: Uint8Array } | undefined>;
  /** Jobs without a verified result. */
  pending(): Promise<string[]>;
  /** Forgets key and message, keeps the receipt. */
  done(jobId: string, receipt: Receipt): Promise<void>;
}

export function memoryJobs(): JobStore {
  const jobs = new Map<string, { job: StoredJob; message: Uint8Array }>();
  return {
    put: async (job, message) => void jobs.set(job.job_id, { job, message }),
    get: async (id) => jobs.get(id),
    pending: async () => [...jobs.keys()],
    done: async (id) => void jobs.delete(id),
  };
}

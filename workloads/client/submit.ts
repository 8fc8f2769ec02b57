/** From a message to a final job: send it (again and again, if need be), follow its events, fall back to polling. */
import type { Job, JobEvent } from '../protocol/messages.ts';
import { type Api, ApiError, FINAL } from './api.ts';

const POLL_FIRST = 500;
const POLL_LONGEST = 10_000;
/** Events that may break off in a row before polling takes over. */
const MAX_BREAKS = 3;

export interface Follow {
  readonly onEvent?: ((event: JobEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const isFinal = (job: Job): boolean => FINAL.includes(job.state);

/** The job, once it is completed, rejected or failed. Events only say when to look: what counts is the job itself. */
export async function waitForJob(api: Api, jobId: string, { onEvent, signal }: Follow = {}): Promise<Job> {
  let after = 0;
  for (let breaks = 0; breaks < MAX_BREAKS;) {
    const before = after;
    try {
      for await (const event of api.events(jobId, after, signal)) {
        after = event.n;
        onEvent?.(event);
        if ((FINAL as readonly string[]).includes(event.event)) break;
      }
    } catch (error) {
      signal?.throwIfAborted();
      // A stream breaks off in many ways; a refusal of the gateway is final.
      if (error instanceof ApiError && !error.passing) break;
    }
    const job = await api.job(jobId, signal);
    if (isFinal(job)) return job;
    breaks = after > before ? 0 : breaks + 1;
    await api.sleep(POLL_FIRST, signal);
  }
  for (let wait = POLL_FIRST; ; wait = Math.min(wait * 1.5, POLL_LONGEST)) {
    const job = await api.job(jobId, signal);
    if (isFinal(job)) return job;
    await api.sleep(wait, signal);
  }
}

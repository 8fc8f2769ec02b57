/**
 * From a picture to a verified count. What a resume needs (the private half of `result_key`, what identifies the message, the ciphertext) is stored
 * before anything is sent, so that a client may be stopped at any moment and ask for its result later.
 */
import { type Bytes, b64u, fromB64u, utf8 } from '../../attestation/bytes.ts';
import { claimsDigest } from '../../attestation/claims-digest.ts';
import { Refusal, refuse } from '../../attestation/refusal.ts';
import type { EncryptionContext } from '../protocol/context.ts';
import { generateReceivingKey } from '../protocol/hpke.ts';
import { parseMessage } from '../protocol/message.ts';
import type { CountResult, Job, JobEvent, TenantKey } from '../protocol/messages.ts';
import type { Api } from './api.ts';
import { ApiError } from './api.ts';
import { digestHex, encryptionKey, type Expected, requestManifest, requireAllowed, type VerifiedManifest, verifyManifest } from './manifest.ts';
import { stripPicture } from './picture.ts';
import { makeReceipt, type Receipt } from './receipt.ts';
import { openResult, type ResultCheck, type ResultEvidence, sentOf, verifyResult } from './result.ts';
import type { SeenStore } from './seen.ts';
import { type OnStep, step, type StepName } from './steps.ts';
import { type StoredJob, type JobStore, storedJobSchema } from './store.ts';
import { type Follow, waitForJob } from './submit.ts';

/** esdk-node.ts or esdk-browser.ts. */
export interface Esdk { encryptMessage(plaintext: Uint8Array, context: EncryptionContext, tenantKey: TenantKey): Promise<Bytes> }

export interface ClientOptions extends Expected {
  readonly api: Api;
  readonly seen: SeenStore;
  readonly jobs: JobStore;
  /** This client's origin: the audience of the broker's evidence. */
  readonly audience: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly onStep?: OnStep | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of each manifest that was verified: what a client keeps of it, it knows when its first cell is gone. */
  readonly onManifest?: ((manifest: VerifiedManifest) => Promise<void>) | undefined;
}
export interface CountOptions extends ClientOptions {
  readonly esdk: Esdk;
  readonly classification: EncryptionContext['data_classification'];
  readonly bytes: Uint8Array;
  /** One that was verified a moment ago, for several pictures in a row; its age is checked. */
  readonly manifest?: VerifiedManifest | undefined;
}

export interface Counted {
  readonly jobId: string;
  readonly outcome: 'completed' | 'rejected' | 'failed';
  readonly code?: string;
  /** The whole result; `counted` and `boxes` are its fields. Only a completed job has any. */
  readonly result?: CountResult;
  readonly counted?: number;
  readonly boxes?: CountResult['boxes'];
  readonly platform: string;
  readonly simulated: boolean;
  readonly claimsDigest: string;
  readonly checks: readonly ResultCheck[];
  readonly receipt: Receipt;
}

/** A manifest answers a nonce: after this it is asked for anew, seconds. */
const MANIFEST_LASTS = 300;
const seconds = (now: () => number): number => Math.floor(now() / 1000);

/** @throws Refusal, ApiError */
export async function countPicture(options: CountOptions): Promise<Counted> {
  const { api, onStep, signal, tenant, zone, classification, esdk } = options;
  const picture = await step(onStep, 'picture', 'metadata out of the picture', async () => stripPicture(options.bytes), (p) => ({
    detail: p.removed.length === 0 ? `${p.format}, no metadata` : `${p.format}, removed ${[...new Set(p.removed)].join(', ')}`,
  }));
  const manifest = await freshManifest(options);
  requireAllowed(manifest, tenant, zone, classification);
  const key = encryptionKey(manifest, seconds(options.now));

  const jobId = crypto.randomUUID();
  const { stored, message } = await step(onStep, 'encrypted', `to ${key.id}, here`, async () => {
    const result = await generateReceivingKey();
    const context: EncryptionContext = {
      tenant_id: tenant, job_id: jobId, purpose: 'count-cats', data_classification: classification, compliance_zone: zone, result_key: b64u(result.publicKey),
    };
    const encrypted = await esdk.encryptMessage(picture.bytes, context, key);
    const parsed = parseMessage(encrypted);
    const job: StoredJob = {
      v: 'ccc-client-job/v1', job_id: jobId, sent: sentOf(parsed, await digestHex(parsed.body)), message_digest: await digestHex(encrypted),
      private_key: b64u(result.privateKey), zone, manifest: { request: { ...manifest.request }, response: manifest.response }, created_at: options.now(),
    };
    await options.jobs.put(job, encrypted);
    return { stored: job, message: encrypted, context };
  }, (e) => ({ detail: `${e.message.length} bytes, AWS Encryption SDK message, suite 0x0478`, raw: { context: e.context, sent: e.stored.sent, message_digest: e.stored.message_digest, message: e.message } }));

  await step(onStep, 'accepted', 'the gateway takes the ciphertext', async () => submitted(await api.submit(message, signal), stored), (job) => ({ detail: job.job_id, raw: job }));
  return finish(options, stored, manifest);
}

/**
 * Takes up a job where it was left: sends the message again if the gateway has not got it (same bytes, same job), waits, verifies.
 * @throws Refusal, ApiError, RESULT_ABSENT for a job that this client knows nothing of
 */
export async function resumeJob(options: ClientOptions & { jobId: string }): Promise<Counted> {
  const { api, jobs, onStep, signal, jobId } = options;
  const found = await jobs.get(jobId);
  if (found === undefined) return refuse('RESULT_ABSENT', 'jobs', 'This client has not the key that the result is sealed to; count the picture again.', { have: jobId });
  const stored = storedJobSchema.parse(found.job);
  const manifest = await verifyManifest({ ...options, zone: stored.zone, ...stored.manifest, now: seconds(options.now), mode: 'replay', seen: undefined });
  const known = await api.job(jobId, signal).catch((error: unknown) => {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  });
  if (known === undefined) {
    const { message } = found;
    if (message === undefined) return refuse('RESULT_ABSENT', 'jobs', 'Neither gateway nor this client has the message any more; count the picture again.', { have: jobId });
    await step(onStep, 'accepted', 'the gateway takes the ciphertext', async () => submitted(await api.submit(message, signal), stored), (job) => ({ detail: job.job_id, raw: job }));
  }
  return finish(options, stored, manifest);
}

async function freshManifest(options: CountOptions): Promise<VerifiedManifest> {
  const { manifest } = options;
  const now = seconds(options.now);
  if (manifest !== undefined && now - manifest.appraisal.claims.time.evidenceAt <= MANIFEST_LASTS) return manifest;
  const fresh = await requestManifest({ ...options, now });
  await options.onManifest?.(fresh);
  return fresh;
}

function submitted(job: Job, stored: StoredJob): Job {
  if (job.job_id !== stored.job_id || job.message_digest !== stored.message_digest) {
    refuse('RESULT_MESSAGE', 'job.message_digest', 'The gateway says that it took another message.', { have: job.message_digest, need: stored.message_digest });
  }
  return job;
}

/** How often a job may be lost by the cell that took it: each time it moves to one that had no copy yet. */
const MAX_LOST = 16;

/** A cell that took over may not have the job: it was acknowledged before its copy arrived (tier `async`). Then the same message is sent again, under the same id. */
async function waitAgain({ api, jobs, signal }: ClientOptions, stored: StoredJob, follow: Follow): Promise<Job> {
  for (let lost = 0; ; lost++) {
    try {
      return await waitForJob(api, stored.job_id, follow);
    } catch (error) {
      const message = error instanceof ApiError && error.status === 404 && lost < MAX_LOST ? (await jobs.get(stored.job_id))?.message : undefined;
      if (message === undefined) throw error;
      submitted(await api.submit(message, signal), stored);
    }
  }
}

const EVENT_STEPS: Partial<Record<JobEvent['event'], StepName>> = { leased: 'leased', released: 'released', counted: 'counted' };

async function finish(options: ClientOptions, stored: StoredJob, first: VerifiedManifest): Promise<Counted> {
  const { onStep, signal, jobs } = options;
  const job = await waitAgain(options, stored, {
    signal,
    onEvent: (event) => {
      const name = EVENT_STEPS[event.event];
      if (name !== undefined) onStep?.({ step: name, status: 'pass', detail: event.detail ?? event.event, raw: event });
      // Refused for now, not for good: whoever waits is told why.
      if (event.event === 'requeued') onStep?.({ step: 'leased', status: 'running', detail: `back in the queue: ${event.detail ?? 'no reason given'}`, raw: event });
    },
  });
  const { sent } = stored;
  const done = await step(onStep, 'verified', 'opened here, compared with what was sent', async () => {
    const { result: sealed, counter } = job;
    if (sealed === undefined || counter === undefined) {
      return refuse('RESULT_ABSENT', 'job.result', 'The gateway says so and no counter vouches for it; count the picture again.', { have: `${job.state}, ${job.code ?? 'no code'}` });
    }
    const result = await openResult(sealed, fromB64u(stored.private_key), sent.tenant_id, sent.job_id);
    const evidence: ResultEvidence = { result, counter, receipts: job.receipts ?? [] };
    const { manifest, verified } = await verifyUnderItsPolicy(options, evidence, stored, first);
    if (verified.payload.outcome !== job.state) {
      refuse('RESULT_OUTCOME', 'job.state', 'The gateway says another outcome than the counter signed.', { have: job.state, need: verified.payload.outcome });
    }
    return { evidence, manifest, ...verified, claims: await claimsDigest(verified.appraisal.claims) };
  }, (d) => ({ detail: `${d.payload.outcome}, ${d.checks.length} checks`, raw: { payload: d.payload, checks: d.checks, claims: d.appraisal.claims, counter: d.evidence.counter } }));

  const simulated = done.manifest.simulated || done.appraisal.claims.anchor !== 'production';
  const receipt = await step(onStep, 'receipt', 'all of it in one file', () => makeReceipt(options.ownerKey, done.manifest, done.evidence, sent, simulated), (r) => ({ detail: `${utf8(JSON.stringify(r)).length} bytes`, raw: r }));
  await jobs.done(stored.job_id, receipt);
  const { payload } = done;
  return {
    jobId: stored.job_id, outcome: payload.outcome, ...(payload.code === undefined ? {} : { code: payload.code }),
    ...(payload.result === undefined ? {} : { result: payload.result, counted: payload.result.count, boxes: payload.result.boxes }),
    platform: done.appraisal.claims.platform, simulated, claimsDigest: payload.claims_digest, checks: done.checks, receipt,
  };
}

/** The owner may have signed a new policy since the message was sent: then the counter obeyed that one, and the broker vouches for it anew. */
async function verifyUnderItsPolicy(options: ClientOptions, evidence: ResultEvidence, stored: StoredJob, first: VerifiedManifest) {
  const now = seconds(options.now);
  try {
    return { manifest: first, verified: await verifyResult(evidence, stored.sent, first, now, options.collateral) };
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'BINDING_POLICY') throw error;
    const manifest = await requestManifest({ ...options, zone: stored.zone, now });
    if (manifest.policy.policy.revision <= first.policy.policy.revision) throw error;
    return { manifest, verified: await verifyResult(evidence, stored.sent, manifest, now, options.collateral) };
  }
}

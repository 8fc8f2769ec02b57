/** The counter's side of the gateway's internal listener. */
import type { z } from 'zod';
import { type Bundled, bundleLimit, unbundle } from '../protocol/bundle.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { type HttpCall, parseJson, request } from '../protocol/http-client.ts';
import {
  RELEASE_PATH, type Attested, type Lease, type RegisterSession, type Session, type TenantEpoch, challengeSchema, completeResponseSchema, completionSchema,
  directoryResponseSchema, heartbeatResponseSchema, leaseResponseSchema, policyResponseSchema, releaseRequestSchema, releaseResponseSchema, sessionSchema,
} from '../protocol/messages.ts';

export type Challenge = z.infer<typeof challengeSchema>;
export type Completion = z.infer<typeof completionSchema>;
export type Completed = z.infer<typeof completeResponseSchema>['jobs'][number];
export type ReleaseItems = z.infer<typeof releaseRequestSchema>['items'];
export type LeaseKey = Pick<Lease, 'tenant_id' | 'job_id' | 'lease_token'>;

/** Proves the requests that need it. */
export interface Credentials { readonly session: string; readonly key: CryptoKey }

export type CounterGateway = ReturnType<typeof counterGateway>;

const SMALL = 1 << 20;
/** Headers of a message lie before its picture of at most 20 MB. */
export const MAX_MESSAGE = 24 << 20;

export const leaseKey = ({ tenant_id, job_id, lease_token }: LeaseKey): LeaseKey => ({ tenant_id, job_id, lease_token });

/** Every call @throws Unreachable, Answered; Error for an answer that is not of its schema */
export function counterGateway({ origin, now, timeoutMs = 15_000, onEpochs }: { origin: string; now: Clock; timeoutMs?: number; /** What the gateway shows of its epochs, with leases and heartbeats. */ onEpochs?: (epochs: readonly TenantEpoch[]) => void }) {
  const ask = (call: Pick<HttpCall, 'method' | 'path' | 'body' | 'signal'>, who?: Credentials, more: { maxBytes?: number; extraMs?: number } = {}) => request(origin, {
    ...call, now: seconds(now), timeoutMs: timeoutMs + (more.extraMs ?? 0), maxBytes: more.maxBytes ?? SMALL, ...(who === undefined ? {} : { proof: who }),
  });
  const post = (path: string, body: object, who?: Credentials) => ask({ method: 'POST', path: `/internal/v1/${path}`, body }, who);

  return {
    async directory(): Promise<string> {
      return parseJson(directoryResponseSchema, await ask({ method: 'GET', path: '/internal/v1/directory' })).directory;
    },
    async policy(): Promise<string> {
      return parseJson(policyResponseSchema, await ask({ method: 'GET', path: '/internal/v1/policy' })).policy;
    },
    async challenge(platform: Attested['evidence']['platform']): Promise<Challenge> {
      return parseJson(challengeSchema, await post('challenge', { role: 'counter', platform }));
    },
    async attest(attested: Attested): Promise<Session> {
      return parseJson(sessionSchema, await post('attest', attested));
    },
    async register(body: RegisterSession, who: Credentials): Promise<void> {
      await post('sessions', body, who);
    },
    async lease(max: number, waitMs: number, who: Credentials, signal: AbortSignal): Promise<{ jobs: Lease[]; lease_ms: number }> {
      const body = { max, wait_ms: waitMs };
      const answer = parseJson(leaseResponseSchema, await ask({ method: 'POST', path: '/internal/v1/lease', body, signal }, who, { extraMs: waitMs }));
      // What it says is what will be fetched into memory.
      if (answer.jobs.length > max) throw new RangeError(`${answer.jobs.length} leases, asked for ${max}`);
      if (answer.jobs.some(({ size }) => size < 0 || size > MAX_MESSAGE)) throw new RangeError('a lease of a message that none can be');
      onEpochs?.(answer.epochs ?? []);
      return answer;
    },
    /** In the order given; never more than their leases say. */
    async messages(leases: readonly Pick<Lease, keyof LeaseKey | 'size'>[], who: Credentials): Promise<Bundled[]> {
      const maxBytes = bundleLimit(leases.map(({ size }) => size));
      return unbundle(await ask({ method: 'POST', path: '/internal/v1/messages', body: { jobs: leases.map(leaseKey) } }, who, { maxBytes, extraMs: 15_000 }), leases.length);
    },
    async release(items: ReleaseItems, who: Credentials, epochs: readonly TenantEpoch[] = []) {
      return parseJson(releaseResponseSchema, await ask({ method: 'POST', path: RELEASE_PATH, body: { items, ...(epochs.length === 0 ? {} : { epochs }) } }, who, { extraMs: 15_000 }));
    },
    /** Job ids whose lease is lost. */
    async heartbeat(jobs: readonly LeaseKey[], who: Credentials): Promise<string[]> {
      const { lost, epochs } = parseJson(heartbeatResponseSchema, await post('heartbeat', { jobs: jobs.map(leaseKey) }, who));
      onEpochs?.(epochs ?? []);
      return lost;
    },
    async giveBack(jobs: readonly LeaseKey[], code: string, who: Credentials): Promise<void> {
      await post('give-back', { jobs: jobs.map(leaseKey), code }, who);
    },
    /** In the order given. */
    async complete(completions: readonly Completion[], who: Credentials): Promise<Completed[]> {
      const { jobs } = parseJson(completeResponseSchema, await post('complete', { jobs: completions }, who));
      if (jobs.length !== completions.length || jobs.some(({ job_id }, i) => job_id !== completions[i]?.job_id)) throw new RangeError('an answer to other completions');
      return jobs;
    },
  };
}

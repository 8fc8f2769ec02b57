/**
 * From leases to work that is ready to be counted: fetch each message, compare it with what was leased, have the data keys of the whole
 * batch released. Every job that cannot go on says whether it ends (`reject`) or waits for another try (`giveBack`).
 */
import { type Bytes, b64u, hex, sha256 } from '../../attestation/bytes.ts';
import { Refusal, refuse } from '../../attestation/refusal.ts';
import type { Bundled } from '../protocol/bundle.ts';
import { open } from '../protocol/hpke.ts';
import { Answered, Unreachable } from '../protocol/http-client.ts';
import { releaseAad, releaseInfo } from '../protocol/labels.ts';
import { type ParsedMessage, checkDataKey, parseMessage } from '../protocol/message.ts';
import { MAX_MESSAGES, type ReleaseResponse } from '../protocol/messages.ts';
import type { EpochJudge } from '../protocol/epoch-judge.ts';
import type { OwnerPolicy } from '../protocol/owner.ts';
import { type CounterGateway, MAX_MESSAGE } from './gateway-client.ts';
import type { CounterKeys } from './keys.ts';
import type { HeldLease } from './leases.ts';
import type { ActiveSession, SessionKeeper } from './session.ts';

export interface ReadyJob {
  readonly held: HeldLease;
  /** Of this very job and tenant. */
  readonly message: ParsedMessage;
  readonly dataKey: Bytes;
  /** The policy of the session that it was released to. */
  readonly policy: OwnerPolicy;
}
export type Prepared =
  | { readonly held: HeldLease; readonly then: 'count'; readonly job: ReadyJob }
  | { readonly held: HeldLease; readonly then: 'reject' | 'giveBack'; readonly code: string; /** The broker could not be asked. */ readonly brokerDown?: true };

export interface PrepareDeps { readonly gateway: CounterGateway; readonly sessions: SessionKeeper; readonly keys: CounterKeys; /** Shown to the broker, which judges them itself. */ readonly epochs?: Pick<EpochJudge, 'shown'> }

interface Fetched { readonly held: HeldLease; readonly message: ParsedMessage }

/** Stable code of whatever was thrown. */
export const codeOf = (error: unknown): string =>
  (error instanceof Refusal || error instanceof Answered || error instanceof Unreachable ? error.code : 'INTERNAL');

/** What is fetched with one request each: together not more than a message may have alone. */
export function portions(batch: readonly HeldLease[]): HeldLease[][] {
  const out: HeldLease[][] = [];
  let bytes = 0;
  for (const held of batch) {
    const last = out.at(-1);
    const { size } = held.lease;
    if (last === undefined || last.length >= MAX_MESSAGES || bytes + size > MAX_MESSAGE) {
      out.push([held]);
      bytes = size;
    } else {
      last.push(held);
      bytes += size;
    }
  }
  return out;
}

export async function prepare(deps: PrepareDeps, batch: readonly HeldLease[]): Promise<Prepared[]> {
  const fetched = await fetchAll(deps, batch);
  const good = fetched.filter((one): one is Fetched => 'message' in one);
  const bad = fetched.filter((one): one is Prepared => !('message' in one));
  return good.length === 0 ? bad : [...bad, ...(await releaseAll(deps, good))];
}

async function fetchAll({ gateway, sessions }: PrepareDeps, batch: readonly HeldLease[]): Promise<(Fetched | Prepared)[]> {
  if (batch.length === 0) return [];
  try {
    const answers = await sessions.use((session) => gateway.messages(batch.map(({ lease }) => lease), session));
    return await Promise.all(batch.map((held, i) => look(held, answers[i] as Bundled)));
  } catch (error) {
    return batch.map((held) => ({ held, then: 'giveBack', code: codeOf(error) }));
  }
}

async function look(held: HeldLease, answer: Bundled): Promise<Fetched | Prepared> {
  const { lease } = held;
  if ('code' in answer) return { held, then: 'giveBack', code: answer.code };
  const bytes = answer.message;
  // What was leased is this very message; any other is the store's or the gateway's fault, not the client's.
  if (bytes.length !== lease.size || hex(await sha256(bytes)) !== lease.message_digest) return { held, then: 'giveBack', code: 'MESSAGE_DIGEST' };
  try {
    const message = parseMessage(bytes);
    const { tenant_id, job_id } = message.context;
    if (tenant_id !== lease.tenant_id) refuse('TENANT_MISMATCH', 'context.tenant_id', 'The message was encrypted for another tenant.');
    if (job_id !== lease.job_id) refuse('CONTEXT_MISMATCH', 'context.job_id', 'The message was encrypted for another job.');
    return { held, message };
  } catch (error) {
    return { held, then: error instanceof Refusal ? 'reject' : 'giveBack', code: codeOf(error) };
  }
}

async function releaseAll({ gateway, sessions, keys, epochs }: PrepareDeps, jobs: readonly Fetched[]): Promise<Prepared[]> {
  const items = jobs.map(({ held: { lease: { tenant_id, job_id } }, message }) => ({ tenant_id, job_id, header: b64u(message.header) }));
  let answers: ReleaseResponse['items'];
  let used: ActiveSession;
  try {
    // The keys are sealed under the session that asked: keep the two together.
    [answers, used] = await sessions.use(async (session) => [(await gateway.release(items, session, epochs?.shown(items.map(({ tenant_id }) => tenant_id)))).items, session] as const);
  } catch (error) {
    return jobs.map(({ held }) => ({ held, then: 'giveBack', code: codeOf(error), brokerDown: true }));
  }
  return Promise.all(jobs.map((job, i) => openOne(job, answers[i], used, keys)));
}

async function openOne(job: Fetched, answer: ReleaseResponse['items'][number] | undefined, session: ActiveSession, keys: CounterKeys): Promise<Prepared> {
  const { held, message } = job;
  if (answer === undefined || answer.job_id !== held.lease.job_id) return { held, then: 'giveBack', code: 'RELEASE_ANSWER' };
  if (!answer.ok) return { held, then: answer.permanent ? 'reject' : 'giveBack', code: answer.problem.code.slice(0, 64) };
  try {
    const { tenant_id, job_id } = held.lease;
    const dataKey = await open(keys.receiving, releaseInfo(session.claimsDigest, session.policyDigest), releaseAad(tenant_id, job_id, message.messageId), answer.data_key);
    // Anybody can seal to a public key, and the broker released none before it had checked this. So it is not the message that is
    // at fault: a verdict would sign somebody else's lie about it.
    await checkDataKey(message, dataKey).catch((error: unknown) => { dataKey.fill(0); throw error; });
    return { held, then: 'count', job: { held, message, dataKey, policy: session.policy } };
  } catch (error) {
    return { held, then: 'giveBack', code: codeOf(error) };
  }
}

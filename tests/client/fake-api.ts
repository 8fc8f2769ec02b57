/** A gateway, a broker and a counter in one, behind the client's API port: honest, unless a test makes one thing otherwise. */
import { hex, fromB64u, sha256 } from '../../attestation/bytes.ts';
import { type Api, ApiError } from '../../workloads/client/api.ts';
import { type Sent, sentOf } from '../../workloads/client/result.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';
import { openMessage } from '../../workloads/protocol/message-body.ts';
import type { Job, JobEvent, ResultPayload } from '../../workloads/protocol/messages.ts';
import { unwrapDataKey } from '../../workloads/protocol/wrap.ts';
import type { CounterSession, Fixture, ManifestLies } from './fixture.ts';

export interface Lies {
  manifest?: ManifestLies;
  payload?: Partial<ResultPayload>;
  /** Changes the job before it is handed out. */
  job?: (job: Job) => Job | Promise<Job>;
  session?: Parameters<Fixture['session']>[0];
}
export interface FakeApi extends Api {
  /** Plaintexts that the counter saw. */
  readonly pictures: Uint8Array[];
  readonly messages: Uint8Array[];
  readonly calls: string[];
  lies: Lies;
}

export function fakeApi(f: Fixture, lies: Lies = {}): FakeApi {
  const jobs = new Map<string, { job: Job; message: Uint8Array }>();
  const process = async (message: Uint8Array): Promise<Job> => {
    const parsed = parseMessage(message);
    const { dataKey } = await unwrapDataKey(parsed, (id) => f.privateKeys[id]);
    fake.pictures.push(await openMessage(parsed, dataKey));
    const sent: Sent = sentOf(parsed, hex(await sha256(parsed.body)));
    const session: CounterSession = await f.session(fake.lies.session);
    const { claimsDigest: _, ...counter } = session;
    const payload = f.resultPayload(sent, session, fake.lies.payload);
    return {
      job_id: sent.job_id, state: payload.outcome, ...(payload.code === undefined ? {} : { code: payload.code }), message_digest: hex(await sha256(message)), size: message.length, accepted_at: 1, finished_at: 2, attempts: 1,
      result: await f.sealResult(await f.signResult(payload), fromB64u(parsed.context.result_key), sent), counter, receipts: [await f.brokerReceipt(sent, session, { policy_revision: payload.policy_revision })],
    };
  };
  const fake: FakeApi = {
    url: 'memory:', pictures: [], messages: [], calls: [], lies,
    sleep: async () => undefined,
    async keyManifest(request) {
      fake.calls.push('manifest');
      return f.respond(request, fake.lies.manifest);
    },
    async submit(message) {
      fake.calls.push('submit');
      fake.messages.push(message);
      const { context } = parseMessage(message);
      jobs.set(context.job_id, { job: await process(message), message });
      const { result: _, counter: __, receipts: ___, finished_at: ____, code: _____, ...job } = jobs.get(context.job_id)!.job;
      return { ...job, state: 'accepted' };
    },
    async job(id) {
      fake.calls.push('job');
      const found = jobs.get(id);
      if (found === undefined) throw new ApiError('NOT_FOUND', 'no such job', { status: 404 });
      return fake.lies.job === undefined ? found.job : fake.lies.job(found.job);
    },
    jobs: async () => [...jobs.values()].map(({ job }) => job),
    async* events(id) {
      const names: JobEvent['event'][] = ['accepted', 'leased', 'released', 'counted', jobs.get(id)?.job.state as JobEvent['event']];
      for (const [n, event] of names.entries()) yield { job_id: id, n: n + 1, event, at: n };
    },
  };
  return fake;
}

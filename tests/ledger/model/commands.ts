/** What clients, counters and time do to the ledger, each under a possible cut of the connection. */
import fc from 'fast-check';
import { type CompleteAnswer, type FinalState, type LeaseRef, type Ledger, type LeasedJob, LedgerUnavailable, type NewJob } from '../../../workloads/ledger/ledger.ts';
import { EXHAUSTED } from '../../../workloads/ledger/leases.ts';
import { newJob } from '../engines.ts';
import { type Fault, LEASE_MS, MAX_ATTEMPTS, type Model, type ModelJob, RESULTS, type Real, all, hold, isFinal, same, under } from './model.ts';

type Command = fc.AsyncCommand<Model, Real>;
type Step = (model: Model, real: Real) => Promise<void>;

const command = (label: string, run: Step, check: (model: Readonly<Model>) => boolean = () => true): Command => ({ check, run, toString: () => label });
const cut = (fault: Fault): string => (fault === undefined ? '' : ` cut(${fault.n}, ${fault.side})`);

const due = (model: Model): ModelJob[] => [...model.jobs.values()].filter((j) => !isFinal(j.state) && j.due <= model.now);
const exhaust = (job: ModelJob): void => {
  job.state = 'failed';
  job.final = { outcome: 'failed', code: EXHAUSTED };
  job.token = undefined;
};

/** Accepts, `copies` times at once; the client that hears nothing goes away or insists. */
function accept(slot: number, digest: string, copies: number, insist: boolean, fault: Fault): Command {
  return command(`accept(${slot}, ${digest[0]}, x${copies}${insist ? ', insist' : ''})${cut(fault)}`, async (model, real) => {
    const jobId = real.jobIds[slot] as string;
    const job: NewJob = newJob({ tenantId: real.tenantId, jobId, messageDigest: digest });
    const known = model.jobs.get(jobId);
    const right = (outcome: string, fresh: boolean) => hold(
      outcome === (known !== undefined ? (known.digest === digest ? 'same' : 'conflict') : fresh ? 'accepted' : 'same'),
      `accept answered ${outcome}, the job was ${known === undefined ? 'unknown' : 'known'}`);

    const answers = await under(real, fault, () => all(Array.from({ length: copies }, () => real.ledger.accept(job))));
    let stored = known !== undefined;
    let heard = answers !== undefined;
    if (answers !== undefined) {
      const outcomes = answers.map((a) => a.outcome);
      if (known === undefined) hold(outcomes.filter((o) => o === 'accepted').length === 1, `${copies} at once: ${outcomes.join(' ')}`);
      for (const outcome of outcomes) right(outcome, outcome === 'accepted');
      stored = true;
    } else {
      const found = await real.witness.job(real.tenantId, jobId);
      if (known === undefined && found !== undefined) real.lost.committed++;
      stored = found !== undefined;
      if (insist) {
        right((await real.ledger.accept(job)).outcome, !stored);
        stored = true;
        heard = true;
      }
    }
    if (known === undefined && stored) model.jobs.set(jobId, { jobId, digest, acknowledged: false, state: 'accepted', due: model.now, attempts: 0 });
    const now = model.jobs.get(jobId);
    if (now !== undefined && heard && now.digest === digest) now.acknowledged = true;
    if (now !== undefined) same(now, await real.witness.job(real.tenantId, jobId));
  });
}

function taken(model: Model, candidates: readonly ModelJob[], leased: readonly LeasedJob[]): void {
  for (const lease of leased) {
    const job = candidates.find((j) => j.jobId === lease.jobId);
    hold(job !== undefined, `${lease.jobId} was leased and was not due`);
    hold(job.attempts < MAX_ATTEMPTS, `${lease.jobId} was leased too often`);
    hold(lease.messageDigest === job.digest, `${lease.jobId} was leased with another message`);
    hold(!model.leases.some((l) => l.leaseToken === lease.leaseToken), 'a token was used twice');
    hold(lease.leaseUntil === model.now + LEASE_MS, 'the lease has another length');
    job.state = 'leased';
    job.attempts++;
    job.due = lease.leaseUntil;
    job.token = lease.leaseToken;
    hold(lease.attempt === job.attempts, `attempt ${lease.attempt}, model ${job.attempts}`);
    model.leases.push({ tenantId: lease.tenantId, jobId: lease.jobId, leaseToken: lease.leaseToken });
  }
}

/** One or two workers lease at once; the ledger decides which due jobs they get, the model checks that it may. */
function lease(max: number, workers: number, fault: Fault): Command {
  return command(`lease(${max}, x${workers})${cut(fault)}`, async (model, real) => {
    const candidates = due(model);
    const request = { max, leaseMs: LEASE_MS, sessionId: 'session' };
    const answers = await under(real, fault, () => all(Array.from({ length: workers }, (_, i) => (i === 0 ? real.ledger : real.witness).lease(request))));
    if (answers !== undefined) {
      const all = answers.flat();
      hold(new Set(all.map((l) => l.jobId)).size === all.length, 'one job was leased twice at once');
      taken(model, candidates, all);
      hold(all.length > 0 || candidates.every((j) => j.attempts >= MAX_ATTEMPTS) || workers > 1, 'due jobs, and none was leased');
    }
    // Jobs that failed on the way, and, after a lost answer, jobs that somebody unknown holds now.
    for (const job of candidates) {
      const found = await real.witness.job(real.tenantId, job.jobId);
      if (found?.state === 'failed' && job.attempts >= MAX_ATTEMPTS && !isFinal(job.state)) exhaust(job);
      if (answers === undefined && found !== undefined && found.attempts === job.attempts + 1) {
        real.lost.committed++;
        Object.assign(job, { state: 'leased', attempts: found.attempts, due: model.now + LEASE_MS, token: undefined });
      }
      same(job, found);
    }
  });
}

const pick = (model: Model, index: number): LeaseRef => model.leases[index % model.leases.length] as LeaseRef;
const stands = (model: Model, ref: LeaseRef): ModelJob | undefined => {
  const job = model.jobs.get(ref.jobId);
  return job !== undefined && job.state === 'leased' && job.token === ref.leaseToken ? job : undefined;
};
const someLease = (model: Readonly<Model>): boolean => model.leases.length > 0;

function heartbeat(index: number, fault: Fault): Command {
  return command(`heartbeat(${index})${cut(fault)}`, async (model, real) => {
    const ref = pick(model, index);
    const job = stands(model, ref);
    const lost = await under(real, fault, () => real.ledger.heartbeat([ref], LEASE_MS));
    // Not knowing whether it was renewed, a counter asks again.
    const answer = lost ?? (await real.ledger.heartbeat([ref], LEASE_MS));
    hold((answer.length === 0) === (job !== undefined), `heartbeat says ${answer.length === 0 ? 'renewed' : 'lost'}`);
    if (job !== undefined) job.due = model.now + LEASE_MS;
  }, someLease);
}

function giveBack(index: number, delayMs: number, fault: Fault): Command {
  return command(`giveBack(${index}, ${delayMs})${cut(fault)}`, async (model, real) => {
    const ref = pick(model, index);
    const job = stands(model, ref);
    const answer = await under(real, fault, () => real.ledger.giveBack([ref], 'TEST', delayMs));
    if (answer !== undefined) hold((answer.length === 1) === (job !== undefined), 'giveBack answered wrongly');
    const found = await real.witness.job(real.tenantId, ref.jobId);
    if (job !== undefined && (answer !== undefined || found?.state === 'accepted')) {
      if (answer === undefined) real.lost.committed++;
      Object.assign(job, { state: 'accepted', token: undefined, due: model.now + Math.min(delayMs * 2 ** (job.attempts - 1), 300_000) });
    }
    const now = model.jobs.get(ref.jobId);
    if (now !== undefined) same(now, found);
  }, someLease);
}

/** With a lease of now or of long ago, `copies` times at once; `beside`: in one transaction with one that is stale. */
function complete(index: number, outcome: FinalState, result: number, copies: number, insist: boolean, beside: boolean, fault: Fault): Command {
  const code = outcome === 'completed' ? undefined : `CODE_${result}`;
  return command(`complete(${index}, ${outcome}, ${result}, x${copies}${insist ? ', insist' : ''}${beside ? ', beside another' : ''})${cut(fault)}`, async (model, real) => {
    const ref = pick(model, index);
    const before = model.jobs.get(ref.jobId) as ModelJob;
    const sealed = RESULTS[result];
    const completion = { ...ref, outcome, ...(code === undefined ? {} : { code }), ...(sealed === undefined ? {} : { result: sealed }), sessionId: 'session' };
    const send = async (ledger: Ledger) => (beside ? (await ledger.completeAll([{ ...completion, jobId: 'of-nobody' }, completion]))[1] as CompleteAnswer : ledger.complete(completion));
    const mine = before.token === ref.leaseToken;
    const equals = mine && before.final !== undefined && before.final.outcome === outcome && before.final.code === code && before.final.ct === sealed?.ct;
    const records = stands(model, ref) !== undefined;
    const right = ({ recorded, state }: { recorded: boolean; state: string }) => {
      hold(recorded === (records || equals), `complete says recorded: ${recorded}`);
      hold(state === (records ? outcome : mine ? before.state : 'stale'), `complete says ${state}, the job was ${before.state}`);
    };
    let answers = await under(real, fault, () => all(Array.from({ length: copies }, () => send(real.ledger))));
    if (answers === undefined) {
      const found = await real.witness.job(real.tenantId, ref.jobId);
      if (records && found !== undefined && isFinal(found.state)) real.lost.committed++;
      if (insist) answers = [await send(real.ledger)];
      else if (records && found?.state === 'leased') return same(before, found);
    }
    answers?.forEach(right);
    if (records) Object.assign(before, { state: outcome, final: { outcome, code, ct: sealed?.ct } });
    same(before, await real.witness.job(real.tenantId, ref.jobId));
  }, someLease);
}

function wait(ms: number): Command {
  return command(`wait(${ms})`, async (model, real) => {
    model.now += ms;
    real.clock.at = model.now;
  });
}

const sweep = (fault: Fault): Command => command(`sweep${cut(fault)}`, async (model, real) => {
  const over = due(model).filter((j) => j.attempts >= MAX_ATTEMPTS);
  const answer = await under(real, fault, () => real.ledger.sweep());
  if (answer !== undefined) hold(answer.exhausted === over.length, `sweep ended ${answer.exhausted}, model ${over.length}`);
  for (const job of over) {
    const found = await real.witness.job(real.tenantId, job.jobId);
    if (answer !== undefined || found?.state === 'failed') exhaust(job);
    same(job, found);
  }
});

/** The end of every connection between two commands: a few calls may find that out, then everything works. */
const cutAll = (): Command => command('cutAll', async (_model, real) => {
  real.proxy.cutAll();
  for (let tries = 0; ; tries++) {
    try {
      await real.ledger.tenants();
      return;
    } catch (error) {
      hold(error instanceof LedgerUnavailable && tries < 10, `after cutAll: ${String(error)}`);
    }
  }
});

/**
 * No fault, a cut anywhere, or the worst one: the answer to the request that commits. Requests of the longest command: begin,
 * one statement, two for the audit entry, commit; a connection that has to be made adds some.
 */
const fault = (commits: number): fc.Arbitrary<Fault> => fc.oneof(
  { weight: 5, arbitrary: fc.constant(undefined) },
  { weight: 2, arbitrary: fc.record({ n: fc.integer({ min: 1, max: 6 }), side: fc.constantFrom('request' as const, 'answer' as const) }) },
  { weight: 1, arbitrary: fc.constant({ n: commits, side: 'answer' as const }) },
);
const slot = fc.nat({ max: 3 });
const index = fc.nat({ max: 20 });
const outcome = fc.constantFrom<FinalState>('completed', 'completed', 'rejected', 'failed');

/** What every history begins with: two jobs, one of them leased; otherwise too many would never get that far. */
export const prelude = (): Command[] => [accept(0, 'a'.repeat(64), 1, true, undefined), lease(1, 1, undefined), accept(1, 'a'.repeat(64), 1, true, undefined)];

const any: fc.Arbitrary<Command> = fc.oneof(
  fc.tuple(slot, fc.constantFrom('a'.repeat(64), 'a'.repeat(64), 'b'.repeat(64)), fc.constantFrom(1, 1, 3), fc.boolean(), fault(1)).map((a) => accept(...a)),
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom(1, 1, 2), fault(3)).map((a) => lease(...a)),
  fc.tuple(index, fault(1)).map((a) => heartbeat(...a)),
  fc.tuple(index, fc.constantFrom(0, 1_000, 200_000), fault(1)).map((a) => giveBack(...a)),
  fc.tuple(index, outcome, fc.nat({ max: 2 }), fc.constantFrom(1, 1, 3), fc.boolean(), fc.boolean(), fault(1)).map((a) => complete(...a)),
  fc.constantFrom(1, LEASE_MS - 1, LEASE_MS, LEASE_MS, LEASE_MS, 300_000).map(wait),
  fault(3).map(sweep),
  fc.constant(undefined).map(cutAll),
);

export const histories: fc.Arbitrary<Command[]> = fc.array(any, { minLength: 6, maxLength: 18, size: 'max' });

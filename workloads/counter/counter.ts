/**
 * The counter's loop: lease, prepare, count, complete. While pictures are counted the next ones are fetched and their keys
 * released, and the one before is completed, so that the detector never waits for the network. Never a result when anything failed:
 * only a picture that was decrypted, counted and passed the egress guard completes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256 } from '../../attestation/bytes.ts';
import { Refusal } from '../../attestation/refusal.ts';
import type { CellConfig } from '../protocol/cell.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import type { EpochJudge, JudgedEpoch } from '../protocol/epoch-judge.ts';
import { type Log, errorFields } from '../protocol/log.ts';
import { openMessage } from '../protocol/message-body.ts';
import { MAX_MESSAGES } from '../protocol/messages.ts';
import type { OwnerPolicy } from '../protocol/owner.ts';
import { EgressRefused, guardEgress } from './egress.ts';
import { Completions } from './completions.ts';
import { type Completion, type CounterGateway, leaseKey } from './gateway-client.ts';
import type { CounterKeys } from './keys.ts';
import { type HeldLease, Leases } from './leases.ts';
import { type Prepared, type ReadyJob, codeOf, portions, prepare } from './prepare.ts';
import { WorkRejected } from './rejected.ts';
import type { Sandbox } from './sandbox.ts';
import type { ActiveSession, SessionKeeper } from './session.ts';
import { type Outcome, sealVerdict } from './verdict.ts';

export interface CounterOptions {
  readonly cell: CellConfig;
  readonly gateway: CounterGateway;
  readonly sessions: SessionKeeper;
  readonly keys: CounterKeys;
  readonly epochs: EpochJudge;
  readonly sandbox: Pick<Sandbox, 'run' | 'modelDigest' | 'atOnce'>;
  readonly now: Clock;
  readonly log: Log;
  /** Most jobs held ready beside the one that is counted. */
  readonly maxAhead?: number;
  /** Most bytes of messages held in memory, at least one request for messages though. */
  readonly maxBytes?: number;
  readonly waitMs?: number;
  /** First pause after something failed; it doubles up to 5 s. */
  readonly pauseMs?: number;
}

export interface Counter {
  /** Finishes the pictures that are in the sandbox, gives the others back. */
  stop(): Promise<void>;
}

/** Work held ready: enough to cover one round of lease, fetch and release and to share its costs, not so much that another counter idles. */
const AHEAD_MS = 400;
const MIN_AHEAD = 2;
/** An answer with leases that is under way when the counter stops is waited for: those jobs would wait for their lease to end. */
const HANG_UP_MS = 250;
/** What failed may come back any moment, and jobs wait meanwhile. */
const MAX_PAUSE_MS = 5_000;
const MAX_BYTES = 96 << 20;
/** Completions under way; with more, the gateway is the slow part and counting on makes nothing faster. */
const MAX_COMPLETING = 24;

/** The promise of a picture is wiped by whoever awaits it. */
interface Opened { readonly job: ReadyJob; readonly picture: Promise<Uint8Array> }
const wipe = ({ picture }: Opened): Promise<void> => picture.then((bytes) => void bytes.fill(0), () => {});

type Decision = { readonly then: 'verdict'; readonly outcome: Outcome } | { readonly then: 'giveBack'; readonly code: string };

export function startCounter(options: CounterOptions): Counter {
  const { gateway, sessions, keys, epochs, sandbox, now, log, cell: { cell } } = options;
  const { maxAhead = MAX_MESSAGES, maxBytes = MAX_BYTES } = options;
  /** Milliseconds that a picture took lately. */
  let usualMs = AHEAD_MS;
  /** When the picture before was counted. */
  let lastEnded = 0;
  const ahead = () => Math.min(maxAhead, Math.max(MIN_AHEAD, Math.ceil(AHEAD_MS / usualMs)));
  const leases = new Leases({ gateway, sessions, log });
  const stopping = new AbortController();
  const hangUp = new AbortController();
  const ready: ReadyJob[] = [];
  /** Decrypted while those before it are counted. */
  let opened: Opened | undefined;
  const completing = new Set<Promise<void>>();
  /** In the sandbox. */
  let counting = 0;
  const pauseMs = options.pauseMs ?? 250;
  const completions = new Completions({ gateway, sessions, leases, log, pauseMs, idle: () => stopping.signal.aborted || (counting === 0 && opened === undefined && ready.length === 0) });
  let failures = 0;
  let wake = () => {};
  const changed = () => new Promise<void>((resolve) => { wake = chain(wake, resolve); });
  const notify = () => { const waiting = wake; wake = () => {}; waiting(); };

  const pause = async () => {
    failures++;
    const ms = Math.min(MAX_PAUSE_MS, pauseMs * 2 ** Math.min(failures - 1, 10));
    // Not all counters at the same moment.
    await sleep(ms * (0.5 + Math.random() / 2), undefined, { signal: stopping.signal }).catch(() => {});
  };

  async function feed(): Promise<void> {
    while (!stopping.signal.aborted) {
      // Refilled by halves: a batch shares one release and one receipt request.
      const wanted = ahead() - ready.length - (opened === undefined ? 0 : 1);
      if (wanted < ahead() / 2) {
        await changed();
        continue;
      }
      try {
        const session = await sessions.current();
        const { jobs, lease_ms } = await sessions.use((s) => gateway.lease(wanted, options.waitMs ?? 20_000, s, hangUp.signal));
        if (jobs.length === 0) continue;
        for (const portion of portions(jobs.map((lease) => leases.hold(lease, lease_ms)))) {
          // Those before them have to go first, and their leases are renewed meanwhile.
          while (!stopping.signal.aborted && !leases.hasRoom(portion, maxBytes)) await changed();
          if (stopping.signal.aborted) await giveBack(portion, 'STOPPING');
          else await settle(await prepare({ gateway, sessions, keys, epochs }, leases.fetching(portion)), session);
        }
      } catch (error) {
        if (stopping.signal.aborted) break;
        log.warn('lease-failed', errorFields(error));
        await pause();
      }
    }
    notify();
  }

  /** Ready jobs go on; the others end or go back. */
  async function settle(prepared: readonly Prepared[], session: ActiveSession): Promise<void> {
    let waits = false;
    const ended: Promise<void>[] = [];
    for (const each of prepared) {
      if (each.then === 'count') ready.push(each.job);
    }
    notify();
    for (const each of prepared) {
      if (each.then === 'count') continue;
      const { job_id, tenant_id } = each.held.lease;
      log.warn(each.then === 'reject' ? 'job-rejected' : 'job-waits', { job_id, tenant_id, code: each.code });
      if (each.then === 'reject') ended.push(completions.add(each.held, async () => ({ ...leaseKey(each.held.lease), outcome: 'rejected', code: each.code })));
      else {
        waits = true;
        await giveBack([each.held], each.code);
        // No job is leased again before the broker answers: attesting anew asks it.
        if (each.brokerDown === true) sessions.drop(session);
      }
    }
    if (ended.length > 0) completions.flush();
    await Promise.all(ended);
    if (waits) await pause();
    else failures = 0;
  }

  async function work(): Promise<void> {
    /** In the sandbox, in their order: it answers in that order, too. */
    const judging: { readonly mine: Opened; readonly decision: Promise<Decision> }[] = [];
    for (;;) {
      while (!stopping.signal.aborted && judging.length < sandbox.atOnce) {
        const mine = opened ?? openNext();
        opened = undefined;
        if (mine === undefined) break;
        if (mine.job.held.lost) await wipe(mine);
        else {
          counting++;
          judging.push({ mine, decision: judge(mine).finally(() => { counting--; }) });
        }
      }
      if (!stopping.signal.aborted) opened ??= openNext();
      notify();
      const first = judging[0];
      if (first === undefined) {
        completions.flush();
        if (stopping.signal.aborted) return;
        await changed();
        continue;
      }
      // A job that becomes ready meanwhile joins it.
      if (!await Promise.race([first.decision.then(() => true), changed().then(() => false)])) continue;
      judging.shift();
      if (completing.size >= MAX_COMPLETING) await Promise.race(completing);
      const done: Promise<void> = finish(first.mine.job, await first.decision).finally(() => { completing.delete(done); notify(); });
      completing.add(done);
    }
  }

  function openNext(): Opened | undefined {
    for (let job = ready.shift(); job !== undefined; job = ready.shift()) {
      const { held, message, dataKey } = job;
      if (held.lost) {
        dataKey.fill(0);
        continue;
      }
      const picture = openMessage(message, dataKey).finally(() => dataKey.fill(0));
      picture.catch(() => {}); // whoever judges the job sees it
      return { job, picture };
    }
    return undefined;
  }

  /** Counts. Never throws. */
  async function judge({ job: { held: { lease: { tenant_id, job_id } }, policy }, picture: opening }: Opened): Promise<Decision> {
    let picture: Uint8Array | undefined;
    try {
      picture = await opening;
      const started = now();
      const counted = await sandbox.run(picture);
      const ended = now();
      const result = guardEgress(counted, policy, tenant_id);
      // Its own time, not that of the pictures before it.
      const ms = ended - Math.max(started, lastEnded);
      lastEnded = ended;
      usualMs = 0.8 * usualMs + 0.2 * Math.max(1, ms);
      log.info('counted', { job_id, tenant_id, ms, model_digest: result.model.digest });
      return { then: 'verdict', outcome: { outcome: 'completed', result } };
    } catch (error) {
      // The picture or the message is at fault: the client is told, under signature.
      if (error instanceof WorkRejected || error instanceof Refusal) return { then: 'verdict', outcome: { outcome: 'rejected', code: error.code } };
      if (error instanceof EgressRefused) return { then: 'verdict', outcome: { outcome: 'failed', code: error.code } };
      log.error('count-failed', { job_id, tenant_id, ...errorFields(error) });
      return { then: 'giveBack', code: 'WORK_FAILED' };
    } finally {
      picture?.fill(0);
    }
  }

  async function finish({ held, message, policy }: ReadyJob, decision: Decision): Promise<void> {
    if (decision.then === 'giveBack') return giveBack([held], decision.code);
    const { outcome } = decision;
    const bodyDigest = await sha256(message.body);
    // Sealed once per session: a repeated request carries the same bytes.
    const sealed = new Map<ActiveSession, Completion>();
    await completions.add(held, async (session) => {
      const known = sealed.get(session);
      if (known !== undefined) return known;
      const { epoch } = await epochOf(held, policy);
      const verdict = { message, bodyDigest, modelDigest: sandbox.modelDigest, cell, epoch, at: seconds(now) };
      const body = { ...leaseKey(held.lease), outcome: outcome.outcome, ...('code' in outcome ? { code: outcome.code } : {}), result: await sealVerdict(outcome, verdict, session) };
      sealed.set(session, body);
      return body;
    });
  }

  /** What the gateway showed with the lease may have ended while the picture was counted: the newest is asked for once. @throws Refusal EPOCH_... */
  async function epochOf({ lease }: HeldLease, policy: OwnerPolicy): Promise<JudgedEpoch> {
    try {
      return await epochs.judge(lease.tenant_id, policy);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      await leases.beat();
      return epochs.judge(lease.tenant_id, policy);
    }
  }

  async function giveBack(jobs: readonly HeldLease[], code: string): Promise<void> {
    const mine = jobs.filter((held) => !held.lost);
    try {
      if (mine.length > 0) await sessions.use((session) => gateway.giveBack(mine.map(({ lease }) => lease), code, session));
    } catch (error) {
      log.warn('give-back-failed', errorFields(error)); // the leases end by themselves
    } finally {
      for (const held of jobs) leases.drop(held);
    }
  }

  const running = Promise.all([feed(), work()]);
  return {
    async stop() {
      stopping.abort();
      notify();
      const timer = setTimeout(() => hangUp.abort(), HANG_UP_MS);
      await running;
      clearTimeout(timer);
      const unused = [...(opened === undefined ? [] : [opened.job]), ...ready.splice(0)];
      if (opened !== undefined) await wipe(opened);
      for (const job of unused) job.dataKey.fill(0);
      await Promise.all([...completing, giveBack(unused.map(({ held }) => held), 'STOPPING')]);
    },
  };
}

const chain = (first: () => void, second: () => void) => () => { first(); second(); };

/**
 * Verdicts on their way to the gateway. While there are pictures to count they go several at a time: a request, its proof and a commit with its wait for the
 * disk cost as much for one as for ten. Whoever has nothing left to count sends at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Unreachable } from '../protocol/http-client.ts';
import { type Log, errorFields } from '../protocol/log.ts';
import type { Completion, CounterGateway } from './gateway-client.ts';
import type { HeldLease, Leases } from './leases.ts';
import type { ActiveSession, SessionKeeper } from './session.ts';

export interface CompletionsOptions {
  readonly gateway: CounterGateway;
  readonly sessions: SessionKeeper;
  readonly leases: Leases;
  readonly log: Log;
  /** No more pictures are at hand. */
  readonly idle: () => boolean;
  /** First pause after the gateway did not answer; it doubles. */
  readonly pauseMs: number;
}

/** A verdict waits no longer for others; a client would notice more. */
const WAIT_MS = 200;
/** In one request. What was counted and not sent when a counter dies is counted again. */
const BATCH = 8;
const TRIES = 4;

interface Verdict { readonly held: HeldLease; readonly body: (session: ActiveSession) => Promise<Completion>; readonly done: () => void }

export class Completions {
  readonly #options: CompletionsOptions;
  #waiting: Verdict[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CompletionsOptions) {
    this.#options = options;
  }

  /** `body` is sealed once per session: a repeated request carries the same bytes. Resolves when nothing more is sent for this job; never rejects. */
  add(held: HeldLease, body: Verdict['body']): Promise<void> {
    return new Promise((done) => {
      this.#waiting.push({ held, body, done });
      if (this.#waiting.length >= BATCH || this.#options.idle()) this.flush();
      else this.#timer ??= setTimeout(() => this.flush(), WAIT_MS);
    });
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length > 0) void this.#send(batch);
  }

  async #send(batch: readonly Verdict[]): Promise<void> {
    const { gateway, sessions, log, pauseMs } = this.#options;
    const ids = (verdict: Verdict) => ({ job_id: verdict.held.lease.job_id, tenant_id: verdict.held.lease.tenant_id });
    for (let attempt = 1; ; attempt++) {
      const mine = batch.filter(({ held }) => !held.lost);
      if (mine.length === 0) break;
      try {
        const answers = await sessions.use(async (session) => gateway.complete(await Promise.all(mine.map(({ body }) => body(session))), session));
        for (const [i, verdict] of mine.entries()) log.info(answers[i]?.recorded === true ? 'completed' : 'completion-stale', { ...ids(verdict), state: answers[i]?.state ?? 'unknown' });
        break;
      } catch (error) {
        // One job that cannot be completed is not the others' fault.
        if (!(error instanceof Unreachable) && batch.length > 1) return void await Promise.all(batch.map((one) => this.#send([one])));
        for (const verdict of mine) log.warn('completion-failed', { ...ids(verdict), attempt, ...errorFields(error) });
        if (!(error instanceof Unreachable) || attempt >= TRIES) break; // the leases end by themselves
        await sleep(pauseMs * 2 ** attempt);
      }
    }
    for (const { held, done } of batch) {
      this.#options.leases.drop(held);
      done();
    }
  }
}

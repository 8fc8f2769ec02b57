/** What a gateway counts: its ledger's answers, the problems it answers with, the time of releases; and what it looks up when somebody reads the metrics. */
import type { FastifyInstance } from 'fastify';
import type { Ledger } from '../ledger/ledger.ts';
import type { Replication } from '../ledger/replication.ts';
import type { Clock } from '../protocol/clock.ts';
import { RELEASE_PATH } from '../protocol/messages.ts';
import type { Metrics } from '../protocol/metrics.ts';
import { isProblemCode, isRefusalCode, PROBLEM_MEDIA_TYPE } from '../protocol/problem.ts';
import type { Health } from './health.ts';

/** The same ledger; what it answers is counted, never what it was given. */
export function meterLedger(ledger: Ledger, metrics: Metrics): Ledger {
  const seen: Partial<Record<keyof Ledger, (answer: never, args: readonly unknown[]) => void>> = {
    accept: ({ outcome }: Awaited<ReturnType<Ledger['accept']>>) => { if (outcome === 'accepted') metrics.add('ccc_jobs_total', { state: 'accepted' }); },
    completeAll: (ended: Awaited<ReturnType<Ledger['completeAll']>>) => { for (const { recorded, again, state } of ended) if (recorded && again !== true) metrics.add('ccc_jobs_total', { state }); },
    sweep: ({ exhausted }: Awaited<ReturnType<Ledger['sweep']>>) => metrics.add('ccc_jobs_total', { state: 'failed' }, exhausted),
    recordEvents: (recorded: readonly boolean[], [, event]) => { if (event === 'released') metrics.add('ccc_releases_total', {}, recorded.filter(Boolean).length); },
  };
  return new Proxy(ledger, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      const count = seen[name as keyof Ledger];
      if (typeof value !== 'function' || count === undefined) return value;
      return async (...args: never[]): Promise<unknown> => {
        const answer: unknown = await value.apply(target, args);
        count(answer as never, args);
        return answer;
      };
    },
  });
}

/** No problem document is longer. */
const MAX_PROBLEM = 64 * 1024;

/** Codes of the table only: a broker's answer goes through here unread otherwise. */
function codeIn(payload: unknown): string {
  if ((typeof payload !== 'string' && !Buffer.isBuffer(payload)) || payload.length > MAX_PROBLEM) return 'other';
  try {
    const { code } = JSON.parse(payload.toString()) as { code?: unknown };
    return typeof code === 'string' && isProblemCode(code) ? code : 'other';
  } catch {
    return 'other';
  }
}

/** Before routes are added: hooks apply to what comes after them. */
export function meterApp(app: FastifyInstance, listener: 'public' | 'internal' | 'admin', { metrics, releases, now }: { readonly metrics: Metrics; readonly releases: Lately; readonly now: Clock }): void {
  app.addHook('onSend', async (_request, reply, payload) => {
    if (!String(reply.getHeader('content-type')).startsWith(PROBLEM_MEDIA_TYPE)) return;
    const code = codeIn(payload);
    metrics.add('ccc_problems_total', { listener, code });
    if (isRefusalCode(code)) metrics.add('ccc_refusals_total', { code });
  });
  if (listener !== 'internal') return;
  app.addHook('onResponse', async (request, reply) => {
    if (request.routeOptions.url !== RELEASE_PATH || reply.statusCode !== 200) return;
    const seconds = Math.max(0, now() - request.startedAt) / 1_000;
    metrics.observe('ccc_release_seconds', seconds);
    releases.add(seconds);
  });
}

const LATELY_MS = 60_000;
const MAX_SAMPLES = 4_096;

/** Samples of the last minute; of very many, the newest. */
export class Lately {
  readonly #now: Clock;
  #samples: { readonly at: number; readonly value: number }[] = [];

  constructor(now: Clock) {
    this.#now = now;
  }

  add(value: number): void {
    if (this.#samples.length >= MAX_SAMPLES) this.#samples = this.#samples.slice(MAX_SAMPLES / 2);
    this.#samples.push({ at: this.#now(), value });
  }

  /** Nearest rank. `undefined`: there are none. */
  quantile(q: number): number | undefined {
    const since = this.#now() - LATELY_MS;
    this.#samples = this.#samples.filter(({ at }) => at >= since);
    const sorted = this.#samples.map(({ value }) => value).sort((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
  }
}

export interface CollectOptions {
  readonly metrics: Metrics;
  readonly ledger: Pick<Ledger, 'counts'>;
  readonly health: Pick<Health, 'report'>;
  readonly replication: Pick<Replication, 'state'> | undefined;
  readonly releases: Lately;
  readonly now: Clock;
}

/** Gauges as they are now. What cannot be found out is not shown: an old value would calm those whom its absence alarms. */
export async function collect({ metrics, ledger, health, replication, releases, now }: CollectOptions): Promise<void> {
  metrics.set('ccc_release_p99_seconds', releases.quantile(0.99));
  const [counts, checks, state] = await Promise.all([
    ledger.counts().catch(() => undefined), health.report().then((report) => report.checks, () => undefined), replication?.state().catch(() => undefined),
  ]);
  metrics.set('ccc_due_jobs', counts?.due);
  metrics.set('ccc_oldest_due_seconds', counts === undefined ? undefined : counts.oldestDueAt === undefined ? 0 : Math.max(0, now() - counts.oldestDueAt) / 1_000);
  for (const [check, answer] of Object.entries(checks ?? {})) metrics.set('ccc_check', answer === 'ok' ? 1 : 0, { check });
  metrics.set('ccc_replication_alarms', state?.alarms.length);
  for (const { name, labels } of metrics.values()) if (name === 'ccc_replication_lag_seconds') metrics.set(name, undefined, labels);
  for (const { peer, lagSeconds } of state?.peers ?? []) metrics.set('ccc_replication_lag_seconds', lagSeconds, { peer });
}

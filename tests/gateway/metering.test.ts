import { describe, expect, it } from 'vitest';
import type { HealthReport } from '../../workloads/gateway/health.ts';
import { createApp } from '../../workloads/gateway/http.ts';
import { LIMITS } from '../../workloads/gateway/limits.ts';
import { collect, Lately, meterApp, meterLedger } from '../../workloads/gateway/metering.ts';
import type { Counts, Ledger } from '../../workloads/ledger/ledger.ts';
import type { ReplicationState } from '../../workloads/ledger/replication.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { RELEASE_PATH } from '../../workloads/protocol/messages.ts';
import { Metrics } from '../../workloads/protocol/metrics.ts';
import { CccError, PROBLEM_MEDIA_TYPE } from '../../workloads/protocol/problem.ts';
import { bareGateway, bareKey } from './bare.ts';

const NOW = 1_000_000;
const values = (metrics: Metrics) => Object.fromEntries(metrics.values().map(({ name, labels, value }) => [[name, ...Object.values(labels)].join(' '), value]));

describe('a metered ledger', () => {
  const job = { tenantId: 'CANARY', jobId: 'CANARY' };
  it.each<[string, Partial<Record<keyof Ledger, unknown>>, (ledger: Ledger) => Promise<unknown>, Record<string, number>]>([
    ['accepted', { accept: async () => ({ outcome: 'accepted', job }) }, (l) => l.accept({} as never), { 'ccc_jobs_total accepted': 1 }],
    ['the same again', { accept: async () => ({ outcome: 'same', job }) }, (l) => l.accept({} as never), {}],
    ['ended', { completeAll: async () => [{ recorded: true, state: 'completed' }, { recorded: true, state: 'failed' }, { recorded: true, state: 'completed' }] }, (l) => l.completeAll([]), { 'ccc_jobs_total completed': 2, 'ccc_jobs_total failed': 1 }],
    ['ended before, by the same', { completeAll: async () => [{ recorded: true, again: true, state: 'completed' }] }, (l) => l.completeAll([]), {}],
    ['stale', { completeAll: async () => [{ recorded: false, state: 'stale' }, { recorded: false, state: 'completed' }] }, (l) => l.completeAll([]), {}],
    ['used up', { sweep: async () => ({ exhausted: 3, sessions: 1, due: 0 }) }, (l) => l.sweep(), { 'ccc_jobs_total failed': 3 }],
    ['released', { recordEvents: async () => [true, false, true] }, (l) => l.recordEvents([job], 'released'), { ccc_releases_total: 2 }],
    ['counted', { recordEvents: async () => [true] }, (l) => l.recordEvents([job], 'counted'), {}],
    ['something else', { tenants: async () => [job] }, (l) => l.tenants(), {}],
  ])('counts what was answered: %s', async (_, answers, call, expected) => {
    const metrics = new Metrics();
    const own = answers[Object.keys(answers)[0] as keyof Ledger] as () => Promise<unknown>;
    expect(await call(meterLedger(answers as unknown as Ledger, metrics))).toEqual(await own());
    expect(values(metrics)).toEqual(expected);
    expect(metrics.text()).not.toContain('CANARY');
  });

  it('counts nothing of what failed', async () => {
    const metrics = new Metrics();
    await expect(meterLedger({ accept: async () => { throw new Error('down'); } } as unknown as Ledger, metrics).accept({} as never)).rejects.toThrow('down');
    expect(metrics.text()).toBe('');
  });
});

describe('answers', () => {
  it('are counted by listener and code, refusals by code too, and releases are timed', async () => {
    const metrics = new Metrics();
    let now = NOW;
    const releases = new Lately(() => now);
    const app = createApp({ listener: 'internal', limits: LIMITS, log: createLog('test', { write: () => {} }), now: () => now, bodyBytes: 1000 });
    meterApp(app, 'internal', { metrics, releases, now: () => now });
    app.get('/refused', async () => { throw new CccError('ZONE_DENIED', 'CANARY'); });
    app.get('/passed', async (_request, reply) => reply.code(422).type(PROBLEM_MEDIA_TYPE).send(Buffer.from('{"code":"SIG_INVALID","detail":"CANARY"}')));
    app.get('/odd', async (_request, reply) => reply.code(400).type(PROBLEM_MEDIA_TYPE).send(Buffer.from('{"code":"CANARY"}')));
    app.get('/fine', async () => ({ code: 'SIG_INVALID' }));
    app.post(RELEASE_PATH, async (_request, reply) => { now += 300; return reply.send({}); });
    for (const url of ['/refused', '/passed', '/odd', '/fine', '/none']) await app.inject({ url });
    await app.inject({ method: 'POST', url: RELEASE_PATH });
    expect(values(metrics)).toEqual({
      'ccc_problems_total internal ZONE_DENIED': 1, 'ccc_problems_total internal SIG_INVALID': 1, 'ccc_problems_total internal other': 1, 'ccc_problems_total internal NOT_FOUND': 1,
      'ccc_refusals_total ZONE_DENIED': 1, 'ccc_refusals_total SIG_INVALID': 1,
    });
    expect(metrics.text()).toMatch(/^ccc_release_seconds_sum 0\.3$/m);
    expect(releases.quantile(0.99)).toBe(0.3);
    expect(metrics.text()).not.toContain('CANARY');
    await app.close();
  });

  it('are counted of a whole gateway, and say nothing of who asked for what', async () => {
    const gateway = await bareGateway();
    await gateway.public.inject({ url: '/v1/jobs', headers: { authorization: `Bearer ${bareKey.key}x` } });
    await gateway.public.inject({ url: '/v1/jobs/CANARY', headers: { authorization: `Bearer ${bareKey.key}` } });
    await gateway.metrics.collect?.();
    const text = gateway.metrics.metrics.text();
    expect(text).toMatch(/^ccc_problems_total\{listener="public",code="UNAUTHENTICATED"\} 1$/m);
    expect(text).toMatch(/^ccc_due_jobs 0$/m);
    expect(text).toMatch(/^ccc_oldest_due_seconds 0$/m);
    expect(text).toMatch(/^ccc_check\{check="broker"\} 0$/m);
    expect(text).not.toMatch(new RegExp(`CANARY|acme|${bareKey.id}`));
    expect(await gateway.metrics.ready()).toBe(false);
    await gateway.close();
  });
});

describe('the last minute', () => {
  it('forgets what is older, and has the nearest rank', () => {
    let now = NOW;
    const lately = new Lately(() => now);
    expect(lately.quantile(0.99)).toBeUndefined();
    for (let n = 1; n <= 100; n++) lately.add(n);
    expect([lately.quantile(0.5), lately.quantile(0.99), lately.quantile(1)]).toEqual([50, 99, 100]);
    now += 60_001;
    expect(lately.quantile(0.99)).toBeUndefined();
    for (let n = 0; n < 10_000; n++) lately.add(n);
    expect(lately.quantile(1)).toBe(9_999);
  });
});

describe('gauges', () => {
  const counts: Counts = { jobs: { accepted: 4, leased: 0, completed: 0, rejected: 0, failed: 0 }, due: 3, oldestDueAt: NOW - 12_500, tenants: 1, auditEntries: 0 };
  const health = { report: async () => ({ checks: { ledger: 'ok', broker: 'failing', store: 'ok', policy: 'ok' } }) as HealthReport };
  const look = async (metrics: Metrics, more: Partial<Parameters<typeof collect>[0]> = {}) => {
    await collect({ metrics, ledger: { counts: async () => counts }, health, replication: undefined, releases: new Lately(() => NOW), now: () => NOW, ...more });
    return values(metrics);
  };

  it('are what ledger, parts and peers say now', async () => {
    const peer = (name: string, lagSeconds: number | undefined) => ({ peer: name, lagSeconds }) as ReplicationState['peers'][number];
    const state = { peers: [peer('aws-prod', 1.5), peer('gcp-prod', undefined)], alarms: ['PEER_DOWN'], conflicts: 0, degraded: undefined } as ReplicationState;
    expect(await look(new Metrics(), { replication: { state: async () => state } })).toEqual({
      ccc_due_jobs: 3, ccc_oldest_due_seconds: 12.5, 'ccc_check ledger': 1, 'ccc_check broker': 0, 'ccc_check store': 1, 'ccc_check policy': 1, ccc_replication_alarms: 1, 'ccc_replication_lag_seconds aws-prod': 1.5,
    });
  });

  it('are gone when they cannot be found out: an old one would calm whom its absence alarms', async () => {
    const metrics = new Metrics();
    await look(metrics);
    const fails = async (): Promise<never> => { throw new Error('down'); };
    const after = await look(metrics, { ledger: { counts: fails }, health: { report: fails } });
    expect(after).not.toHaveProperty('ccc_due_jobs');
    expect(after).not.toHaveProperty('ccc_oldest_due_seconds');
  });

  it('a peer that is not spoken of any more is not shown', async () => {
    const metrics = new Metrics();
    const state = (peers: string[]) => ({ replication: { state: async () => ({ peers: peers.map((peer) => ({ peer, lagSeconds: 1 })), alarms: [] }) as unknown as ReplicationState } });
    await look(metrics, state(['aws-prod', 'gcp-prod']));
    expect(await look(metrics, state(['gcp-prod']))).toMatchObject({ 'ccc_replication_lag_seconds gcp-prod': 1 });
    expect(values(metrics)).not.toHaveProperty('ccc_replication_lag_seconds aws-prod');
  });
});

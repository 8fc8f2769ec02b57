import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { createLog } from '../../workloads/protocol/log.ts';
import { meteredLog } from '../../workloads/protocol/metered-log.ts';
import { BUCKETS, METRICS, type MetricName, Metrics, pushedName } from '../../workloads/protocol/metrics.ts';
import { metricsAddress, metricsServer, type MetricsServerOptions, serveMetrics } from '../../workloads/protocol/metrics-server.ts';

const NAMES = Object.keys(METRICS) as MetricName[];
/** A line of the exposition format, version 0.0.4, as far as this writes it. */
const LINE = /^(?:# (?:HELP|TYPE) ccc_[a-z0-9_]+ .+|ccc_[a-z0-9_]+(?:\{[a-z]+="[A-Za-z0-9_.+-]*"(?:,[a-z]+="[A-Za-z0-9_.+-]*")*\})? -?[0-9.e+-]+)$/;

describe('metrics', () => {
  it('are written as Prometheus reads them', () => {
    const metrics = new Metrics();
    expect(metrics.text()).toBe('');
    metrics.add('ccc_jobs_total', { state: 'accepted' });
    metrics.add('ccc_jobs_total', { state: 'accepted' }, 2);
    metrics.add('ccc_jobs_total', { state: 'failed' });
    metrics.set('ccc_due_jobs', 7);
    expect(metrics.text()).toBe([
      `# HELP ccc_jobs_total ${METRICS.ccc_jobs_total.help}`, '# TYPE ccc_jobs_total counter', 'ccc_jobs_total{state="accepted"} 3', 'ccc_jobs_total{state="failed"} 1',
      `# HELP ccc_due_jobs ${METRICS.ccc_due_jobs.help}`, '# TYPE ccc_due_jobs gauge', 'ccc_due_jobs 7', '',
    ].join('\n'));
  });

  it('count a time in every bucket that is at least as long', () => {
    const metrics = new Metrics();
    for (const seconds of [0.01, 0.3, 60]) metrics.observe('ccc_release_seconds', seconds);
    const of = (le: string) => Number(new RegExp(`_bucket\\{le="${le.replace('+', '\\+')}"\\} (\\d+)`).exec(metrics.text())?.[1]);
    expect(BUCKETS.map((bound) => of(String(bound)))).toEqual(BUCKETS.map((bound) => [0.01, 0.3, 60].filter((s) => s <= bound).length));
    expect(of('+Inf')).toBe(3);
    expect(metrics.text()).toMatch(/^ccc_release_seconds_sum 60\.31$/m);
    expect(metrics.text()).toMatch(/^ccc_release_seconds_count 3$/m);
  });

  it('show no gauge that is not known', () => {
    const metrics = new Metrics();
    metrics.set('ccc_replication_lag_seconds', 3, { peer: 'aws-prod' });
    metrics.set('ccc_replication_lag_seconds', 4, { peer: 'gcp-prod' });
    metrics.set('ccc_replication_lag_seconds', undefined, { peer: 'aws-prod' });
    metrics.set('ccc_replication_lag_seconds', Number.NaN, { peer: 'gcp-prod' });
    expect(metrics.text()).toBe('');
  });

  it('never go down, and take no nonsense', () => {
    const metrics = new Metrics();
    metrics.add('ccc_releases_total', {}, 2);
    for (const by of [-1, Number.NaN, Number.POSITIVE_INFINITY, 0]) metrics.add('ccc_releases_total', {}, by);
    for (const seconds of [-1, Number.NaN]) metrics.observe('ccc_release_seconds', seconds);
    expect(metrics.values()).toEqual([{ name: 'ccc_releases_total', labels: {}, value: 2 }]);
  });

  it('stay one well-formed text of bounded size, whatever labels come', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.constantFrom(...NAMES), fc.string(), fc.float()), { maxLength: 50 }), (entries) => {
      const metrics = new Metrics();
      for (const [name, text, value] of entries) {
        const labels = { state: text, code: text, listener: text, peer: text, check: text, event: text, tenant_id: 'acme' };
        if (METRICS[name].type === 'counter') metrics.add(name, labels, value);
        else if (METRICS[name].type === 'gauge') metrics.set(name, value, labels);
        else metrics.observe(name, value, labels);
      }
      const text = metrics.text();
      expect(text).not.toContain('acme');
      for (const line of text.split('\n').slice(0, -1)) expect(line).toMatch(LINE);
    }), { numRuns: 200 });
    const many = new Metrics();
    for (let n = 0; n < 5_000; n++) many.add('ccc_events_total', { event: `event-${n}` });
    expect(many.values().length).toBeLessThanOrEqual(513);
    expect(many.values().reduce((sum, { value }) => sum + value, 0)).toBe(5_000);
  });

  it('name nobody: no label could hold a tenant, a job, a key or a count of cats', () => {
    for (const name of NAMES) {
      expect(name).not.toMatch(/_cats?(?:_|$)|tenant|cost/);
      expect(['state', 'code', 'listener', 'peer', 'check', 'event']).toEqual(expect.arrayContaining([...METRICS[name].labels]));
    }
    expect(pushedName('ccc_due_jobs')).toBe('ccc/due_jobs');
  });
});

describe('a log that is counted', () => {
  it('counts events, refusals and releases, and writes what it wrote before', () => {
    const lines: string[] = [];
    const metrics = new Metrics();
    const log = meteredLog(createLog('broker', { write: (line) => void lines.push(line) }), metrics);
    log.info('release', { count_jobs: 5, codes: ['ZONE_DENIED', 'NOT_FOUND'], tenant_id: 'CANARY', session: 'CANARY' });
    log.warn('request-refused', { code: 'ZONE_DENIED', where: 'CANARY' });
    log.error('CANARY of a picture: 3 cats', { where: 'CANARY' });
    expect(lines).toHaveLength(3);
    expect(lines[0]).toContain('"event":"release"');
    expect(metrics.values()).toEqual([
      { name: 'ccc_events_total', labels: { event: 'release' }, value: 1 }, { name: 'ccc_events_total', labels: { event: 'request-refused' }, value: 1 }, { name: 'ccc_events_total', labels: { event: 'other' }, value: 1 },
      { name: 'ccc_refusals_total', labels: { code: 'ZONE_DENIED' }, value: 2 },
      { name: 'ccc_releases_total', labels: {}, value: 3 },
    ]);
    expect(metrics.text()).not.toContain('CANARY');
  });
});

describe('the listener of health and metrics', () => {
  let close = async (): Promise<void> => {};
  afterEach(() => close());
  async function start(options: Partial<MetricsServerOptions> = {}): Promise<number> {
    const server = metricsServer({ metrics: new Metrics(), ready: () => true, ...options });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    close = async () => { server.closeAllConnections(); await new Promise((resolve) => server.close(resolve)); };
    return (server.address() as AddressInfo).port;
  }
  const get = (port: number, path: string, init: RequestInit = {}) => fetch(`http://127.0.0.1:${port}${path}`, init);

  it.each<[string, () => boolean | Promise<boolean>, number]>([
    ['ready', () => true, 200], ['not ready', () => false, 503], ['cannot say', () => { throw new Error('CANARY'); }, 503], ['later', async () => false, 503], ['fails later', async () => Promise.reject(new Error('CANARY')), 503],
  ])('is alive whatever it is: %s', async (_, ready, status) => {
    const port = await start({ ready });
    expect((await get(port, '/v1/live')).status).toBe(200);
    const health = await get(port, '/v1/health');
    expect(health.status).toBe(status);
    expect(await health.text()).not.toContain('CANARY');
  });

  it('brings gauges up to date once for many readers, and shows the rest when it cannot', async () => {
    const metrics = new Metrics();
    let asked = 0;
    let open = () => {};
    const gate = new Promise<void>((resolve) => { open = resolve; });
    const port = await start({ metrics, collect: async () => { asked++; await gate; metrics.set('ccc_due_jobs', asked); if (asked > 1) throw new Error('CANARY'); } });
    const readers = Promise.all(Array.from({ length: 5 }, () => get(port, '/metrics').then((r) => r.text())));
    await expect.poll(() => asked).toBe(1);
    open();
    for (const text of await readers) expect(text).toContain('ccc_due_jobs');
    const last = await get(port, '/metrics');
    expect([last.status, last.headers.get('content-type')]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    expect(await last.text()).not.toContain('CANARY');
  });

  it.each(['/', '/v1/health/', '/metrics?x', '/constructor', '/__proto__', '//metrics'])('knows nothing else: %s', async (path) => {
    expect((await get(await start(), path)).status).toBe(404);
  });

  it('takes no bodies and no other methods', async () => {
    const port = await start();
    for (const method of ['POST', 'PUT', 'DELETE', 'HEAD']) expect((await get(port, '/metrics', { method })).status).toBe(405);
    expect((await get(port, '/metrics', { method: 'POST', body: 'x'.repeat(100_000) })).status).toBe(405);
    const socket = connect(port, '127.0.0.1');
    const over = new Promise<string>((resolve) => { let all = ''; socket.on('data', (d) => { all += String(d); }).on('close', () => resolve(all)).on('error', () => {}); });
    socket.write('\x16\x03\x01nonsense\r\n\r\n');
    expect(await over).toBe('');
    expect((await get(port, '/v1/live')).status).toBe(200);
  });

  it('reads its address strictly, and is not there without one', async () => {
    expect(metricsAddress('gateway.ccc.internal:8446')).toEqual({ host: 'gateway.ccc.internal', port: 8446 });
    expect(metricsAddress('[::1]:8446')).toEqual({ host: '::1', port: 8446 });
    for (const none of [undefined, '']) expect(await serveMetrics({ metrics: new Metrics(), ready: () => true }, none)).toBeUndefined();
    for (const wrong of ['8446', 'host', 'host:', 'host:0', 'host:65536', 'http://host:1', 'a b:1', ':1']) expect(() => metricsAddress(wrong)).toThrow('METRICS_ADDRESS is HOST:PORT');
    const port = await start();
    await expect(serveMetrics({ metrics: new Metrics(), ready: () => true }, `127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});

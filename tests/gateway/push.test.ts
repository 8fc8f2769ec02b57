import { describe, expect, it } from 'vitest';
import { pusher } from '../../workloads/gateway/push.ts';
import { Metrics } from '../../workloads/protocol/metrics.ts';

const NOW = Date.UTC(2026, 10, 24, 12);
const INSIGHTS = 'InstrumentationKey=00000000-0000-4000-8000-000000000001;IngestionEndpoint=https://westeurope.in.example/;LiveEndpoint=https://live.example/';
interface Sent { readonly url: string; readonly authorization: string | null; readonly body: any }

function world(env: Record<string, string>, status: () => number = () => 200) {
  const metrics = new Metrics();
  const sent: Sent[] = [];
  let collected = 0;
  const fetch_ = async (url: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    if (String(url).startsWith('http://169.254.169.254/')) return Response.json({ access_token: String(url).includes('monitor.azure.com') ? 'SECRET-azure' : 'SECRET-google', expires_in: 3_600 });
    sent.push({ url: String(url), authorization: new Headers(init.headers).get('authorization'), body: JSON.parse(Buffer.from(init.body as Uint8Array).toString()) });
    return new Response('SECRET', { status: status() });
  };
  const push = pusher({ metrics, collect: async () => { collected++; }, instance: 'gateway-1', around: { env, fetch: fetch_ as typeof fetch, now: () => NOW, sleep: async () => {}, random: () => 0 } });
  return { metrics, sent, push, collected: () => collected };
}

it('sends nothing where nothing is set', () => {
  expect(world({}).push).toBeUndefined();
  expect(world({ METRICS_PUSH: '', APPLICATIONINSIGHTS_CONNECTION_STRING: '' }).push).toBeUndefined();
});

describe('Application Insights', () => {
  const env = { APPLICATIONINSIGHTS_CONNECTION_STRING: INSIGHTS };
  const figures = ({ body }: Sent) => body.map((each: any) => [each.data.baseData.metrics[0].name, each.data.baseData.metrics[0].value, each.data.baseData.properties]);

  it('gets gauges as they are and counters as what they grew by', async () => {
    const { metrics, sent, push, collected } = world(env);
    metrics.set('ccc_due_jobs', 7);
    metrics.add('ccc_refusals_total', { code: 'ZONE_DENIED' }, 3);
    await push!();
    metrics.add('ccc_refusals_total', { code: 'ZONE_DENIED' }, 2);
    await push!();
    await push!();
    expect(sent.map(figures)).toEqual([
      [['ccc/due_jobs', 7, {}], ['ccc/refusals_total', 3, { code: 'ZONE_DENIED' }]],
      [['ccc/due_jobs', 7, {}], ['ccc/refusals_total', 2, { code: 'ZONE_DENIED' }]],
      [['ccc/due_jobs', 7, {}]],
    ]);
    expect(collected()).toBe(3);
    expect(sent[0]).toMatchObject({
      url: 'https://westeurope.in.example/v2.1/track', authorization: 'Bearer SECRET-azure',
      body: [{ name: 'Microsoft.ApplicationInsights.Metric', time: '2026-11-24T12:00:00.000Z', iKey: '00000000-0000-4000-8000-000000000001', tags: { 'ai.cloud.roleInstance': 'gateway-1' }, data: { baseType: 'MetricData', baseData: { ver: 2, metrics: [{ count: 1 }] } } }, {}],
    });
  });

  it.each([206, 400, 401, 429, 503])('sends again what was not taken, and says no secret: %i', async (code) => {
    let status = code;
    const { metrics, sent, push } = world(env, () => status);
    metrics.add('ccc_jobs_total', { state: 'accepted' }, 4);
    const error = await push!().catch((e: unknown) => e as Error);
    expect(error).toMatchObject({ name: 'MetricsNotTaken', code: `HTTP_${code}` });
    expect(JSON.stringify([error, (error as Error).stack])).not.toContain('SECRET');
    status = 200;
    metrics.add('ccc_jobs_total', { state: 'accepted' }, 1);
    await push!();
    expect(figures(sent[1]!)).toEqual([['ccc/jobs_total', 5, { state: 'accepted' }]]);
  });

  it.each(['nothing', 'InstrumentationKey=x;IngestionEndpoint=https://a.example', INSIGHTS.replace('https://west', 'http://west'), INSIGHTS.split(';')[0]!])('does not start with %s', (text) => {
    expect(() => world({ APPLICATIONINSIGHTS_CONNECTION_STRING: text })).toThrow(/^APPLICATIONINSIGHTS_CONNECTION_STRING needs InstrumentationKey and an https IngestionEndpoint$/);
  });
});

describe('Cloud Monitoring', () => {
  it('gets what all gateways see alike, in one series for all', async () => {
    const { metrics, sent, push } = world({ METRICS_PUSH: 'google:ccc-prod-1' });
    await push!();
    expect(sent).toEqual([]);
    metrics.set('ccc_oldest_due_seconds', 12.5);
    metrics.set('ccc_replication_lag_seconds', 2, { peer: 'aws-prod' });
    metrics.set('ccc_release_p99_seconds', 1);
    metrics.add('ccc_jobs_total', { state: 'accepted' });
    await push!();
    const series = (name: string, value: number, labels = {}) => ({ metric: { type: `custom.googleapis.com/ccc/${name}`, labels }, resource: { type: 'global', labels: { project_id: 'ccc-prod-1' } }, points: [{ interval: { endTime: '2026-11-24T12:00:00.000Z' }, value: { doubleValue: value } }] });
    expect(sent).toEqual([{ url: 'https://monitoring.googleapis.com/v3/projects/ccc-prod-1/timeSeries', authorization: 'Bearer SECRET-google', body: { timeSeries: [series('oldest_due_seconds', 12.5), series('replication_lag_seconds', 2, { peer: 'aws-prod' })] } }]);
  });

  it('a gateway that cannot write says so, without what it was told', async () => {
    const { metrics, push } = world({ METRICS_PUSH: 'google:ccc-prod-1' }, () => 403);
    metrics.set('ccc_due_jobs', 1);
    const error = await push!().catch((e: unknown) => e as Error);
    expect(error).toMatchObject({ code: 'HTTP_403' });
    expect(JSON.stringify([error, (error as Error).stack])).not.toContain('SECRET');
  });

  it.each(['google', 'google:', 'google:UPPER', 'google:a/b', 'aws:x'])('does not start with %s', (text) => {
    expect(() => world({ METRICS_PUSH: text })).toThrow('METRICS_PUSH is google:PROJECT');
  });
});

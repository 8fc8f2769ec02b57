/**
 * Metrics for clouds whose autoscalers and alerts do not read Prometheus: once a minute a gateway sends what it has.
 *
 * | setting | where to | what |
 * |---|---|---|
 * | `APPLICATIONINSIGHTS_CONNECTION_STRING` | Application Insights, `v2.1/track`, as the machine's identity | gauges, and counters as what they grew by |
 * | `METRICS_PUSH=google:PROJECT` | Cloud Monitoring, `projects.timeSeries.create`, as the service account | gauges that all gateways see alike: one series, whoever writes it |
 *
 * Sources: "Microsoft Entra authentication for Application Insights"; Cloud Monitoring API v3, "Creating custom metrics with the API".
 */
import { z } from 'zod';
import { type Answer, once, type Surroundings } from '../ledger/stores/http.ts';
import { azureToken, googleToken } from '../ledger/stores/tokens.ts';
import { type Labels, type MetricName, METRICS, type Metrics, pushedName } from '../protocol/metrics.ts';

export const PUSH_MS = 60_000;
const SEND_MS = 10_000;
/** Of the ledger and of replication, not of one gateway. */
const SHARED: ReadonlySet<MetricName> = new Set(['ccc_due_jobs', 'ccc_oldest_due_seconds', 'ccc_replication_lag_seconds', 'ccc_replication_alarms']);

export interface PushOptions {
  readonly metrics: Metrics;
  readonly collect: () => Promise<void>;
  readonly around: Surroundings;
  /** Names this process among others. */
  readonly instance: string;
}
interface Point { readonly name: MetricName; readonly labels: Labels; readonly value: number }

class NotTaken extends Error {
  override readonly name = 'MetricsNotTaken';
  readonly code: string;

  constructor({ status }: Answer) {
    super('Metrics were not taken.');
    this.code = `HTTP_${status}`;
  }
}

/** What to call once a minute; `undefined`: nothing is set. @throws Error for a setting that cannot be read */
export function pusher(options: PushOptions): (() => Promise<void>) | undefined {
  const { env } = options.around;
  const insights = env['APPLICATIONINSIGHTS_CONNECTION_STRING'];
  const push = env['METRICS_PUSH'];
  if (push !== undefined && push !== '') return google(options, push);
  if (insights !== undefined && insights !== '') return azure(options, insights);
  return undefined;
}

async function send(url: string, token: string, body: unknown, fetch_: typeof fetch): Promise<Answer> {
  const answer = await once({ method: 'POST', url, headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body: new TextEncoder().encode(JSON.stringify(body)) }, fetch_, SEND_MS);
  if (answer.status !== 200) throw new NotTaken(answer);
  return answer;
}

function azure({ metrics, collect, around, instance }: PushOptions, connection: string): () => Promise<void> {
  const settings = Object.fromEntries(connection.split(';').filter((part) => part.includes('=')).map((part) => [part.slice(0, part.indexOf('=')).trim().toLowerCase(), part.slice(part.indexOf('=') + 1).trim()]));
  const read = z.object({ instrumentationkey: z.guid(), ingestionendpoint: z.url({ protocol: /^https$/ }) }).safeParse(settings);
  if (!read.success) throw new Error('APPLICATIONINSIGHTS_CONNECTION_STRING needs InstrumentationKey and an https IngestionEndpoint');
  const { instrumentationkey: iKey, ingestionendpoint } = read.data;
  const token = azureToken(around, 'https://monitor.azure.com/');
  const sent = new Map<string, number>();
  const keyOf = ({ name, labels }: Point): string => `${name} ${JSON.stringify(labels)}`;

  return async () => {
    await collect();
    const all: Point[] = metrics.values();
    const grown = all.map((point) => (METRICS[point.name].type === 'counter' ? { ...point, value: point.value - (sent.get(keyOf(point)) ?? 0) } : point)).filter(({ name, value }) => METRICS[name].type !== 'counter' || value > 0);
    if (grown.length === 0) return;
    const time = new Date(around.now()).toISOString();
    await send(`${ingestionendpoint.replace(/\/$/, '')}/v2.1/track`, await token(false), grown.map(({ name, labels, value }) => ({
      name: 'Microsoft.ApplicationInsights.Metric', time, iKey, tags: { 'ai.cloud.role': 'gateway', 'ai.cloud.roleInstance': instance },
      data: { baseType: 'MetricData', baseData: { ver: 2, metrics: [{ name: pushedName(name), value, count: 1 }], properties: labels } },
    })), around.fetch);
    // Only now: what was not taken is in the next one.
    for (const point of all) if (METRICS[point.name].type === 'counter') sent.set(keyOf(point), point.value);
  };
}

function google({ metrics, collect, around }: PushOptions, setting: string): () => Promise<void> {
  const project = /^google:([a-z][a-z0-9-]{4,28}[a-z0-9])$/.exec(setting)?.[1];
  if (project === undefined) throw new Error('METRICS_PUSH is google:PROJECT');
  const token = googleToken(around);
  return async () => {
    await collect();
    const points = metrics.values().filter(({ name }) => SHARED.has(name));
    if (points.length === 0) return;
    const endTime = new Date(around.now()).toISOString();
    await send(`https://monitoring.googleapis.com/v3/projects/${project}/timeSeries`, await token(false), {
      timeSeries: points.map(({ name, labels, value }) => ({
        metric: { type: `custom.googleapis.com/${pushedName(name)}`, labels }, resource: { type: 'global', labels: { project_id: project } }, points: [{ interval: { endTime }, value: { doubleValue: value } }],
      })),
    }, around.fetch);
  };
}

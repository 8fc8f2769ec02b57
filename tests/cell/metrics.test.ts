/** Health and metrics of a real cell's processes, while a picture goes through, with its ciphertext in an object store where one is installed. */
import { randomBytes } from 'node:crypto';
import { type AddressInfo, createServer } from 'node:net';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { resumeJob } from '../../workloads/client/count.ts';
import { openStore } from '../../workloads/ledger/stores/open.ts';
import { METRICS, type MetricName } from '../../workloads/protocol/metrics.ts';
import { here, startStore, type StoreEngine } from '../ledger/stores/engines.ts';
import { clientOf, processOf, type TestCell, testCell } from './harness.ts';

let cell: TestCell;
let store: StoreEngine | undefined;
let first: number;

async function threePorts(): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const others = [1, 2].map((n) => { const other = createServer(); return new Promise<boolean>((resolve) => { other.once('error', () => resolve(false)).listen(port + n, '127.0.0.1', () => other.close(() => resolve(true))); }); });
    const free = (await Promise.all(others)).every(Boolean);
    await new Promise((resolve) => server.close(resolve));
    if (free) return port;
  }
  throw new Error('no three ports in a row');
}

beforeAll(async () => {
  first = await threePorts();
  process.env['METRICS_ADDRESS'] = `127.0.0.1:${first}`;
  if (here('gs')) {
    store = await startStore('gs');
    Object.assign(process.env, store.env, { STORE_URL: await store.bucket() });
  }
  cell = await testCell(1);
});
afterAll(async () => {
  await cell?.close();
  await store?.stop();
});

const ask = (n: number, path: string) => fetch(`http://127.0.0.1:${first + n}${path}`);
/** In the order of start: gateway's, broker's, counter's. */
const metricsOf = async (n: number) => {
  const text = await (await ask(n, '/metrics')).text();
  return { text, value: (series: string) => Number(new RegExp(`^${series.replace(/[{}"]/g, '\\$&')} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN) };
};

it('every process shows what it did, of the table, and nothing of whom', async () => {
  await expect.poll(() => ask(2, '/v1/health').then(({ status }) => status)).toBe(200);
  for (const n of [0, 1, 2]) for (const path of ['/v1/live', '/v1/health']) expect((await ask(n, path)).status, `${n} ${path}`).toBe(200);

  const picture = new Uint8Array(await sharp(randomBytes(64 * 64 * 3), { raw: { width: 64, height: 64, channels: 3 } }).png().toBuffer());
  const client = clientOf(cell);
  const { jobId, message } = await client.prepare(picture, await client.manifest());
  await client.api.submit(message);
  expect(await resumeJob({ ...client, jobId })).toMatchObject({ outcome: 'completed' });

  if (store !== undefined) {
    const stored = await openStore({ url: process.env['STORE_URL'], folder: '/nowhere', around: { env: store.env } });
    expect(await stored.list()).toHaveLength(1);
  }

  const [gateway, broker, counter] = await Promise.all([0, 1, 2].map(metricsOf));
  expect(gateway!.value('ccc_jobs_total{state="accepted"}')).toBe(1);
  expect(gateway!.value('ccc_jobs_total{state="completed"}')).toBe(1);
  expect(gateway!.value('ccc_releases_total')).toBe(1);
  expect(gateway!.value('ccc_release_seconds_count')).toBeGreaterThanOrEqual(1);
  expect(gateway!.value('ccc_due_jobs')).toBe(0);
  expect(gateway!.value('ccc_check{check="store"}')).toBe(1);
  expect(broker!.value('ccc_releases_total')).toBe(1);
  expect(counter!.value('ccc_events_total{event="counted"}')).toBe(1);
  expect(counter!.value('ccc_session_live')).toBe(1);
  for (const [n, role] of (['gateway', 'broker', 'counter'] as const).entries()) {
    const { text } = [gateway!, broker!, counter!][n]!;
    for (const [, name] of text.matchAll(/^# TYPE (\S+)/gm)) expect(METRICS[name as MetricName].by, name).toContain(role);
    for (const secret of [jobId, cell.tenant, cell.zone, cell.apiKey.split('_')[2]!]) expect(text).not.toMatch(new RegExp(`["{=]${secret}`));
  }
});

it('a counter without its broker is alive', async () => {
  await processOf(cell, 'broker').stop();
  expect((await ask(2, '/v1/live')).status).toBe(200);
  await expect.poll(() => ask(0, '/v1/health').then(({ status }) => status)).toBe(503);
  expect((await ask(0, '/v1/live')).status).toBe(200);
});

/** Whatever is missing in a real cell, the answer is a refusal with a code or a job that waits: never a key, never a result. */
import { cp, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { admin } from '../../scripts/cell/admin.ts';
import { at } from '../../scripts/cell/folder.ts';
import { prepareCell } from '../../scripts/cell/prepare.ts';
import { supervise } from '../../scripts/cell/supervise.ts';
import { resumeJob } from '../../workloads/client/count.ts';
import type { VerifiedManifest } from '../../workloads/client/manifest.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { origin } from '../../workloads/protocol/cell.ts';
import { verifyPolicy } from '../../workloads/protocol/documents.ts';
import { importSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { measureRole, ROOT } from '../../workloads/protocol/measure.ts';
import { POLICY_TYPE } from '../../workloads/protocol/owner.ts';
import { clientOf, logOf, processOf, type TestCell, testCell, type TestClient } from './harness.ts';
import { until } from './processes.ts';

const WITHIN_MS = 90_000;
/** That often a counter has tried in vain before a job counts as waiting. */
const TRIES = 2;
const silent = createLog('test', { write: () => {} });

describe('a cell in which something is missing', () => {
  let cell: TestCell;
  let client: TestClient;
  /** Asks once. */
  let blunt: TestClient;
  let manifest: VerifiedManifest;
  let picture: Uint8Array;
  let database: pg.Client;

  beforeAll(async () => {
    const [started, pictures] = await Promise.all([testCell(1), demoPictures()]);
    cell = started;
    client = clientOf(cell, { attempts: 100, sleep: (ms) => new Promise((done) => setTimeout(done, Math.min(ms, 200))) });
    blunt = clientOf(cell, { attempts: 1 });
    manifest = await client.manifest();
    picture = new Uint8Array(pictures.find((p) => p.file === 'cat-view-11.png')?.bytes as Uint8Array);
    database = new pg.Client({ connectionString: cell.databaseUrl });
    await database.connect();
  });
  afterAll(async () => {
    await database?.end();
    await cell?.close();
  });

  const submit = async () => {
    const { jobId, message } = await client.prepare(picture, manifest);
    expect((await client.api.submit(message)).state).toBe('accepted');
    return jobId;
  };

  /** Neither key nor result, ever: what the ledger has says so. */
  async function expectNothing(jobId: string): Promise<void> {
    const { rows: [job] } = await database.query(`select state, (select count(*)::int from results r where r.job_id = j.job_id) as results,
      (select count(*)::int from receipts r where r.job_id = j.job_id) as receipts, (select count(*)::int from job_events e where e.job_id = j.job_id and e.event in ('released', 'counted')) as events
      from jobs j where job_id = $1`, [jobId]);
    expect(['accepted', 'leased']).toContain(job.state);
    expect(job).toMatchObject({ results: 0, receipts: 0, events: 0 });
  }

  async function expectCounted(jobId: string): Promise<void> {
    const { outcome, counted } = await resumeJob({ ...client, jobId });
    expect([outcome, counted]).toEqual(['completed', 1]);
  }

  /** Waits until the counter's log since then says so often enough. */
  async function triedInVain(name: string, since: number, code: string): Promise<void> {
    const tries = async () => (await logOf(cell, name)).slice(since).filter((line) => line['event'] === 'lease-failed' && line['code'] === code).length;
    await until(`${name} tried in vain: ${code}`, WITHIN_MS, async () => (await tries()) >= TRIES, 50).catch(async (cause: unknown) => {
      throw new Error(`${JSON.stringify((await logOf(cell, name)).slice(since), undefined, 1)}\n${await cell.logs()}`, { cause });
    });
  }

  it('broker down: the job waits and says why, nobody gets a manifest; broker back: it is counted', async () => {
    await processOf(cell, 'broker').stop();
    const since = (await logOf(cell, 'counter-1')).length;
    const jobId = await submit();
    await expect(blunt.manifest()).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE', status: 503 });
    await triedInVain('counter-1', since, 'BROKER_UNAVAILABLE');
    await expectNothing(jobId);
    const health = async () => fetch(`${cell.url}/v1/health`).then(async (answer) => ({ status: answer.status, checks: (await answer.json() as { checks: object }).checks }));
    // An answer is good for a moment.
    await until('the health of before has passed', WITHIN_MS, async () => (await health()).status !== 200, 100);
    expect(await health()).toEqual({ status: 503, checks: { ledger: 'ok', broker: 'failing', store: 'ok', policy: 'ok' } });
    processOf(cell, 'broker').start();
    await expectCounted(jobId);
  });

  it('a counter with one line changed: its evidence is refused with MEASUREMENT_MISMATCH and it gets nothing; the job waits for a counter of the policy', async () => {
    const tree = await mkdtemp(join(tmpdir(), 'ccc-tree-'));
    try {
      for (const part of ['attestation', 'workloads', 'package.json', 'package-lock.json']) await cp(join(ROOT, part), join(tree, part), { recursive: true });
      await cp(join(ROOT, '.cache', 'models'), join(tree, '.cache', 'models'), { recursive: true });
      await symlink(await realpath(join(ROOT, 'node_modules')), join(tree, 'node_modules'));
      // The very same tree is the same measurement, wherever it lies.
      expect(await measureRole('counter', tree)).toEqual(await measureRole('counter'));
      const changed = join(tree, 'workloads', 'counter', 'workload.ts');
      await writeFile(changed, `${await readFile(changed, 'utf8')}\n// One line more.\n`);
      expect((await measureRole('counter', tree)).PCR0).not.toBe((await measureRole('counter')).PCR0);

      await processOf(cell, 'counter-1').stop();
      const stranger = supervise({ name: 'counter-9', script: 'workloads/counter/main.ts', args: ['--data', cell.folder, '--name', 'counter-9'] }, cell.folder, silent, tree);
      try {
        const jobId = await submit();
        await triedInVain('counter-9', 0, 'MEASUREMENT_MISMATCH');
        await expectNothing(jobId);
        expect((await logOf(cell, 'broker')).filter((line) => line['code'] === 'MEASUREMENT_MISMATCH' && line['route'] === '/v1/attest').length).toBeGreaterThanOrEqual(TRIES);
        expect((await logOf(cell, 'counter-9')).some((line) => line['event'] === 'attested')).toBe(false);
        processOf(cell, 'counter-1').start();
        await expectCounted(jobId);
      } finally {
        await stranger.stop();
      }
    } finally {
      await rm(tree, { recursive: true, force: true });
    }
  });

  it('policy expired: no manifest, no acceptance, no work for what was accepted before; a new revision sets it going', async () => {
    const key = await importSigningKey(JSON.parse(await readFile(at(cell.folder).ownerKey, 'utf8')) as JsonWebKey);
    const now = () => Math.floor(Date.now() / 1000);
    const { policy } = await verifyPolicy((await readFile(at(cell.folder).policy, 'utf8')).trim(), cell.ownerKey, now());
    const put = async (revision: number, notAfter: number) => admin<{ revision: number }>(cell.folder, 'PUT', '/policy', { policy: await signJws(POLICY_TYPE, { ...policy, revision, notAfter }, key) });

    await processOf(cell, 'counter-1').stop();
    const waiting = await submit();
    const late = await client.prepare(picture, manifest);
    expect(await put(policy.revision + 1, now() + 2)).toEqual({ revision: policy.revision + 1 });
    await until('the policy has expired', WITHIN_MS, () => blunt.manifest().then(() => false, (error: { code: string }) => error.code === 'POLICY_EXPIRED'), 100);
    await expect(blunt.api.submit(late.message)).rejects.toMatchObject({ code: 'POLICY_EXPIRED' });
    await expect(put(policy.revision + 2, now() - 1)).rejects.toMatchObject({ code: 'POLICY_EXPIRED' });
    const since = (await logOf(cell, 'counter-1')).length;
    processOf(cell, 'counter-1').start();
    // It was not told any policy, because the one there is has expired; without one it does nothing.
    await triedInVain('counter-1', since, 'POLICY_MISSING');
    expect((await logOf(cell, 'counter-1')).slice(since).some((line) => line['event'] === 'policy-not-refreshed' && line['code'] === 'POLICY_EXPIRED')).toBe(true);
    await expectNothing(waiting);
    expect((await database.query('select 1 from jobs where job_id = $1', [late.jobId])).rows).toEqual([]);

    expect(await put(policy.revision + 2, policy.notAfter)).toEqual({ revision: policy.revision + 2 });
    await expectCounted(waiting);
    await client.api.submit(late.message);
    await expectCounted(late.jobId);
  });

  it('policy missing: a gateway without one is not ready, its broker gives no challenge and makes no key', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ccc-lacking-'));
    const { cell: lacking } = await prepareCell(folder, { name: 'lacking' });
    await rm(at(folder).policy);
    await database.query('create database lacking');
    const url = new URL(cell.databaseUrl);
    url.pathname = '/lacking';
    const processes = [
      supervise({ name: 'gateway', script: 'workloads/gateway/main.ts', args: ['--data', folder], env: { DATABASE_URL: url.href } }, folder, silent),
      supervise({ name: 'broker', script: 'workloads/broker/main.ts', args: ['--data', folder] }, folder, silent),
    ];
    try {
      const health = await until('the gateway answers', WITHIN_MS, () => fetch(`${origin(lacking.gateway.public)}/v1/health`).catch(() => undefined), 100);
      expect([health.status, (await health.json() as { checks: { policy: string; ledger: string } }).checks]).toMatchObject([503, { ledger: 'ok', policy: 'failing' }]);
      await expect(admin(folder, 'POST', '/tenants', { id: 'acme', zone: 'local' })).rejects.toMatchObject({ code: 'POLICY_MISSING' });
      const ask = (path: string, body: object) => fetch(`${origin(lacking.broker)}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
      const challenge = await until('the broker answers', WITHIN_MS, () => ask('/v1/challenge', { role: 'counter', platform: 'aws-nitro' }).catch(() => undefined), 100);
      const keys = await ask('/v1/tenant-keys', { tenant_id: 'acme', zone: 'local' });
      expect([challenge.status, keys.status]).toEqual([503, 503]);
      expect((await challenge.json() as { code: string }).code).toBe('POLICY_MISSING');
      const stored = new pg.Client({ connectionString: url.href });
      await stored.connect();
      expect((await stored.query('select (select count(*)::int from tenants) as tenants, (select count(*)::int from tenant_keys) as keys, (select count(*)::int from policies) as policies')).rows)
        .toEqual([{ tenants: 0, keys: 0, policies: 0 }]);
      await stored.end();
    } finally {
      await Promise.all(processes.map((p) => p.stop()));
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** How a cell ends, and that it starts again: Ctrl-C, a stop under load, and kill -9 of the supervisor leave no process behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { addKey, addTenant } from '../../scripts/cell/admin.ts';
import { at } from '../../scripts/cell/folder.ts';
import { startCell } from '../../scripts/cell/start.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { ROOT } from '../../workloads/protocol/measure.ts';
import { clientOf, type TestCell, testCell } from './harness.ts';
import { descendants, lives, processesOn, until } from './processes.ts';

/** It takes about a second on a quiet machine; this one may be shared. */
const SOON_MS = 4_000;
const silent = createLog('test', { write: () => {} });
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (let next = cleanups.pop(); next !== undefined; next = cleanups.pop()) await next();
});

interface Ccc { readonly process: ChildProcess; readonly pid: number; out(): string; errors(): string; readonly exit: Promise<number | NodeJS.Signals | null> }

function ccc(args: string[], env: Record<string, string> = {}): Ccc {
  const child = spawn(process.execPath, ['scripts/ccc.ts', ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const said = { out: '', errors: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => { said.out += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { said.errors += text; });
  const exit = new Promise<number | NodeJS.Signals | null>((done) => child.once('exit', (code, signal) => done(code ?? signal)));
  cleanups.push(async () => { child.kill('SIGKILL'); await exit; });
  return { process: child, pid: child.pid as number, out: () => said.out, errors: () => said.errors, exit };
}

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'ccc-life-'));
  cleanups.push(async () => {
    await until(`no process on ${made}`, 15_000, () => processesOn(made).length === 0, 50);
    await rm(made, { recursive: true, force: true });
  });
  return made;
}

interface Facts { readonly url: string; readonly pids: Record<string, number> }
const started = async (cell: Ccc): Promise<Facts> => JSON.parse(await until('the cell is up', 60_000, () => (cell.process.exitCode === null ? cell.out().trimEnd().endsWith('}') && cell.out() : cell.errors()), 50)) as Facts;

/** gateway, broker, one counter and its sandbox, PostgreSQL's server and its own processes. */
async function family(pid: number, facts: Facts): Promise<number[]> {
  expect(Object.keys(facts.pids)).toEqual(['gateway', 'broker', 'counter-1']);
  await until('the sandbox runs', 15_000, () => descendants(facts.pids['counter-1'] as number).length === 1);
  const all = descendants(pid);
  expect(all).toEqual(expect.arrayContaining(Object.values(facts.pids)));
  expect(all.length).toBeGreaterThan(6);
  return all;
}

describe('ccc up', () => {
  it('ends every process at Ctrl-C, within seconds; after kill -9 they end by themselves, and the next start goes on with the same data', async () => {
    const data = await folder();
    const args = ['up', '--data', data, '--counters', '1', '--json'];
    const picture = (await demoPictures()).find((p) => p.file === 'cat-view-11.png');

    const first = ccc(args);
    const before = await started(first);
    const all = await family(first.pid, before);
    await addTenant(data, 'acme', 'local');
    const { key } = await addKey(data, 'acme', ['jobs:write', 'jobs:read', 'keys:read']);

    const killed = performance.now();
    process.kill(first.pid, 'SIGKILL');
    expect(await first.exit).toBe('SIGKILL');
    await until('all are gone after kill -9 of the supervisor', 6_000, () => !all.some(lives) && processesOn(data).length === 0, 20);
    const orphanMs = performance.now() - killed;

    const second = ccc(args);
    const after = await started(second);
    expect(after.url).toBe(before.url);
    const again = await family(second.pid, after);
    // The tenant, its keys and the API key are still there.
    const ownerKey = new Uint8Array(Buffer.from((await readFile(at(data).ownerPublic, 'utf8')).trim(), 'base64url'));
    const client = clientOf({ url: after.url, apiKey: key, ownerKey, tenant: 'acme', zone: 'local', cell: { cell: 'local' } } as unknown as TestCell);
    const { message, jobId } = await client.prepare(picture?.bytes as Uint8Array, await client.manifest());
    expect((await client.api.submit(message)).job_id).toBe(jobId);

    const interrupted = performance.now();
    process.kill(second.pid, 'SIGINT');
    expect(await second.exit).toBe(0);
    const stopMs = performance.now() - interrupted;
    expect(again.filter(lives)).toEqual([]);
    expect(processesOn(data)).toEqual([]);
    expect(existsSync(at(data).running)).toBe(false);
    expect(stopMs).toBeLessThan(SOON_MS);
    console.info(`ended after kill -9 of the supervisor: ${orphanMs.toFixed(0)} ms; after Ctrl-C: ${stopMs.toFixed(0)} ms`);
  });
});

describe('a cell', () => {
  it('refuses a second one on its folder, and stops within seconds while it has work, a watcher and an upload that does not go on', async () => {
    const cell = await testCell(2);
    cleanups.push(() => cell.close());
    const config = await readFile(at(cell.folder).cell, 'utf8');
    const second = ccc(['up', '--data', cell.folder, '--json']);
    expect(await second.exit).not.toBe(0);
    expect(second.out() + second.errors()).toContain('CELL_RUNNING');
    await expect(startCell(cell.folder, { counters: 0, log: silent })).rejects.toMatchObject({ code: 'CELL_RUNNING' });
    // A start that only then refuses would have written other ports, and no process of the first cell could come back.
    expect(await readFile(at(cell.folder).cell, 'utf8')).toBe(config);

    const client = clientOf(cell, { attempts: 1 });
    const manifest = await client.manifest();
    const picture = (await demoPictures()).find((p) => p.file === 'three-cats.jpg')?.bytes as Uint8Array;
    const jobs = await Promise.all(Array.from({ length: 12 }, () => client.prepare(picture, manifest)));
    await Promise.all(jobs.map(({ message }) => client.api.submit(message)));
    const watching = (async () => { for await (const _ of client.api.events(jobs[11]?.jobId ?? '', 0)) { /* until it ends */ } })().catch(() => {});
    const half = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(1000)) });
    const stuck = fetch(`${cell.url}/v1/jobs`, { method: 'POST', body: half, duplex: 'half', headers: { authorization: `Bearer ${cell.apiKey}`, 'content-type': 'application/octet-stream' } } as RequestInit).then((r) => r.status, () => 'cut');
    await until('a job is counted', 20_000, async () => (await client.api.jobs()).some((job) => job.state === 'completed'));

    const began = performance.now();
    await cell.stop();
    const ms = performance.now() - began;
    await watching;
    expect(['cut', 400, 408, 503]).toContain(await stuck);
    expect(processesOn(cell.folder)).toEqual([]);
    expect(ms).toBeLessThan(SOON_MS);
    console.info(`stopped under load: ${ms.toFixed(0)} ms`);
  });
});

describe('ccc demo', () => {
  it('ends every process at Ctrl-C in the middle of counting and removes its folder', async () => {
    const temporary = await folder();
    const demo = ccc(['demo', '--json'], { TMPDIR: temporary });
    await until('it counts', 60_000, () => demo.process.exitCode !== null || /count/.test(demo.errors()) && descendants(demo.pid).length > 8);
    const all = descendants(demo.pid);
    process.kill(demo.pid, 'SIGINT');
    expect(await demo.exit).toBe(130);
    expect(all.filter(lives)).toEqual([]);
    expect(processesOn(temporary)).toEqual([]);
    expect((await readdir(temporary)).filter((name) => name.startsWith('ccc-demo-'))).toEqual([]);
  });
});

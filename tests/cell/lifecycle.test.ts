/** How a cell ends, and that it starts again: Ctrl-C, a stop under load, and kill -9 of the supervisor leave no process behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { addKey, addTenant } from '../../scripts/cell/admin.ts';
import { at } from '../../scripts/cell/folder.ts';
import { startCell } from '../../scripts/cell/start.ts';
import { KILLED, supervise } from '../../scripts/cell/supervise.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { ROOT } from '../../workloads/protocol/measure.ts';
import { clientOf, type TestCell, testCell } from './harness.ts';
import { descendants, lives, processesOn, until } from './processes.ts';

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
    await until(`no process on ${made}`, 60_000, () => processesOn(made).length === 0, 50);
    await rm(made, { recursive: true, force: true });
  });
  return made;
}

interface Facts { readonly url: string; readonly pids: Record<string, number> }
const started = async (cell: Ccc): Promise<Facts> => JSON.parse(await until('the cell is up', 60_000, () => (cell.process.exitCode === null ? cell.out().trimEnd().endsWith('}') && cell.out() : cell.errors()), 50)) as Facts;

/** gateway, broker, one counter and its sandbox, PostgreSQL's server and its own processes. */
async function family(pid: number, facts: Facts): Promise<number[]> {
  expect(Object.keys(facts.pids)).toEqual(['gateway', 'broker', 'counter-1']);
  await until('the sandbox runs', 60_000, () => descendants(facts.pids['counter-1'] as number).length === 1);
  const all = descendants(pid);
  expect(all).toEqual(expect.arrayContaining(Object.values(facts.pids)));
  expect(all.length).toBeGreaterThan(6);
  return all;
}

describe('ccc up', () => {
  it('ends every process at Ctrl-C; after kill -9 they end by themselves, and the next start goes on with the same data', async () => {
    const data = await folder();
    const args = ['up', '--data', data, '--counters', '1', '--json'];
    const picture = (await demoPictures()).find((p) => p.file === 'cat-view-11.png');

    const first = ccc(args);
    const before = await started(first);
    const all = await family(first.pid, before);
    await addTenant(data, 'acme', 'local');
    const { key } = await addKey(data, 'acme', ['jobs:write', 'jobs:read', 'keys:read']);

    process.kill(first.pid, 'SIGKILL');
    expect(await first.exit).toBe('SIGKILL');
    await until('all are gone after kill -9 of the supervisor', 60_000, () => !all.some(lives) && processesOn(data).length === 0, 20);

    const second = ccc(args);
    const after = await started(second);
    expect(after.url).toBe(before.url);
    const again = await family(second.pid, after);
    // The tenant, its keys and the API key are still there.
    const ownerKey = new Uint8Array(Buffer.from((await readFile(at(data).ownerPublic, 'utf8')).trim(), 'base64url'));
    const client = clientOf({ url: after.url, apiKey: key, ownerKey, tenant: 'acme', zone: 'local', cell: { cell: 'local' } } as unknown as TestCell);
    const { message, jobId } = await client.prepare(picture?.bytes as Uint8Array, await client.manifest());
    expect((await client.api.submit(message)).job_id).toBe(jobId);

    process.kill(second.pid, 'SIGINT');
    expect(await second.exit).toBe(0);
    expect(again.filter(lives)).toEqual([]);
    expect(processesOn(data)).toEqual([]);
    expect(existsSync(at(data).running)).toBe(false);
    expect(second.errors(), 'within the grace that each has').not.toContain(KILLED);
  });
});

describe('a cell', () => {
  it('refuses a second one on its folder, and stops while it has work, a watcher and an upload that does not go on', async () => {
    const said: string[] = [];
    const cell = await testCell(2, { log: createLog('test', { write: (line) => { said.push(line); } }) });
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
    await until('a job is counted', 60_000, async () => (await client.api.jobs()).some((job) => job.state === 'completed'));

    await cell.stop();
    await watching;
    expect(['cut', 400, 408, 503]).toContain(await stuck);
    expect(processesOn(cell.folder)).toEqual([]);
    expect(said.join(''), 'within the grace that each has').not.toContain(KILLED);
  });
});

describe('a process that does not stop when asked', () => {
  it('is killed after its grace, and the log says so', async () => {
    const data = await folder();
    await mkdir(at(data).logs, { recursive: true });
    await writeFile(join(data, 'deaf.mjs'), "process.on('SIGTERM', () => {}); console.log('ready'); setInterval(() => {}, 1000);");
    const said: string[] = [];
    const deaf = supervise({ name: 'deaf', script: 'deaf.mjs', args: [] }, data, createLog('test', { write: (line) => { said.push(line); } }), data, 100);
    cleanups.push(() => deaf.halt());
    await until('it runs', 60_000, async () => (await readFile(join(at(data).logs, 'deaf.log'), 'utf8').catch(() => '')).includes('ready'));
    const pid = deaf.pid() as number;
    await deaf.stop();
    expect(lives(pid)).toBe(false);
    expect(said.join('')).toContain(KILLED);
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

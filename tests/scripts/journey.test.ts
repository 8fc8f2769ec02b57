/** An operator's and a client's way through `ccc`, each step a real process: up, tenant, key, count, jobs, verify, doctor, Ctrl-C. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa, type ResultPromise } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { ROOT } from '../../workloads/protocol/measure.ts';

let folder: string;
let cell: ResultPromise<{ reject: false; buffer: true }>;
let facts: { url: string; ownerKey: string; pids: Record<string, number> };
const options = () => ({ reject: false, cwd: folder, env: { CCC_HOME: join(folder, 'cell') } }) as const;
const ccc = (...args: string[]) => execa(process.execPath, [join(ROOT, 'scripts/ccc.ts'), ...args], options());

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ccc-journey-'));
  cell = execa(process.execPath, [join(ROOT, 'scripts/ccc.ts'), 'up', '--counters', '1', '--json'], { ...options(), buffer: true });
  let printed = '';
  facts = await new Promise((done, failed) => {
    cell.stdout.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
      if (printed.endsWith('}\n')) done(JSON.parse(printed));
    });
    cell.then(({ stderr }) => failed(new Error(String(stderr))), failed);
  });
});
afterAll(async () => {
  cell.kill('SIGKILL');
  await cell;
  await rm(folder, { recursive: true, force: true });
});

describe('a cell through ccc', () => {
  it('adds a tenant and a key; the key is on standard output once', async () => {
    expect((await ccc('tenant', 'add', 'acme', '--zone', 'local')).exitCode).toBe(0);
    expect((await ccc('tenant', 'add', 'acme', '--zone', 'local')).exitCode, 'again: the same').toBe(0);
    expect((await ccc('tenant', 'add', 'nowhere', '--zone', 'mars')).stderr).toContain('ZONE_DENIED');
    const key = await ccc('key', 'add', 'acme', '--save');
    expect(key.stdout).toMatch(/^ccc_live_[a-z0-9]+_[A-Za-z0-9_-]{43}$/);
    expect((await stat(join(folder, 'cell', 'client', 'profile.json'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, 'cell', 'admin.sock'))).mode & 0o777).toBe(0o600);
  });

  it('refuses a second cell on the folder', async () => {
    const second = await ccc('up');
    expect([second.exitCode, second.stderr.includes('CELL_RUNNING')]).toEqual([1, true]);
  });

  it('counts pictures, writes receipts, and verifies them offline', async () => {
    const pictures = (await demoPictures()).filter((p) => ['two-cats.jpg', 'alps.jpg'].includes(p.file));
    for (const { file, bytes } of pictures) await writeFile(join(folder, file), bytes);
    const counted = await ccc('count', 'two-cats.jpg', 'alps.jpg', '--json');
    expect(counted.exitCode, counted.stderr).toBe(0);
    expect(JSON.parse(counted.stdout)).toMatchObject({ ok: true, pictures: [{ file: 'two-cats.jpg', counted: 2, simulated: true, receipt: 'two-cats.jpg.receipt.json' }, { file: 'alps.jpg', counted: 0 }] });

    const verified = await ccc('verify', 'two-cats.jpg.receipt.json', '--json');
    expect(verified.exitCode, verified.stderr).toBe(0);
    expect(JSON.parse(verified.stdout)).toMatchObject({ ok: true, outcome: 'completed', result: { count: 2 }, simulated: true });

    const receipt = JSON.parse(await readFile(join(folder, 'two-cats.jpg.receipt.json'), 'utf8')) as { sent: { job_id: string } };
    receipt.sent.job_id = receipt.sent.job_id.replace(/^./, (c) => (c === '0' ? '1' : '0'));
    await writeFile(join(folder, 'forged.json'), JSON.stringify(receipt));
    expect((await ccc('verify', 'forged.json')).exitCode, 'another job').toBe(3);
  });

  it('says of a picture that is none what is wrong, and sends nothing', async () => {
    await writeFile(join(folder, 'text.jpg'), 'not a picture');
    const before = JSON.parse((await ccc('jobs', '--json')).stdout).jobs.length;
    const counted = await ccc('count', 'text.jpg');
    expect([counted.exitCode, counted.stderr.includes('PICTURE_FORMAT')]).toEqual([3, true]);
    expect(JSON.parse((await ccc('jobs', '--json')).stdout).jobs.length).toBe(before);
  });

  it('lists jobs and finds itself healthy', async () => {
    expect(JSON.parse((await ccc('jobs', '--state', 'completed', '--json')).stdout).jobs).toHaveLength(2);
    const doctor = await ccc('doctor', '--json');
    expect(JSON.parse(doctor.stdout)).toMatchObject({ ok: true, cell: true });
  });

  it('trusts only the pinned owner', async () => {
    const counted = await ccc('count', 'alps.jpg', '--owner', Buffer.alloc(32, 7).toString('base64url'));
    expect([counted.exitCode, counted.stderr.includes('POLICY_SIGNATURE')]).toEqual([3, true]);
  });

  it('ends every process at Ctrl-C', async () => {
    cell.kill('SIGINT');
    const { exitCode } = await cell;
    expect(exitCode).toBe(0);
    for (const pid of Object.values(facts.pids)) expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
    expect((await ccc('jobs')).exitCode, 'and says so to the next caller').toBe(4);
  });
});

import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { type Server, connect, createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { completeLinks, embeddedBinaries } from '../../workloads/ledger/embedded/binaries.ts';
import { alive } from '../../workloads/ledger/embedded/orphan.ts';
import { type Postgres, startPostgres } from '../../workloads/ledger/postgres.ts';
import { query, silent } from './engines.ts';

const CHILD = new URL('./postgres-child.ts', import.meta.url).pathname;
const root = process.getuid?.() === 0;
const linux = process.platform === 'linux';

async function until(what: () => boolean | Promise<boolean>, ms = 90_000): Promise<void> {
  for (const end = Date.now() + ms; !(await what());) {
    if (Date.now() > end) throw new Error('it did not happen');
    await delay(20);
  }
}

/** Processes whose command line contains all of `words`. */
async function processes(...words: string[]): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name));
  const found = await Promise.all(pids.map(async (pid) => {
    const line = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    return words.every((word) => line.includes(word));
  }));
  return pids.filter((_, i) => found[i]).map(Number);
}

describe('embedded PostgreSQL', () => {
  let above: string;
  let folder: string;
  let running: Postgres | undefined;
  let child: ChildProcess | undefined;
  beforeAll(async () => {
    above = await mkdtemp(join(tmpdir(), 'ccc-postgres-'));
    await chmod(above, 0o755);
    folder = join(above, 'database');
  });
  afterEach(async () => {
    child?.kill('SIGKILL');
    child = undefined;
    await running?.stop();
    running = undefined;
  });
  afterAll(() => rm(above, { recursive: true, force: true }));

  const start = async (more: object = {}) => (running = await startPostgres({ folder, log: silent, ...more }));
  const startInChild = async () => {
    child = spawn(process.execPath, [CHILD, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    const line = await new Promise<string>((done) => child?.stdout?.once('data', (chunk: Buffer) => done(chunk.toString())));
    return JSON.parse(line) as { pid: number; url: string };
  };

  it('starts in an empty folder, durable, with generated passwords, on 127.0.0.1 only', async () => {
    const { url, adminUrl, pid } = await start();
    expect((await stat(join(folder, 'secrets.json'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, 'data'))).mode & 0o077).toBe(0);
    if (linux) expect((await stat(`/proc/${pid()}`)).uid).not.toBe(0);
    expect((await query(adminUrl, `select current_setting('fsync') fsync, current_setting('synchronous_commit') c, current_setting('listen_addresses') a, current_setting('unix_socket_directories') s`))[0])
      .toEqual({ fsync: 'on', c: 'on', a: '127.0.0.1', s: '' });
    expect((await query(url, `select rolsuper, rolcreaterole, rolreplication from pg_roles where rolname = current_user`))[0]).toEqual({ rolsuper: false, rolcreaterole: false, rolreplication: false });
    expect((await query(adminUrl, `select bool_and(auth_method = 'scram-sha-256') ok from pg_hba_file_rules`))[0]).toEqual({ ok: true });
    const wrong = new URL(url);
    wrong.password = 'wrong';
    await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
    const outside = Object.values(networkInterfaces()).flat().find((i) => i !== undefined && !i.internal && i.family === 'IPv4');
    if (outside !== undefined) {
      const answer = await new Promise((done) => connect(Number(new URL(url).port), outside.address).once('connect', () => done('open')).once('error', (e: NodeJS.ErrnoException) => done(e.code)));
      expect(answer).toBe('ECONNREFUSED');
    }
  });

  it('keeps its data and its address over a stop and a start', async () => {
    const first = await start();
    await query(first.url, 'create table kept (n int); insert into kept values (7)');
    const pid = first.pid()!;
    await first.stop();
    expect(first.pid()).toBeUndefined();
    expect(alive(pid)).toBe(false);
    const second = await start();
    expect(second.url).toBe(first.url);
    expect(await query(second.url, 'select n from kept')).toEqual([{ n: 7 }]);
    expect(await readFile(join(folder, 'server.log'), 'utf8')).not.toContain('not properly shut down');
  });

  it('takes another port when its own is taken', async () => {
    const first = await start();
    const port = Number(new URL(first.url).port);
    await first.stop();
    const squatter: Server = createServer().listen(port, '127.0.0.1');
    await new Promise((ready) => squatter.once('listening', ready));
    try {
      const second = await start();
      expect(new URL(second.url).port).not.toBe(String(port));
      expect(await query(second.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    } finally {
      squatter.close();
    }
  });

  it('comes back by itself after kill -9, and says so', async () => {
    const crashes: unknown[] = [];
    const postgres = await start({ onCrash: (exit: unknown) => crashes.push(exit) });
    const pid = postgres.pid()!;
    process.kill(pid, 'SIGKILL');
    await until(() => postgres.pid() !== undefined && postgres.pid() !== pid);
    await until(() => query(postgres.url, 'select 1').then(() => true, () => false));
    expect(crashes).toEqual([{ code: null, signal: 'SIGKILL' }]);
    await postgres.stop();
    expect(postgres.pid()).toBeUndefined();
    expect(crashes).toHaveLength(1);
  });

  it.runIf(linux)('is stopped, cleanly, when its parent is killed with -9', async () => {
    const { pid } = await startInChild();
    expect(alive(pid)).toBe(true);
    child?.kill('SIGKILL');
    await until(() => !alive(pid));
    expect((await readFile(join(folder, 'server.log'), 'utf8')).trim().split('\n').at(-1)).toContain('database system is shut down');
    expect(await processes('ccc-watchdog', String(pid))).toEqual([]);
    await start();
  });

  it.runIf(linux)('left without parent and watchdog, it is stopped by the next start', async () => {
    const { pid } = await startInChild();
    const dogs = await processes('ccc-watchdog', String(pid));
    expect(dogs).toHaveLength(1);
    process.kill(dogs[0]!, 'SIGKILL');
    child?.kill('SIGKILL');
    await until(() => child?.signalCode !== null);
    expect(alive(pid)).toBe(true);
    const next = await start();
    expect(alive(pid)).toBe(false);
    expect(await query(next.url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it.runIf(linux)('does not start beside a backend of a killed server', async () => {
    const { pid, url } = await startInChild();
    // A backend that is stopped cannot notice that its postmaster is gone; it could go on writing later.
    const busy = query(url, 'select pg_backend_pid() as pid, pg_sleep(60)').catch(() => {});
    let backend: number | undefined;
    await until(async () => {
      backend = (await query<{ pid: number }>(url, `select pid from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()`))[0]?.pid;
      return backend !== undefined;
    });
    process.kill(backend!, 'SIGSTOP');
    for (const dog of await processes('ccc-watchdog', String(pid))) process.kill(dog, 'SIGKILL');
    child?.kill('SIGKILL');
    process.kill(pid, 'SIGKILL');
    await until(() => child?.signalCode !== null);
    expect(await readlink(`/proc/${backend}/cwd`)).toBe(join(folder, 'data'));
    await start();
    expect(alive(backend!)).toBe(false);
    await busy;
  });

  it('refuses a folder that another process, or this one, serves', async () => {
    await startInChild();
    await expect(startPostgres({ folder, log: silent })).rejects.toMatchObject({ code: 'POSTGRES_IN_USE' });
    child?.kill('SIGKILL');
    await until(() => child?.signalCode !== null);
    await start();
    await expect(startPostgres({ folder, log: silent })).rejects.toMatchObject({ code: 'POSTGRES_IN_USE' });
  });

  it('starts over a lock file whose process id belongs to somebody else now', async () => {
    await (await start()).stop();
    await writeFile(join(folder, 'data', 'postmaster.pid'), `${process.pid}\n${join(folder, 'data')}\n1\n1\n\n127.0.0.1\n   1  1\nready\n`);
    const { pid } = await start();
    expect(pid()).not.toBe(process.pid);
  });

  it('repeats the server\'s words when it does not start, and can start later', async () => {
    const file = join(folder, 'data', 'postgresql.conf');
    const good = await readFile(file, 'utf8');
    await writeFile(file, `${good}\nno_such_setting_of_ours = 1\n`);
    await expect(startPostgres({ folder, log: silent })).rejects.toMatchObject({ code: 'POSTGRES_START', message: expect.stringContaining('no_such_setting_of_ours') });
    await writeFile(file, good);
    await start();
  });

  it('makes no new database when the passwords of the old one are lost', async () => {
    const secrets = await readFile(join(folder, 'secrets.json'));
    await rm(join(folder, 'secrets.json'));
    await expect(startPostgres({ folder, log: silent })).rejects.toMatchObject({ code: 'POSTGRES_START', message: expect.stringContaining('secrets.json') });
    await writeFile(join(folder, 'secrets.json'), secrets, { mode: 0o600 });
    await start();
  });

  it.runIf(root && linux)('works for root below a folder that only root may enter', async () => {
    await chmod(above, 0o700);
    try {
      const { url, pid } = await start();
      expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
      const status = await readFile(`/proc/${pid()}/status`, 'utf8');
      expect(/^Uid:\s+65534\s+65534/m.test(status)).toBe(true);
      // CAP_DAC_OVERRIDE is bit 1; nothing else is left.
      expect(/^CapEff:\s+0*2$/m.exec(status)).not.toBeNull();
    } finally {
      await running?.stop();
      await chmod(above, 0o755);
    }
  });

  it.runIf(root && linux)('says which folder is in the way when nothing can be done about it', async () => {
    const path = process.env['PATH'];
    await chmod(above, 0o700);
    process.env['PATH'] = join(above, 'nothing');
    try {
      await expect(startPostgres({ folder, log: silent })).rejects.toMatchObject({ code: 'POSTGRES_FOLDER', message: expect.stringContaining(above) });
    } finally {
      process.env['PATH'] = path;
      await chmod(above, 0o755);
    }
  });

  it('makes the links that npm left out, and says what to do when it cannot', async () => {
    const { postgres } = await embeddedBinaries();
    const original = join(dirname(postgres), '..', '..');
    const copy = join(above, 'package');
    await mkdir(join(copy, 'native', 'lib'), { recursive: true });
    await cp(join(original, 'scripts'), join(copy, 'scripts'), { recursive: true });
    await cp(join(original, 'native', 'pg-symlinks.json'), join(copy, 'native', 'pg-symlinks.json'));
    const links = JSON.parse(await readFile(join(copy, 'native', 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[];
    for (const { source } of links) await writeFile(join(copy, source), '');
    await completeLinks(copy);
    for (const { target } of links) await stat(join(copy, target));
    await rm(join(copy, links[0]!.target));
    await writeFile(join(copy, 'scripts', 'hydrate-symlinks.js'), 'process.exit(1)');
    await expect(completeLinks(copy)).rejects.toMatchObject({ code: 'POSTGRES_LINKS', message: expect.stringContaining(links[0]!.target) });
  });
});

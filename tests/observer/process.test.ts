/** The observer as a process: makes its key once, keeps its promises over kill -9, and refuses a database that is not its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { b64u, utf8 } from '../../attestation/bytes.ts';
import { epochRules, verifyPromise } from '../../workloads/protocol/epoch.ts';
import { generateSigningKey, signJws, type SigningKey } from '../../workloads/protocol/jws.ts';
import { readKeyFile } from '../../workloads/protocol/key-file.ts';
import { EPOCHS_PATH, type ObserverAnswer } from '../../workloads/protocol/observer.ts';
import { type CellDirectory, DIRECTORY_TYPE } from '../../workloads/protocol/owner.ts';
import { makePop } from '../../workloads/protocol/pop.ts';
import { type Engine, startEngine } from '../ledger/engines.ts';

let engine: Engine;
let folder: string;
let databases: string[];
let port: number;
let owner: SigningKey;
let cellKeys: SigningKey[];
const running = new Set<ChildProcess>();

beforeAll(async () => {
  engine = await startEngine();
  folder = await mkdtemp(join(tmpdir(), 'ccc-observer-'));
  databases = await Promise.all([engine.database(), engine.database()]);
  owner = await generateSigningKey();
  cellKeys = await Promise.all([1, 2, 3].map(() => generateSigningKey()));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as { port: number }).port;
  await new Promise((resolve) => server.close(resolve));
  const at = { host: '127.0.0.1', port: 1 };
  await writeFile(join(folder, 'cell.json'), JSON.stringify({ cell: 'aws', cloud: 'local', region: 'r', epoch: 1, platform: 'aws-nitro', simulated: true, ownerKey: b64u(owner.publicKey), gateway: { public: at, internal: at }, broker: at }));
});
afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await engine.stop();
  await rm(folder, { recursive: true, force: true });
});

function start(database: string, ...more: string[]): ChildProcess {
  const child = spawn(process.execPath, ['workloads/observer/main.ts', '--data', folder, '--listen', `127.0.0.1:${port}`, ...more], { env: { ...process.env, DATABASE_URL: database }, stdio: ['ignore', 'ignore', 'pipe'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}
/** Its exit code and log, when it ends by itself. */
async function outcome(child: ChildProcess): Promise<[number | null, string]> {
  let log = '';
  child.stderr?.on('data', (part: Buffer) => { log += part.toString(); });
  const [code] = await once(child, 'close') as [number | null];
  return [code, log];
}
async function ready(): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await fetch(`http://127.0.0.1:${port}/v1/health`).then(() => true, () => false)) return; // any answer
    await delay(25);
  }
  throw new Error('did not start');
}
async function ask(by: number, epoch: number): Promise<ObserverAnswer> {
  const body = JSON.stringify({ observer: 'aws', cell: ['aws', 'azure', 'gcp'][by], instance: 'i', ask: [{ tenant: 'acme', epoch }], release: [], look: [] });
  const pop = await makePop({ key: (cellKeys[by] as SigningKey).privateKey, method: 'POST', path: EPOCHS_PATH, body: utf8(body), now: Math.floor(Date.now() / 1000) });
  return (await fetch(`http://127.0.0.1:${port}${EPOCHS_PATH}`, { method: 'POST', headers: { 'content-type': 'application/json', 'ccc-pop': pop }, body })).json() as Promise<ObserverAnswer>;
}

describe('the observer\'s process', () => {
  it('says how it is started', async () => {
    expect((await outcome(spawn(process.execPath, ['workloads/observer/main.ts'], { stdio: ['ignore', 'ignore', 'pipe'] })))).toEqual([2, expect.stringContaining('Usage:')]);
  });

  it('without a key it does not start, unless it is told to make one; the same key with another database is refused; kill -9 forgets nothing', async () => {
    const [database, other] = databases as [string, string];
    expect(await outcome(start(database))).toEqual([1, expect.stringContaining('OBSERVER_STATE_LOST')]);
    let child = start(database, '--init');
    await ready();
    const key = await readKeyFile(join(folder, 'observer', 'key.jwk')) as SigningKey;
    expect((await stat(join(folder, 'observer', 'key.jwk'))).mode & 0o777).toBe(0o600);
    const directory: CellDirectory = {
      revision: 1, notAfter: Math.floor(Date.now() / 1000) + 600, deployment: 'test', leaseSeconds: 60, clockBoundSeconds: 1, tenants: [{ tenant: '*', order: ['aws', 'azure'], tier: 'async' }],
      cells: ['aws', 'azure', 'gcp'].map((name, i) => ({
        name, cloud: 'local', region: 'r', url: 'http://127.0.0.1:1', configDigest: 'aa'.repeat(32), epoch: 1, key: b64u(cellKeys[i]?.publicKey as Uint8Array),
        observer: { url: `http://127.0.0.1:${port}`, key: b64u(i === 0 ? key.publicKey : cellKeys[i]?.publicKey as Uint8Array) },
      })),
    };
    await writeFile(join(folder, 'directory.jws'), `${await signJws(DIRECTORY_TYPE, directory, owner.privateKey)}\n`);
    // It reads the directory once a second.
    let promise: string | undefined;
    while (promise === undefined) [promise] = (await ask(0, 3)).promises ?? [];
    expect(await verifyPromise(promise as string, epochRules(directory) as never)).toMatchObject({ tenant: 'acme', cell: 'aws', epoch: 3, observer: 'aws' });

    child.kill('SIGKILL');
    await once(child, 'close');
    child = start(database, '--init');
    await ready();
    expect((await readKeyFile(join(folder, 'observer', 'key.jwk')))?.publicKey).toEqual(key.publicKey);
    expect((await ask(1, 4)).denied[0]).toMatchObject({ code: 'EPOCH_HELD', cell: 'aws', epoch: 3 });
    expect((await ask(0, 2)).denied[0]).toMatchObject({ code: 'EPOCH_LOW' });
    child.kill('SIGTERM');
    await once(child, 'close');
    expect(await outcome(start(other, '--init'))).toEqual([1, expect.stringContaining('OBSERVER_STATE_LOST')]);
    expect(await readFile(join(folder, 'observer', 'key.jwk'), 'utf8')).toContain('"d"');
  });
});

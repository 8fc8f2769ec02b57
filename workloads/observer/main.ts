/** `DATABASE_URL=postgres://... node workloads/observer/main.ts --data FOLDER --listen HOST:PORT [--init]` */
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { b64u, bytes, fromB64u } from '../../attestation/bytes.ts';
import { httpServer } from '../broker/http.ts';
import { parseCell } from '../protocol/cell.ts';
import { type DirectoryInForce, DirectorySource } from '../protocol/directory-source.ts';
import { makeKeyFile, readKeyFile } from '../protocol/key-file.ts';
import { onStop } from '../protocol/lifecycle.ts';
import { createLog, errorFields } from '../protocol/log.ts';
import { observerRoutes } from './observer.ts';
import { openStore, StateLost } from './store.ts';

const USAGE = 'Usage: DATABASE_URL=postgres://... node workloads/observer/main.ts --data FOLDER --listen HOST:PORT [--init]\n';
const REREAD_MS = 1_000;
const CLOSE_MS = 5_000;
const log = createLog('observer');

/** The cell's directory.jws, read again once a second: the gateway of the cell keeps it current. */
function directoryFile(path: string, ownerKey: Uint8Array): () => Promise<DirectoryInForce> {
  const source = new DirectorySource({ ownerKey, now: Date.now });
  let readAt = Number.NEGATIVE_INFINITY;
  return async () => {
    if (Math.abs(Date.now() - readAt) >= REREAD_MS) {
      readAt = Date.now();
      try {
        await source.offer((await readFile(path, 'utf8')).trim());
      } catch (error) {
        log.warn('directory-not-read', errorFields(error));
      }
    }
    return source.current();
  };
}

async function start(data: string, listen: { host: string; port: number }, url: string, init: boolean): Promise<void> {
  const { cell } = await parseCell(bytes(await readFile(join(data, 'cell.json'))));
  const folder = join(data, 'observer');
  const file = join(folder, 'key.jwk');
  const fresh = init && !existsSync(file);
  if (fresh) await mkdir(folder, { recursive: true, mode: 0o700 });
  const key = fresh ? await makeKeyFile(file) : await readKeyFile(file);
  if (key === undefined) throw new StateLost('There is no observer key in the data folder: start once with --init.');
  const store = await openStore({ url, key: b64u(key.publicKey), fresh });
  const routes = observerRoutes({ name: cell.cell, key, store, now: Date.now, log, directory: directoryFile(join(data, 'directory.jws'), fromB64u(cell.ownerKey)) });
  const server = httpServer(routes, log);
  server.on('error', (error) => { log.error('listener-failed', errorFields(error)); process.exit(1); });
  server.listen(listen.port, listen.host, () => log.info('ready', { cell: cell.cell, key_id: b64u(key.publicKey), host: listen.host, port: listen.port, pid: process.pid }));
  onStop((signal) => {
    log.info('stopping', { signal });
    server.close(() => void store.close().finally(() => process.exit(0)));
    setInterval(() => server.closeIdleConnections(), 25);
    setTimeout(() => process.exit(0), CLOSE_MS).unref();
  });
}

const fatal = (error: unknown): void => { log.error('uncaught', errorFields(error)); process.exit(1); };
process.on('uncaughtException', fatal);
process.on('unhandledRejection', fatal);

const { values } = parseArgs({ options: { data: { type: 'string' }, listen: { type: 'string' }, init: { type: 'boolean', default: false } } });
const listen = /^(.{1,255}):([0-9]{1,5})$/.exec(values.listen ?? '');
const url = process.env['DATABASE_URL'];
if (values.data === undefined || listen === null || Number(listen[2]) > 65_535 || url === undefined || url === '') {
  process.stderr.write(USAGE);
  process.exit(2);
}
await start(values.data, { host: listen[1] as string, port: Number(listen[2]) }, url, values.init).catch(fatal);

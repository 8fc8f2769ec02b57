/** The gateway's process: `node workloads/gateway/main.ts --data FOLDER`, with DATABASE_URL in the environment. */
import { existsSync } from 'node:fs';
import { appendFile, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bytes } from '../../attestation/bytes.ts';
import { createSupply } from '../../attestation/collateral/supply.ts';
import { openLedger } from '../ledger/ledger.ts';
import { surroundings } from '../ledger/stores/http.ts';
import { openStore } from '../ledger/stores/open.ts';
import { endpointsOf, origin, parseCell } from '../protocol/cell.ts';
import { readKeyFile } from '../protocol/key-file.ts';
import { onStop } from '../protocol/lifecycle.ts';
import { createLog, errorFields } from '../protocol/log.ts';
import { serveMetrics } from '../protocol/metrics-server.ts';
import { useNativeCrypto } from '../protocol/primitives-native.ts';
import { writeWhole } from '../protocol/whole-file.ts';
import { listenAdmin } from './admin-socket.ts';
import { LIMITS } from './limits.ts';
import { openPeers, peersSchema } from './peers.ts';
import type { PhaseEvent } from './phases.ts';
import type { Documents } from './policy.ts';
import { PUSH_MS, pusher } from './push.ts';
import { createGateway } from './server.ts';

const PAGE = fileURLToPath(new URL('../client/web/dist', import.meta.url));
const EXIT_MS = 10_000;
useNativeCrypto(); // digests and proofs, several in a request
const log = createLog('gateway');

const optional = (path: string): Promise<string | undefined> => readFile(path, 'utf8').then((text) => text.trim(), (error: NodeJS.ErrnoException) => {
  if (error.code === 'ENOENT') return undefined;
  throw error;
});

/** Runs again and again, never twice at once; a failure is logged and the next run is as good. */
function every(ms: number, what: string, work: () => Promise<unknown>): () => void {
  let running = false;
  const timer = setInterval(() => {
    if (running) return;
    running = true;
    work().catch((error: unknown) => log.warn('sweep failed', { where: what, ...errorFields(error) })).finally(() => { running = false; });
  }, ms);
  return () => clearInterval(timer);
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { data: { type: 'string' }, page: { type: 'string' }, 'lease-ms': { type: 'string' } } });
  const leaseMs = values['lease-ms'] === undefined ? LIMITS.leaseMs : Number(values['lease-ms']);
  const url = process.env['DATABASE_URL'];
  if (values.data === undefined || url === undefined || url === '' || !(Number.isInteger(leaseMs) && leaseMs >= 1_000 && leaseMs <= 600_000)) {
    process.stderr.write('Usage: DATABASE_URL=postgres://... node workloads/gateway/main.ts --data FOLDER [--page FOLDER] [--lease-ms 1000..600000]\n');
    process.exit(2);
  }
  const at = (name: string): string => join(values.data as string, name);
  const { cell, configDigest } = await parseCell(bytes(await readFile(at('cell.json'))));
  const own = await openStore({ url: process.env['STORE_URL'], folder: at('store') });
  const cellKey = await readKeyFile(at('cell-key.jwk'));
  const peersFile = await optional(at('peers.json'));
  if (peersFile !== undefined && cellKey === undefined) throw new Error('peers.json without cell-key.jwk: other cells would not know this one');
  const peersConfig = peersFile === undefined ? undefined : peersSchema.parse(JSON.parse(peersFile));
  const peers = peersConfig === undefined || cellKey === undefined ? undefined
    : openPeers({ config: peersConfig, url, cell: cell.cell, key: cellKey.privateKey, blobs: own, maxBytes: LIMITS.messageBytes, now: Date.now, log });
  const ledger = await openLedger({ url, now: Date.now, cell: cell.cell, ...(peers === undefined ? {} : { replication: peers.replication }) });
  const disconnect = peers?.start();
  const page = values.page ?? PAGE;
  const collateral = createSupply({ folder: at('collateral/gateway'), endpoints: endpointsOf(cell), now: Date.now, onError: (error) => log.warn('collateral not refreshed', errorFields(error)) });
  const keepPhase = (event: PhaseEvent): void => void appendFile(at('phases.jsonl'), `${JSON.stringify(event)}\n`, { mode: 0o600 }).catch((error: unknown) => log.warn('phase not kept', errorFields(error)));
  const gateway = await createGateway({
    ledger, blobs: peers?.blobs ?? own, ...(peers === undefined ? {} : { peers: { own, mayForget: peers.mayForget, replication: peers.replication, gateways: peers.gateways }, observers: peersConfig?.observers, onPhase: keepPhase }), broker: { origin: origin(cell.broker) }, cell, configDigest, now: Date.now, log, limits: { leaseMs }, cellKey, collateral: collateral.collect,
    documents: { policy: await optional(at('policy.jws')), directory: await optional(at('directory.jws')) },
    keepDocuments: async ({ policy, directory }: Documents) => {
      if (policy !== undefined) await writeWhole(at('policy.jws'), `${policy}\n`);
      if (directory !== undefined) await writeWhole(at('directory.jws'), `${directory}\n`);
    },
    ...(existsSync(join(page, 'index.html')) ? { pageFolder: page } : {}),
  });

  const stops = [collateral.keepCurrent(), every(LIMITS.drainMs, 'drain', () => gateway.drain()), every(LIMITS.sweepMs, 'jobs', () => gateway.sweep()), every(LIMITS.orphanSweepMs, 'store', () => gateway.sweepOrphans())];
  const { metrics, collect = async () => {} } = gateway.metrics;
  const push = pusher({ metrics, collect, instance: hostname(), around: surroundings() });
  if (push !== undefined) stops.push(every(PUSH_MS, 'metrics', push));
  onStop((signal) => {
    log.info('stopping', { signal });
    for (const end of stops) end();
    setTimeout(() => process.exit(1), EXIT_MS).unref();
    gateway.close().then(() => disconnect?.()).then(() => ledger.close()).then(() => process.exit(0), (error: unknown) => {
      log.error('stop failed', errorFields(error));
      process.exit(1);
    });
  });

  await serveMetrics(gateway.metrics, process.env['METRICS_ADDRESS']);
  await gateway.internal.listen(cell.gateway.internal);
  await listenAdmin(gateway.admin, at('admin.sock'));
  await gateway.public.listen(cell.gateway.public);
  gateway.epochs.start();
  log.info('listening', { host: cell.gateway.public.host, port: cell.gateway.public.port, cell: cell.cell });
}

try {
  await main();
} catch (error) {
  log.error('did not start', errorFields(error));
  process.exit(1);
}

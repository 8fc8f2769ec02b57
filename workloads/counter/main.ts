/** `node workloads/counter/main.ts --data FOLDER --name NAME [--detector FILE]`; the pinned default model unless told */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bytes, fromB64u } from '../../attestation/bytes.ts';
import { attesterFor } from '../protocol/attester.ts';
import { origin, parseCell } from '../protocol/cell.ts';
import { EpochJudge } from '../protocol/epoch-judge.ts';
import { onStop } from '../protocol/lifecycle.ts';
import { createLog, errorFields } from '../protocol/log.ts';
import { meteredLog } from '../protocol/metered-log.ts';
import { Metrics } from '../protocol/metrics.ts';
import { serveMetrics } from '../protocol/metrics-server.ts';
import { PolicySource } from '../protocol/policy-source.ts';
import { name as nameSchema } from '../protocol/wire.ts';
import { startCounter } from './counter.ts';
import { counterGateway } from './gateway-client.ts';
import { createCounterKeys } from './keys.ts';
import { createSandbox } from './sandbox.ts';
import { SessionKeeper } from './session.ts';

const USAGE = 'usage: node workloads/counter/main.ts --data FOLDER --name NAME [--detector FILE]\n';
const STOP_MS = 30_000;

const { values } = parseArgs({ options: { data: { type: 'string' }, name: { type: 'string' }, detector: { type: 'string' } } });
if (values.data === undefined || !nameSchema.safeParse(values.name).success) {
  process.stderr.write(USAGE);
  process.exit(2);
}
const metrics = new Metrics();
const log = meteredLog(createLog(values.name as string), metrics);

async function start(data: string): Promise<void> {
  const now = Date.now;
  const { cell, configDigest } = await parseCell(bytes(await readFile(join(data, 'cell.json'))));
  const gateway = counterGateway({ origin: origin(cell.gateway.internal), now, onEpochs: (shown) => epochs.show(shown) });
  const epochs = new EpochJudge({ cell: cell.cell, epoch: cell.epoch, ownerKey: fromB64u(cell.ownerKey), fetch: gateway.directory, now, log });
  const policy = new PolicySource({ fetch: gateway.policy, ownerKey: fromB64u(cell.ownerKey), now, log });
  // A missing or altered model ends this process here: nothing ever invents a number.
  const [keys, attester, sandbox] = await Promise.all([createCounterKeys(), attesterFor(cell, 'counter', data, now, async () => (await policy.current()).policy), createSandbox(values.detector === undefined ? {} : { modelFile: values.detector })]);
  const sessions = new SessionKeeper({ gateway, attester, keys, policy, cell: cell.cell, platform: cell.platform, configDigest, now, log });
  const counter = startCounter({ cell, gateway, sessions, keys, epochs, sandbox, now, log });
  // Ready: attested, so that it is given jobs. Alive says less: a gateway that is away is no reason to start a counter anew.
  await serveMetrics({ metrics, collect: async () => metrics.set('ccc_session_live', sessions.live ? 1 : 0), ready: () => sessions.live }, process.env['METRICS_ADDRESS']);
  log.info('ready', { cell: cell.cell, platform: cell.platform, model_digest: sandbox.modelDigest, pid: process.pid });

  onStop((signal) => {
    log.info('stopping', { signal });
    setTimeout(() => process.exit(1), STOP_MS).unref();
    void counter.stop().then(() => sandbox.close()).finally(() => process.exit(0));
  });
}

// Whatever nobody caught has no known state behind it: end; leases end by themselves and a fresh process takes over.
const fatal = (error: unknown) => { log.error('uncaught', errorFields(error)); process.exit(1); };
process.on('uncaughtException', fatal);
process.on('unhandledRejection', fatal);
await start(values.data).catch(fatal);

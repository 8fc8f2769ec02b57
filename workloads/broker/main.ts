/** `node workloads/broker/main.ts --data FOLDER` */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bytes } from '../../attestation/bytes.ts';
import { createSupply } from '../../attestation/collateral/supply.ts';
import { attesterFor } from '../protocol/attester.ts';
import { endpointsOf, origin, parseCell, platformOf } from '../protocol/cell.ts';
import { Answered } from '../protocol/http-client.ts';
import { onStop } from '../protocol/lifecycle.ts';
import { createLog, errorFields } from '../protocol/log.ts';
import { meteredLog } from '../protocol/metered-log.ts';
import { Metrics } from '../protocol/metrics.ts';
import { serveMetrics } from '../protocol/metrics-server.ts';
import { type Broker, createBroker } from './broker.ts';
import { gatewayClient } from './gateway-client.ts';
import { httpServer } from './http.ts';
import { createIdentity } from './identity.ts';
import { peerKeys } from './peer-keys.ts';
import { fileMark } from './policy-mark.ts';
import { surroundings } from './sealers/call.ts';
import { sealerFor } from './sealers/for-cell.ts';
import { proveSelf } from './sealers/prove-self.ts';

const POLICY_POLL_MS = 15_000;
/** Until the first policy is there. */
const FIRST_POLICY_MS = 500;
const CLOSE_MS = 1_000;
const NO_PEERS_MS = 60_000;

const metrics = new Metrics();
const log = meteredLog(createLog('broker'), metrics);

async function start(data: string): Promise<void> {
  const now = Date.now;
  const { cell, configDigest } = await parseCell(bytes(await readFile(join(data, 'cell.json'))));
  // The attester asks once there are challenges to answer, and the broker is there by then.
  const [identity, attester] = await Promise.all([createIdentity(), attesterFor(cell, 'broker', data, now, async () => (await broker.policy.current()).policy)]);
  const gateway = gatewayClient({ origin: origin(cell.gateway.internal), identity, now });
  const collateral = createSupply({ folder: join(data, 'collateral', 'broker'), endpoints: endpointsOf(cell), now, onError: (error) => log.warn('collateral-not-refreshed', errorFields(error)) });
  const sealer = await sealerFor({
    cell, env: process.env, around: surroundings({ now }), file: join(data, 'broker', 'sealer.key'), nothingSealed: gateway.nothingSealed,
    proveSelf: () => proveSelf({ identity, attester, platform: platformOf(cell, 'broker'), cell: cell.cell, configDigest, policy: broker.policy, collateral: collateral.collect, now }),
  });
  log.info('sealer', { where: sealer.describe().backend });
  const stopCollateral = collateral.keepCurrent();
  const broker: Broker = createBroker({ cell, configDigest, identity, attester, gateway, sealer, now, log, mark: fileMark(join(data, 'broker', 'policy-seen.json')), collateral: collateral.collect, peers: peerKeys({ origin: origin(cell.gateway.internal), identity, now }) });
  await serveMetrics({ metrics, ready: () => broker.policy.known }, process.env['METRICS_ADDRESS']);
  const server = httpServer(broker.routes, log);
  server.on('error', (error) => { log.error('listener-failed', errorFields(error)); process.exit(1); });
  server.listen(cell.broker.port, cell.broker.host, () => {
    log.info('ready', { instance: identity.instance, cell: cell.cell, platform: platformOf(cell, 'broker'), host: cell.broker.host, port: cell.broker.port, pid: process.pid });
  });

  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const poll = async () => {
    await broker.policy.refresh();
    if (!stopped) timer = setTimeout(poll, broker.policy.known ? POLICY_POLL_MS : FIRST_POLICY_MS);
  };
  void poll();
  let receiving: NodeJS.Timeout | undefined;
  const receive = async () => {
    // A gateway without other cells knows no such route.
    const pause = await broker.receiver?.round().catch((error: unknown) => {
      if (error instanceof Answered && error.status === 404) return NO_PEERS_MS;
      if (broker.policy.known) log.warn('keys-not-asked-for', errorFields(error));
      return FIRST_POLICY_MS;
    });
    if (!stopped && pause !== undefined) receiving = setTimeout(receive, pause);
  };
  void receive();

  onStop((signal) => {
    stopped = true;
    log.info('stopping', { signal });
    clearTimeout(timer);
    clearTimeout(receiving);
    stopCollateral();
    server.close(() => process.exit(0));
    // A connection whose request just ended is kept alive for a next one: not now.
    setInterval(() => server.closeIdleConnections(), 25);
    setTimeout(() => { server.closeAllConnections(); process.exit(0); }, CLOSE_MS).unref();
  });
}

// Whatever nobody caught has no known state behind it: end, and let the supervisor start a fresh broker.
const fatal = (error: unknown) => { log.error('uncaught', errorFields(error)); process.exit(1); };
process.on('uncaughtException', fatal);
process.on('unhandledRejection', fatal);

const { values } = parseArgs({ options: { data: { type: 'string' } } });
if (values.data === undefined) {
  process.stderr.write('usage: node workloads/broker/main.ts --data FOLDER\n');
  process.exit(2);
}
await start(values.data).catch(fatal);

import { b64u } from '../../attestation/bytes.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { platformOf } from '../../workloads/protocol/cell.ts';
import { startFleet } from '../cell/fleet.ts';
import { at, cellFolder, readOptional } from '../cell/folder.ts';
import type { CellPlatform } from '../cell/machines.ts';
import { startCell } from '../cell/start.ts';
import { EXIT, json, note, paint, progress, say, UserError } from '../cli/output.ts';
import { stopSignal, untilStopped } from '../cli/interrupt.ts';

export const SIMULATED = 'simulated TEE: proves nothing about hardware';

/** Names, regions and platforms of several cells, cloud by cloud. */
const CLOUDS = [{ name: 'aws', region: 'eu-central-1', platform: 'aws-nitro' }, { name: 'azure', region: 'westeurope', platform: 'azure-cvm' }, { name: 'gcp', region: 'europe-west4', platform: 'gke' }] as const;

async function upCells(folder: string, options: { cells: number; counters: number; json?: boolean }): Promise<number> {
  const live = progress('cells');
  const stop = stopSignal();
  const specs = Array.from({ length: options.cells }, (_, i) => {
    const cloud = CLOUDS[i % CLOUDS.length] as (typeof CLOUDS)[number];
    return { ...cloud, name: i < CLOUDS.length ? cloud.name : `${cloud.name}-${Math.floor(i / CLOUDS.length) + 1}`, counters: options.counters };
  });
  const fleet = await startFleet({ folder, cells: specs, tenants: [], page: true, log: createLog('up'), onProgress: live.update });
  live.done(`ready after ${process.uptime().toFixed(1)} s`);
  const first = specs[0]?.name ?? '';
  const list = [...fleet.cells.values()].map(({ name, url, cell, pids }) => ({ name, url, platform: cell.platform, region: cell.region, folder: at(folder).cellOf(name), pids: pids() }));
  if (options.json) json({ ok: true, ownerKey: b64u(fleet.ownerKey), directoryRevision: fleet.directory.revision, folder, simulated: true, cells: list });
  else {
    say(`${paint('bold', `${list.length} cells`)}  ${paint('yellow', SIMULATED)}`);
    for (const { name, url, platform, region } of list) say(`  ${name}  ${url}  ${platform}, ${region}`);
    say(`  owner key  ${b64u(fleet.ownerKey)}  (pin this in clients)`);
    say('');
    say(`Next: ccc tenant add NAME --zone local --data ${at(folder).cellOf(first)}, then ccc key add NAME --save --data ${at(folder).cellOf(first)}, then ccc count FILE --data ${at(folder).cellOf(first)}`);
    say(`Who has what: ccc cells --data ${folder}. Moving: ccc failover --to ${specs[1]?.name ?? ''} --data ${folder}`);
  }
  await untilStopped(stop);
  note('stopping');
  await fleet.stop();
  return EXIT.ok;
}

export async function up(options: { data?: string; counters: number; port?: number; platform?: CellPlatform; cells?: number; json?: boolean }): Promise<number> {
  const folder = cellFolder(options.data);
  if (options.cells !== undefined) {
    if (options.port !== undefined || options.platform !== undefined) throw new UserError('USAGE', '--port and --platform are of one cell.', 'Leave them out: each of several cells has its own.', EXIT.usage);
    if (await readOptional(at(folder).cell) !== undefined) throw new UserError('USAGE', `There is one cell in ${folder}.`, 'Name another folder for several with --data.', EXIT.usage);
    return upCells(folder, { cells: options.cells, counters: options.counters, ...(options.json === undefined ? {} : { json: options.json }) });
  }
  const live = progress('cell');
  const stop = stopSignal();
  const cell = await startCell(folder, { counters: options.counters, page: true, ...(options.port === undefined ? {} : { port: options.port }), ...(options.platform === undefined ? {} : { platform: options.platform }), log: createLog('up'), onProgress: live.update });
  live.done(`ready after ${process.uptime().toFixed(1)} s`);
  const facts = {
    ok: true, cell: cell.cell.cell, url: cell.url, internal: cell.cell.gateway.internal, ownerKey: b64u(cell.ownerKey), policyRevision: cell.policyRevision, folder, platform: cell.cell.platform, brokerPlatform: platformOf(cell.cell, 'broker'),
    simulated: cell.cell.simulated, pids: Object.fromEntries(cell.processes.map((p) => [p.name, p.pid()])),
  };
  if (options.json) json(facts);
  else {
    say(`${paint('bold', 'Cell')} ${facts.cell}  ${paint('yellow', SIMULATED)}`);
    say(`  API and page  ${facts.url}`);
    say(`  owner key     ${facts.ownerKey}  (pin this in clients)`);
    say(`  folder        ${folder}`);
    say(`  back this up  ${at(folder).sealer}: without it no stored tenant key opens again`);
    say('');
    say(`Next: ccc tenant add NAME --zone local${options.data ? ` --data ${options.data}` : ''}, then ccc key add NAME --save, then ccc count FILE`);
  }
  if (cell.created) note('A development owner key was made. In production the owner key stays offline.');
  await untilStopped(stop);
  note('stopping');
  await cell.stop();
  return EXIT.ok;
}

import { b64u } from '../../attestation/bytes.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { platformOf } from '../../workloads/protocol/cell.ts';
import { at, cellFolder } from '../cell/folder.ts';
import type { CellPlatform } from '../cell/machines.ts';
import { startCell } from '../cell/start.ts';
import { EXIT, json, note, paint, progress, say } from '../cli/output.ts';
import { stopSignal, untilStopped } from '../cli/interrupt.ts';

export const SIMULATED = 'simulated TEE: proves nothing about hardware';

export async function up(options: { data?: string; counters: number; port?: number; platform?: CellPlatform; json?: boolean }): Promise<number> {
  const folder = cellFolder(options.data);
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

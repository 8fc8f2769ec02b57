/** `ccc cells`, `ccc failover`, `ccc failback`: who holds which tenant, and moving them. */
import { deploymentIn, exposure, forceOver, handBack, handOver, type HandoverEvent, type Moved, statesOf } from '../cell/handover.ts';
import { cellFolder } from '../cell/folder.ts';
import { EXIT, json, note, paint, progress, say, table, UserError } from '../cli/output.ts';

interface Options { data?: string; json?: boolean }
interface Moving extends Options { tenant?: string[] }

export async function cells(options: Options): Promise<number> {
  const deployment = await deploymentIn(cellFolder(options.data));
  const states = await statesOf(deployment);
  if (options.json) {
    json({ ok: [...states.values()].every((state) => state !== undefined && state.alarms.length === 0), cells: [...states].map(([name, state]) => state ?? { cell: name, down: true }) });
    return EXIT.ok;
  }
  const lag = (seconds: number | undefined): string => (seconds === undefined ? 'unknown' : `${seconds.toFixed(1)} s`);
  say(table(['cell', 'holds', 'copies to', 'alarms'], [...states].map(([name, state]) => (state === undefined ? [name, paint('red', 'does not answer'), '', ''] : [
    name, state.held.map(({ tenant, epoch }) => `${tenant}@${epoch}`).join(' ') || '-',
    state.peers.map((peer) => `${peer.peer} ${peer.state}${peer.state === 'streaming' ? ` ${lag(peer.lagSeconds)}` : ''}`).join(', '),
    [...state.alarms, ...(state.unkeyed.length === 0 ? [] : [`no keys: ${state.unkeyed.join(' ')}`])].join(', ') || '-',
  ]))));
  return EXIT.ok;
}

function report(options: Options, moved: readonly Moved[], lost?: object): number {
  if (options.json) json({ ok: true, ...(lost === undefined ? {} : { exposure: lost }), moved });
  else if (moved.every(({ tenants }) => tenants.length === 0)) say('Nothing to move.');
  else for (const { to, tenants, seconds } of moved) say(`${to} has ${tenants.map(({ tenant, epoch }) => `${tenant} (epoch ${epoch})`).join(', ')} after ${seconds.toFixed(1)} s.`);
  return EXIT.ok;
}

const showing = (live: ReturnType<typeof progress>) => (event: HandoverEvent): void => live.update(`${event.phase}${event.detail === undefined ? '' : `: ${event.detail}`}`);

export async function failover(options: Moving & { to: string; force?: boolean; yes?: boolean }): Promise<number> {
  const deployment = await deploymentIn(cellFolder(options.data));
  if (!deployment.folders.has(options.to)) throw new UserError('CELL_UNKNOWN', `No cell ${options.to}.`, `Known: ${[...deployment.folders.keys()].join(', ')}.`, EXIT.usage);
  const live = progress('failover');
  const how = { to: options.to, tenants: options.tenant, direction: 'failover' as const, onEvent: showing(live) };
  if (!options.force) {
    const moved = await handOver(deployment, how);
    live.done();
    return report(options, [moved]);
  }
  const exposed = await exposure(deployment, how);
  for (const { tenant, tier, seconds } of exposed) {
    note(`${tenant} (${tier}): ${seconds === 0 ? 'nothing that was acknowledged is lost' : `jobs acknowledged in the last ${seconds === undefined ? 'unknown' : seconds.toFixed(1)} s may be missing until their clients send them again`}`);
  }
  if (!options.yes) {
    note('Nothing was done. Make sure that the other cells do not work any more, then call it again with --yes: the owner\'s grant is signed then.');
    return EXIT.failed;
  }
  const moved = await forceOver(deployment, how);
  live.done();
  return report(options, [moved], exposed);
}

export async function failback(options: Moving): Promise<number> {
  const deployment = await deploymentIn(cellFolder(options.data));
  const live = progress('failback');
  const moved = await handBack(deployment, { tenants: options.tenant, onEvent: showing(live) });
  live.done();
  return report(options, moved);
}

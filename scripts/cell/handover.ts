/**
 * Moving tenants from cell to cell, over the cells' admin sockets. Every step looks at what is there now, so that a call that was cut off is simply made again: what is
 * done stays done. What happened when is appended to `handover.jsonl` in the folder, one JSON object a line.
 */
import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromB64u } from '../../attestation/bytes.ts';
import type { CellState } from '../../workloads/gateway/cell-routes.ts';
import { verifyDirectory } from '../../workloads/protocol/documents.ts';
import { type EpochRules, epochRules, FORCED_STEP, signGrant } from '../../workloads/protocol/epoch.ts';
import { parseJson, request } from '../../workloads/protocol/http-client.ts';
import { importSigningKey } from '../../workloads/protocol/jws.ts';
import { EPOCHS_PATH, type EpochView, observerAnswerSchema } from '../../workloads/protocol/observer.ts';
import type { CellDirectory } from '../../workloads/protocol/owner.ts';
import { EXIT, UserError } from '../cli/output.ts';
import { admin } from './admin.ts';
import { at, readOptional } from './folder.ts';

export interface Deployment {
  readonly folder: string;
  readonly directory: CellDirectory;
  readonly rules: EpochRules;
  /** Folder of each cell that is on this machine. */
  readonly folders: ReadonlyMap<string, string>;
}

/** The cells of a folder that `ccc up --cells` made. @throws UserError */
export async function deploymentIn(folder: string): Promise<Deployment> {
  const [jws, owner] = await Promise.all([readOptional(at(folder).directory), readOptional(at(folder).ownerPublic)]);
  if (jws === undefined || owner === undefined) throw new UserError('NO_CELLS', `There is no cell directory in ${folder}.`, 'Name the folder of ccc up --cells with --data.', EXIT.usage);
  const { directory } = await verifyDirectory(jws.trim(), fromB64u(owner.trim()), Math.floor(Date.now() / 1000));
  const rules = epochRules(directory);
  if (rules === undefined) throw new UserError('NO_CELLS', 'The owner lists no observers: this is a cell by itself.', 'Start several with: ccc up --cells 3', EXIT.usage);
  return { folder, directory, rules, folders: new Map(directory.cells.map(({ name }) => [name, join(folder, name)])) };
}

/** A stopped process's socket still takes connections. */
const STATE_MS = 5_000;

/** `undefined`: it does not answer. */
export async function statesOf({ folders }: Deployment): Promise<Map<string, CellState | undefined>> {
  return new Map(await Promise.all([...folders].map(async ([name, folder]) => [name, await admin<CellState>(folder, 'GET', '/cells', undefined, STATE_MS).catch((error: unknown) => {
    if (error instanceof UserError) return undefined;
    throw error;
  })] as const)));
}

export const HANDOVER_PHASES = ['detect', 'decide', 'fence', 'promote', 'done'] as const;
export interface HandoverEvent { readonly at: number; readonly phase: (typeof HANDOVER_PHASES)[number]; readonly direction: 'failover' | 'failback'; readonly to: string; readonly tenants: readonly string[]; readonly detail?: string }
export type OnHandover = (event: HandoverEvent) => void;

export interface HandoverOptions {
  readonly to: string;
  /** All that `to` may have, unless told. */
  readonly tenants?: readonly string[] | undefined;
  readonly direction: 'failover' | 'failback';
  readonly patienceMs?: number;
  readonly onEvent?: OnHandover;
}
export interface Moved { readonly to: string; readonly tenants: readonly { readonly tenant: string; readonly epoch: number }[]; readonly seconds: number }

const PATIENCE_MS = 60_000;
const LOOK_MS = 100;

const recorder = ({ folder }: Deployment, { to, direction, onEvent }: HandoverOptions) => async (phase: HandoverEvent['phase'], tenants: readonly string[], detail?: string): Promise<void> => {
  const event: HandoverEvent = { at: Date.now(), phase, direction, to, tenants, ...(detail === undefined ? {} : { detail }) };
  await appendFile(join(folder, 'handover.jsonl'), `${JSON.stringify(event)}\n`, { mode: 0o600 });
  onEvent?.(event);
};

async function until<T>(ms: number, what: string, next: string, look: () => Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + ms; ; await new Promise((done) => setTimeout(done, LOOK_MS))) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new UserError('HANDOVER_WAITS', `Not within ${Math.round(ms / 1000)} s: ${what}.`, next, EXIT.unavailable);
  }
}

const stateIn = (states: ReadonlyMap<string, CellState | undefined>, cell: string): CellState => states.get(cell)
  ?? (() => { throw new UserError('UNREACHABLE', `The cell ${cell} does not answer on its admin socket.`, 'Start it, or name another cell.', EXIT.unavailable); })();

/** Tenants that are asked for, as far as `to` may have them. @throws UserError TENANT_ELSEWHERE for one that it may not have, or whose keys it lacks */
async function tenantsFor({ rules, folders }: Deployment, { to, tenants }: HandoverOptions, target: CellState): Promise<string[]> {
  const known = (await admin<{ tenants: { id: string }[] }>(folders.get(to) as string, 'GET', '/status')).tenants.map(({ id }) => id);
  const wanted = tenants ?? known.filter((id) => rules.order(id).includes(to) && !target.unkeyed.includes(id));
  for (const id of wanted) {
    if (!known.includes(id)) throw new UserError('TENANT_UNKNOWN', `The cell ${to} does not know the tenant ${id}.`, 'Check the name: ccc cells', EXIT.usage);
    if (!rules.order(id).includes(to)) throw new UserError('TENANT_ELSEWHERE', `The owner does not list ${to} among the cells of ${id}: ${rules.order(id).join(', ')}.`, 'Choose one of these, or have the owner sign another directory.', EXIT.refused);
    if (target.unkeyed.includes(id)) throw new UserError('TENANT_ELSEWHERE', `The broker of ${to} has no keys of ${id}: its zone may not allow that region, or they are on their way.`, `See the log of the broker of ${to}.`, EXIT.refused);
  }
  return [...wanted];
}

const held = (state: CellState, tenant: string): number | undefined => state.held.find((one) => one.tenant === tenant)?.epoch;

/** Planned: nothing is lost, since the cell that gives back stops first, when the one that takes over has its copy. */
export async function handOver(deployment: Deployment, options: HandoverOptions): Promise<Moved> {
  const { to, patienceMs = PATIENCE_MS } = options;
  const began = Date.now();
  const record = recorder(deployment, options);
  const states = await statesOf(deployment);
  const target = stateIn(states, to);
  const tenants = await tenantsFor(deployment, options, target);
  const holders = [...states].flatMap(([name, state]) => {
    const mine = tenants.filter((tenant) => state !== undefined && name !== to && held(state, tenant) !== undefined);
    return mine.length === 0 ? [] : [{ name, mine }];
  });
  await record('decide', tenants, holders.map(({ name }) => name).join(', ') || 'nobody holds them');
  for (const { name, mine } of holders) {
    await until(patienceMs, `${to} has everything of ${name}`, 'The copy lags or stands still: ccc cells says why. Failing over all the same, with what is there, takes --force.', async () => {
      const now = await statesOf(deployment);
      const out = stateIn(now, name).peers.find(({ peer }) => peer === to);
      const into = stateIn(now, to).peers.find(({ peer }) => peer === name);
      return out?.state === 'streaming' && (out.lagSeconds ?? 1) < 1 && into?.incoming.whole === true ? true : undefined;
    });
    await admin(deployment.folders.get(name) as string, 'POST', '/epochs/give-back', { tenants: mine, to });
    await record('fence', mine, name);
  }
  const moved = await until(patienceMs, `${to} holds the epochs`, 'Two of three observers must be reached by it: ccc cells.', async () => {
    const now = stateIn(await statesOf(deployment), to);
    const all = tenants.flatMap((tenant) => { const epoch = held(now, tenant); return epoch === undefined ? [] : [{ tenant, epoch }]; });
    return all.length === tenants.length ? all : undefined;
  });
  await record('promote', tenants, `epochs ${[...new Set(moved.map(({ epoch }) => epoch))].join(', ')}`);
  const seconds = (Date.now() - began) / 1000;
  await record('done', tenants, `${seconds.toFixed(1)} s`);
  return { to, tenants: moved, seconds };
}

export interface Exposure { readonly tenant: string; readonly tier: 'sync' | 'async'; /** What may be missing: acknowledged in the last so many seconds. */ readonly seconds: number | undefined }

/** What the observers that answer say of these tenants. */
async function views({ rules }: Deployment, tenants: readonly string[]): Promise<EpochView[]> {
  const answers = await Promise.allSettled(rules.observers.map(async ({ cell, url }) => parseJson(observerAnswerSchema, await request(new URL(url).origin, {
    method: 'POST', path: EPOCHS_PATH, body: { observer: cell, cell, instance: 'operator', ask: [], release: [], look: tenants }, now: Math.floor(Date.now() / 1000), timeoutMs: 3_000, maxBytes: 4 << 20,
  }))));
  return answers.flatMap((one) => (one.status === 'fulfilled' ? one.value.views : []));
}

/** Whether that cell held the tenant last, or was named to have everything of it, as far as the observers that answer know. */
export function inherits(seen: readonly EpochView[], tenant: string, to: string): boolean {
  const mine = seen.filter((view) => view.tenant === tenant);
  const last = mine.filter(({ epoch }) => epoch === Math.max(...mine.map((view) => view.epoch)));
  return last.length > 0 && last.every(({ cell, heirs }) => cell === to || heirs?.includes(to) === true);
}

/** What a forced failover may lose: nothing of tier sync where the cell is an heir; else what the dead cell acknowledged since this one heard of it last. */
export async function exposure(deployment: Deployment, options: HandoverOptions): Promise<Exposure[]> {
  const target = stateIn(await statesOf(deployment), options.to);
  const tenants = await tenantsFor(deployment, options, target);
  const seen = await views(deployment, tenants);
  const heard = target.peers.map(({ incoming: { heardAt } }) => heardAt).filter((one) => one !== undefined);
  const oldest = heard.length === 0 ? undefined : Math.max(0, (Date.now() - Math.min(...heard)) / 1000);
  return tenants.map((tenant) => {
    const tier = deployment.rules.tier(tenant);
    return { tenant, tier, seconds: tier === 'sync' && inherits(seen, tenant, options.to) ? 0 : oldest };
  });
}

const GRANT_SECONDS = 86_400;

/** Forced, with an owner's grant in place of one observer: for when two cells are lost. Nobody promotes itself then. */
export async function forceOver(deployment: Deployment, options: HandoverOptions): Promise<Moved> {
  const { folder, folders, rules } = deployment;
  const { to, patienceMs = PATIENCE_MS } = options;
  const began = Date.now();
  const record = recorder(deployment, options);
  const jwk = JSON.parse(await readFile(at(folder).ownerKey, 'utf8').catch((cause: unknown) => {
    throw new UserError('OWNER_KEY', `The owner's key is not in ${at(folder).ownerKey} (${(cause as NodeJS.ErrnoException).code ?? 'unreadable'}).`, 'In production it is offline: the owner signs the grant, and POST /epochs/grant on the admin socket takes it.', EXIT.usage);
  })) as JsonWebKey;
  const key = await importSigningKey(jwk);
  const target = stateIn(await statesOf(deployment), to);
  const tenants = await tenantsFor(deployment, options, target);
  const left = tenants.filter((tenant) => held(target, tenant) === undefined);
  const epoch = Math.max(0, ...(await views(deployment, left)).map((view) => view.epoch)) + FORCED_STEP;
  await record('decide', tenants, `forced, epoch ${epoch}`);
  const iat = Math.floor(Date.now() / 1000);
  for (const tenant of left) {
    const grant = await signGrant({ deployment: rules.deployment, tenant, cell: to, epoch, iat, exp: iat + GRANT_SECONDS }, key);
    await admin(folders.get(to) as string, 'POST', '/epochs/grant', { grant });
  }
  await record('fence', left);
  const moved = await until(patienceMs, `${to} holds the epochs`, 'A grant stands in for one observer of two: that of the cell itself must run, and nobody else may renew the epoch. As long as its holder lives, move without --force.', async () => {
    const now = stateIn(await statesOf(deployment), to);
    const all = tenants.flatMap((tenant) => { const mine = held(now, tenant); return mine === undefined ? [] : [{ tenant, epoch: mine }]; });
    return all.length === tenants.length ? all : undefined;
  });
  await record('promote', tenants);
  const seconds = (Date.now() - began) / 1000;
  await record('done', tenants, `${seconds.toFixed(1)} s`);
  return { to, tenants: moved, seconds };
}

/** Back to the first cell of each tenant's order that answers. */
export async function handBack(deployment: Deployment, options: Omit<HandoverOptions, 'to' | 'direction'>): Promise<Moved[]> {
  const states = await statesOf(deployment);
  const away = new Map<string, string[]>();
  for (const [name, state] of states) {
    for (const { tenant } of state?.held ?? []) {
      const first = deployment.rules.order(tenant)[0];
      if (first === undefined || first === name || (options.tenants !== undefined && !options.tenants.includes(tenant))) continue;
      stateIn(states, first);
      away.set(first, [...away.get(first) ?? [], tenant]);
    }
  }
  const moved: Moved[] = [];
  for (const [to, tenants] of away) moved.push(await handOver(deployment, { ...options, to, tenants, direction: 'failback' }));
  return moved;
}

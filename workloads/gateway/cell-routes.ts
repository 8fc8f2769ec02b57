/** The admin listener's routes about other cells: who has what, how far copies are, and what is wrong. */
import { z } from 'zod';
import { cellName, tenantId } from '../protocol/wire.ts';
import type { Core } from './core.ts';
import { TAKE_OVER_PHASES } from './phases.ts';
import { route, type Route } from './route.ts';

const count = z.number().int();
const peerSchema = z.strictObject({
  peer: cellName,
  /** Of what goes there. */
  state: z.enum(['absent', 'down', 'copying', 'streaming', 'lost']),
  lagBytes: z.number().optional(),
  lagSeconds: z.number().optional(),
  synced: z.boolean(),
  incoming: z.strictObject({ state: z.enum(['absent', 'stopped', 'copying', 'down', 'streaming']), whole: z.boolean(), errors: count, heardAt: z.number().optional() }),
});
export const cellStateSchema = z.strictObject({
  cell: cellName,
  held: z.array(z.strictObject({ tenant: tenantId, epoch: count, until: z.number() })),
  peers: z.array(peerSchema),
  degraded: z.strictObject({ at: z.number(), reason: z.string() }).optional(),
  conflicts: count,
  alarms: z.array(z.string()),
  /** Of take-overs by this process, oldest first. */
  phases: z.array(z.strictObject({ at: z.number(), cell: cellName, tenant: tenantId, phase: z.enum(TAKE_OVER_PHASES), epoch: count.optional() })),
  /** Tenants that may come here and whose keys are not here: nobody could work for them. */
  unkeyed: z.array(tenantId),
});
export type CellState = z.infer<typeof cellStateSchema>;

async function withoutKeys({ keyed, epochs, ledger, cell }: Core): Promise<string[]> {
  const rules = await epochs.rules();
  if (rules === undefined || keyed === undefined) return [];
  const mine = (await ledger.tenants()).map(({ id }) => id).filter((id) => rules.order(id).includes(cell.cell));
  const has = await Promise.all(mine.map((id) => keyed.has(id)));
  return mine.filter((_, i) => !has[i]);
}

export function cellRoutes(core: Core): Route<'operator'>[] {
  return [
    route({
      method: 'GET', path: '/cells', operation: 'cells', auth: 'operator', summary: 'Epochs held here, copies to and from other cells, alarms.',
      answers: { 200: { description: 'State', schema: cellStateSchema } }, errors: ['LEDGER_UNAVAILABLE'],
      handler: async (): Promise<CellState> => {
        const [held, replication, unkeyed] = await Promise.all([core.epochs.status(), core.replication?.state(), withoutKeys(core)]);
        return {
          cell: core.cell.cell, held, unkeyed, phases: [...core.phases.recent],
          peers: (replication?.peers ?? []).map(({ lagBytes, lagSeconds, incoming: { heardAt, ...incoming }, ...peer }) => ({
            ...peer, ...(lagBytes === undefined ? {} : { lagBytes }), ...(lagSeconds === undefined ? {} : { lagSeconds }), incoming: { ...incoming, ...(heardAt === undefined ? {} : { heardAt }) },
          })),
          ...(replication?.degraded === undefined ? {} : { degraded: replication.degraded }), conflicts: replication?.conflicts ?? 0, alarms: [...replication?.alarms ?? []],
        };
      },
    }),
  ];
}

/**
 * `POST observer /v1/epochs`: a cell's gateway asks for promises, gives epochs back and looks who has them, many tenants at once. The request is
 * proven by the cell's key of the directory (header `ccc-pop`, pop.ts); a look needs no proof, for what it answers is public.
 */
import { z } from 'zod';
import { compactJws, cellName, tenantId } from './wire.ts';
import { epochNumber, instanceName, namingSchema } from './epoch.ts';

export const EPOCHS_PATH = '/v1/epochs';
export const MAX_TENANTS = 10_000;

export const observerRequestSchema = z.strictObject({
  /** Which observer is asked: a request passed on to another one is void there. */
  observer: cellName,
  cell: cellName,
  instance: instanceName,
  /**
   * Promise this epoch to this cell. `heirs`: by one that has had a lease of it, whom it leaves the tenant to; others get no promise then. `since`: it was found that
   * they have everything after this observer's promise of that time (seconds, its `iat`), so processes of this cell that ended before no longer count.
   */
  ask: z.array(z.strictObject({ tenant: tenantId, epoch: epochNumber, heirs: namingSchema.extend({ since: z.number().min(0) }).optional() })).max(MAX_TENANTS),
  /** The instance relies no longer on promises of this epoch. `to`: the cell that shall have it next. */
  release: z.array(z.strictObject({ tenant: tenantId, epoch: epochNumber, to: cellName.optional(), heirs: namingSchema.optional() })).max(MAX_TENANTS),
  look: z.array(tenantId).max(MAX_TENANTS),
}).refine(({ ask, release, look }) => ask.length + release.length + look.length <= MAX_TENANTS, `at most ${MAX_TENANTS} tenants in one request`);
export type ObserverRequest = z.infer<typeof observerRequestSchema>;

/** What an observer says about a tenant, unsigned: it decides who asks next, never who may work. */
export const epochViewSchema = z.strictObject({
  tenant: tenantId,
  /** The highest epoch promised to anybody, 0 for none. */
  epoch: z.number().int().min(0),
  cell: cellName.optional(),
  /** How long its last promise lasts, milliseconds from this answer, clock bound included; 0: it is free. */
  leftMs: z.number().int().min(0),
  /** It was given back for this cell. */
  to: cellName.optional(),
  /** It was given back, not run out. */
  released: z.boolean(),
  /** Who may have it next; absent: anybody of the tenant's order. */
  heirs: z.array(cellName).optional(),
});
export type EpochView = z.infer<typeof epochViewSchema>;

export const EPOCH_DENIALS = ['EPOCH_HELD', 'EPOCH_LOW', 'EPOCH_CELL', 'EPOCH_INSTANCES', 'EPOCH_CLOCK', 'EPOCH_HEIR', 'EPOCH_STEP'] as const;
export type EpochDenial = (typeof EPOCH_DENIALS)[number];

export const observerAnswerSchema = z.strictObject({
  promises: z.array(compactJws),
  denied: z.array(epochViewSchema.extend({ code: z.enum(EPOCH_DENIALS) })),
  views: z.array(epochViewSchema),
});
export type ObserverAnswer = z.infer<typeof observerAnswerSchema>;

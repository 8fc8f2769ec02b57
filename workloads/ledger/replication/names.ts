/** Names of what replication makes in a server. */
import { createHash } from 'node:crypto';

export const PUBLICATION = 'ccc';

/**
 * Every table but what a cell has for itself: `tenant_keys` (each cell's broker gets them by attested release and seals them under its own sealer:
 * another cell's sealed copy opens nowhere else, and would stand in the way of the own one under the same key id), what is known about
 * peers, and the migrator's tables. `sessions` go along: a result rests on its counter's evidence, and a client asks any cell for it. A session
 * of another cell lets nobody in, for its token names the cell and its broker.
 */
export const REPLICATED = ['tenants', 'api_keys', 'policies', 'jobs', 'job_events', 'results', 'usage', 'receipts', 'sessions', 'audit', 'audit_heads', 'beats'] as const;

/** Subscription and slot of one direction: of a form that slots may have, and distinct for any two cells. */
export function linkName(from: string, to: string): string {
  const tag = createHash('sha256').update(`${from}/${to}`).digest('hex').slice(0, 8);
  return `ccc_${`${from}_${to}`.replaceAll('-', '_').slice(0, 40)}_${tag}`;
}

/**
 * How a subscriber calls itself once it has a whole copy. Before, its position says nothing: rows of tables that are still being copied are not in it. So
 * this name, not the subscription's own, is the one in `synchronous_standby_names`.
 */
export const readyName = (from: string, to: string): string => `${linkName(from, to)}_ok`;

/** What a drill's three cells are, and whose jobs they count. */
import type { FleetCell, FleetTenantSpec } from '../cell/fleet-types.ts';
import type { Target } from './requesters.ts';
import type { Store } from './rows.ts';

export const REGIONS = { aws: 'eu-central-1', azure: 'westeurope', gcp: 'europe-west4' } as const;
export const PLATFORMS = { aws: 'aws-nitro', azure: 'azure-cvm', gcp: 'gke' } as const;
/** In the order of the tenants that are hurt. */
export const CELLS = { aws: ['aws', 'azure', 'gcp'], azure: ['azure', 'aws', 'gcp'] } as const;

/** Tenants whose first cell is hurt and who may go elsewhere; `resident` may not; `neighbour` and `elsewhere` live in the two others all the time. */
export function tenantsOf([primary, standby, third]: readonly [string, string, string]): FleetTenantSpec[] {
  const away = ['sync', 'async'].flatMap((tier) => [1, 2, 3].map((n): FleetTenantSpec => ({ id: `${tier}-${n}`, tier: tier as 'sync' | 'async', order: [primary, standby, third] })));
  return [...away, { id: 'resident', tier: 'async', order: [primary], zone: 'primary-only' }, { id: 'neighbour', tier: 'sync', order: [standby, third, primary] }, { id: 'elsewhere', tier: 'async', order: [third, standby] }];
}

export const targetOf = ({ folder, cell, configDigest }: FleetCell): Target => ({ folder, cell, configDigest });
export const storeOf = ({ name, databaseUrl }: FleetCell): Store => ({ name, url: databaseUrl });

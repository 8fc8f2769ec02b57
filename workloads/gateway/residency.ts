/** Which cells a tenant's ciphertext may be in, by what the owner signed: those of a region of its zone, and of these, where the directory has an order for the tenant, those that may work for it. */
import type { CellDirectory, OwnerPolicy } from '../protocol/owner.ts';

/** An unknown zone allows no cell. Without a directory nobody knows of others: no cell either. */
export function mayHold(policy: Pick<OwnerPolicy, 'zones'>, directory: Pick<CellDirectory, 'cells' | 'tenants'> | undefined, tenant: string, zone: string): string[] {
  const regions = policy.zones.find(({ name }) => name === zone)?.regions ?? [];
  const order = (directory?.tenants?.find((one) => one.tenant === tenant) ?? directory?.tenants?.find((one) => one.tenant === '*'))?.order;
  return directory?.cells.filter(({ name, region }) => regions.includes(region) && order?.includes(name) !== false).map(({ name }) => name) ?? [];
}

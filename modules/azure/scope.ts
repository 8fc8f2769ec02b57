/** What every construct of the Azure cell needs: where it goes and what it is called. */
import type { ResourceGroup } from '@cdktf/provider-azurerm/lib/resource-group/index.js';
import type { TerraformResourceLifecycle } from 'cdktf';
import type { Namer } from '../naming.ts';

export interface AzureScope {
  readonly named: Namer;
  readonly group: ResourceGroup;
  /** Written out in each resource, not referenced: residency is then visible in the plan of each. */
  readonly location: string;
  readonly tenantId: string;
  readonly subscriptionId: string;
  /** A plan that would destroy a key, a database or a store fails. */
  readonly protect: boolean;
}

export const placed = ({ group, location }: Pick<AzureScope, 'group' | 'location'>): { resourceGroupName: string; location: string } => ({ resourceGroupName: group.name, location });

export const guarded = (protect: boolean, more: TerraformResourceLifecycle = {}): TerraformResourceLifecycle | undefined =>
  protect ? { ...more, preventDestroy: true } : Object.keys(more).length > 0 ? more : undefined;

/** Days as ISO 8601 duration. */
export const days = (count: number): string => `P${count}D`;

import { expect, it } from 'vitest';
import { mayHold } from '../../workloads/gateway/residency.ts';

const policy = { zones: [{ name: 'eu', regions: ['eu-1', 'eu-2'], origin: 'proven' as const }, { name: 'one', regions: ['eu-1'], origin: 'asserted' as const }] };
const cells = [['a', 'eu-1'], ['b', 'eu-2'], ['c', 'us-1']].map(([name, region]) => ({ name, region }));
const bare = { cells } as never;
const ordered = { cells, tenants: [{ tenant: 'acme', order: ['b', 'c'], tier: 'sync' }, { tenant: '*', order: ['a', 'b', 'c'], tier: 'async' }] } as never;

it('ciphertext may be in the cells of the zone\'s regions, and of an unknown zone or without a directory in none', () => {
  expect(['eu', 'one', 'nowhere'].map((zone) => mayHold(policy, bare, 'acme', zone))).toEqual([['a', 'b'], ['a'], []]);
  expect(mayHold(policy, undefined, 'acme', 'eu')).toEqual([]);
});

it('of these, in those that may work for the tenant, where the owner says which', () => {
  expect([mayHold(policy, ordered, 'acme', 'eu'), mayHold(policy, ordered, 'acme', 'one'), mayHold(policy, ordered, 'other', 'eu')]).toEqual([['b'], [], ['a', 'b']]);
});

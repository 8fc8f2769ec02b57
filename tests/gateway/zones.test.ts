import { expect, test } from 'vitest';
import { Zones } from '../../workloads/gateway/zones.ts';

test('a zone that was read is not asked again; a tenant that was not there, or a ledger that was away, is', async () => {
  const asked: string[] = [];
  const there = new Map<string, string>([['acme', 'eu']]);
  let away = false;
  const zones = new Zones({
    tenant: async (id) => {
      asked.push(id);
      if (away) throw new Error('away');
      const zone = there.get(id);
      return zone === undefined ? undefined : { id, zone, createdAt: 0 };
    },
  });
  expect([await zones.of('acme'), await zones.of('acme'), await zones.of('late'), await zones.of('late')]).toEqual(['eu', 'eu', undefined, undefined]);
  expect(asked).toEqual(['acme', 'late', 'late']);
  away = true;
  await expect(zones.of('late')).rejects.toThrow('away');
  expect(await zones.of('acme')).toBe('eu');
  away = false;
  there.set('late', 'us');
  expect([await zones.of('late'), await zones.of('late')]).toEqual(['us', 'us']);
  expect(asked).toEqual(['acme', 'late', 'late', 'late', 'late']);
});

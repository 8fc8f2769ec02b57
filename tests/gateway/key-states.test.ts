import { expect, test } from 'vitest';
import { KeyStates } from '../../workloads/gateway/key-states.ts';
import type { StoredKey } from '../../workloads/protocol/messages.ts';

const key = (id: string, state: StoredKey['state']) => ({ id, alg: 'X-Wing', state, sealed: 'SECRET' }) as StoredKey;
const active = (id: string) => (keys: readonly { id: string; state: string }[]): string => {
  if (keys.some((one) => 'sealed' in one)) throw new Error('more than is needed is kept');
  const found = keys.find((one) => one.id === id && one.state === 'active');
  if (found === undefined) throw new Error(`no ${id} among ${keys.map((one) => `${one.id} ${one.state}`).join(', ')}`);
  return found.id;
};

test('keys are read once a second, and anew before anything is refused', async () => {
  let [now, away] = [1_000, false];
  const rows = new Map([['acme', [key('a1', 'active')]], ['globex', [key('g1', 'active')]]]);
  const asked: string[] = [];
  const states = new KeyStates({ tenantKeys: async (id) => { asked.push(id); if (away) throw new Error('away'); return rows.get(id) ?? []; } }, () => now);

  expect([await states.pick('acme', active('a1')), await states.pick('acme', active('a1')), await states.pick('globex', active('g1'))]).toEqual(['a1', 'a1', 'g1']);
  expect(asked).toEqual(['acme', 'globex']);
  // One tenant's keys are not another's.
  await expect(states.pick('globex', active('a1'))).rejects.toThrow('no a1 among g1 active');
  // A new key is found at once.
  rows.set('acme', [key('a1', 'retired'), key('a2', 'active')]);
  expect(await states.pick('acme', active('a2'))).toBe('a2');
  await expect(states.pick('acme', active('a1'))).rejects.toThrow('no a1 among a1 retired, a2 active');
  expect(asked).toEqual(['acme', 'globex', 'globex', 'acme', 'acme']);
  // One that was retired, a second later.
  rows.set('acme', [key('a2', 'retired')]);
  now += 999;
  expect(await states.pick('acme', active('a2'))).toBe('a2');
  now += 1;
  await expect(states.pick('acme', active('a2'))).rejects.toThrow('no a2 among a2 retired');
  // Nothing is made of a ledger that does not answer.
  away = true;
  await expect(states.pick('acme', active('a2'))).rejects.toThrow('away');
});

/** Attributes of a node's TD: each weakening is refused alone, under signatures that verify, live and stored. */
import { expect, test } from 'vitest';
import { fromHex } from '../../../attestation/bytes.ts';
import type { TdFields } from '../../../attestation/platforms/simulated/tdx-quote.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { filled, refused } from '../support.ts';
import { replay, tdxNode, verify } from './support.ts';

test.each<[string, Partial<TdFields>, RefusalCode]>([
  ['debugged', { tdAttributes: fromHex('0100001000000000') }, 'DEBUG_TD'],
  ['whose exceptions the host provokes', { tdAttributes: fromHex('0000000000000000') }, 'TD_ATTR'],
  ['that may be migrated', { tdAttributes: fromHex('0000003000000000') }, 'TD_ATTR'],
  ['whose performance the host monitors', { tdAttributes: fromHex('0000001000000080') }, 'TD_ATTR'],
  ['with a reserved bit', { tdAttributes: fromHex('0200001000000000') }, 'TD_ATTR'],
  ['with unknown features', { xfam: fromHex('e702060000000001') }, 'TD_ATTR'],
  ['without a feature that is always on', { xfam: fromHex('e502060000000000') }, 'TD_ATTR'],
  ['below a module of somebody else', { mrSignerSeam: filled(48, 1) }, 'TDX_MODULE'],
  ['below a module under test', { seamAttributes: filled(8, 1) }, 'TDX_MODULE'],
])('a TD %s', async (_, td, expected) => {
  const node = await tdxNode({ quote: { td } });
  await refused(verify(node), expected);
  await refused(replay(node), expected);
});

test('a TD with a service TD', async () => {
  await refused(verify(await tdxNode({ quote: { version: 5, td: { mrServiceTd: filled(48, 1) } } })), 'TD_ATTR');
});

test('a TD of production', async () => {
  const claims = await verify(await tdxNode({ quote: { version: 5 } }));
  expect(claims.checks.map((c) => c.id)).toEqual(expect.arrayContaining(['TDX-TD-DEBUG', 'TDX-TD-SEPT-VE', 'TDX-TD-XFAM', 'TDX-TD-SEAM-SIGNER', 'TDX-TD-SERVICE-TD', 'TDX-TD-RESERVED']));
});

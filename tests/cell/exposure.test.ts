/** Whether a cell that takes over by force has everything, as the observers that still answer tell it. */
import { expect, test } from 'vitest';
import { inherits } from '../../scripts/cell/handover.ts';
import type { EpochView } from '../../workloads/protocol/observer.ts';

const view = (change: Partial<EpochView> = {}): EpochView => ({ tenant: 'acme', epoch: 7, cell: 'aws', leftMs: 0, released: false, heirs: ['azure'], ...change });

test.each<[string, EpochView[], boolean]>([
  ['named by the last holder', [view()], true],
  ['the last holder itself', [view({ cell: 'azure', heirs: [] })], true],
  ['another cell is named', [view({ heirs: ['gcp'] })], false],
  ['nobody is named', [view({ heirs: undefined })], false],
  ['nobody answers', [], false],
  ['named for another tenant only', [view({ tenant: 'globex' })], false],
  ['named under an epoch before the last', [view(), view({ epoch: 8, cell: 'gcp', heirs: ['aws'] })], false],
  ['two observers that differ about the last', [view(), view({ heirs: ['gcp'] })], false],
  ['one observer that lags', [view({ epoch: 6, heirs: ['gcp'] }), view()], true],
])('%s', (_, seen, expected) => {
  expect(inherits(seen, 'acme', 'azure')).toBe(expected);
});

/** Which attester a cell's process gets where the hardware is missing. */
import { expect, test } from 'vitest';
import { attesterFor } from '../../workloads/protocol/attester.ts';
import type { CellConfig } from '../../workloads/protocol/cell.ts';
import { refused } from '../attestation/support.ts';

const at = { host: '127.0.0.1', port: 1 };
const cell = (platform: CellConfig['platform']): CellConfig => ({ cell: 'a', cloud: 'aws', region: 'r', epoch: 1, platform, simulated: false, ownerKey: '', gateway: { public: at, internal: at }, broker: at });

test.each(['aws-nitro', 'azure-cvm', 'gke'] as const)('%s without its hardware: no attester, and none in its stead', async (platform) => {
  const refusal = await refused(attesterFor(cell(platform), 'counter', '/nowhere', () => 0), 'ATTESTER_ABSENT');
  expect(refusal.reasons[0]?.path).toBe(platform === 'aws-nitro' ? '/dev/nsm' : 'cell.platform');
});

/** The attester of this process: of the simulated TEE where the cell says so, of the hardware otherwise. Never one for want of the other. */
import { join } from 'node:path';
import type { Attester, Role } from '../../attestation/evidence.ts';
import { refuse } from '../../attestation/refusal.ts';
import type { CellConfig } from './cell.ts';
import type { Clock } from './clock.ts';
import { measureRole } from './measure.ts';

export async function attesterFor(cell: CellConfig, role: Role, dataFolder: string, now: Clock): Promise<Attester> {
  if (cell.simulated) {
    const { simulatedAttester } = await import('../../attestation/platforms/simulated/attest.ts');
    return simulatedAttester({ folder: join(dataFolder, 'simulated'), registers: await measureRole(role), now });
  }
  if (cell.platform !== 'aws-nitro') return refuse('ATTESTER_ABSENT', 'cell.platform', 'Start the platform\'s attester (attestation/platforms) with the registers of the owner\'s policy; this process opens the Nitro Secure Module only.', { have: cell.platform, need: 'aws-nitro' });
  const [{ nitroAttester }, { openNsm }] = await Promise.all([import('../../attestation/platforms/aws-nitro/attest.ts'), import('../../attestation/devices/nsm-device.ts')]);
  return nitroAttester((await openNsm()).exchange);
}

/** The attester of this process: of the simulated TEE where the cell says so, of the hardware otherwise. Never one for want of the other. */
import { join } from 'node:path';
import type { Attester, Role } from '../../attestation/evidence.ts';
import type { CellConfig } from './cell.ts';
import type { Clock } from './clock.ts';
import { measureRole } from './measure.ts';

export async function attesterFor(cell: CellConfig, role: Role, dataFolder: string, now: Clock): Promise<Attester> {
  if (cell.simulated) {
    const { simulatedAttester } = await import('../../attestation/platforms/simulated/attest.ts');
    return simulatedAttester({ folder: join(dataFolder, 'simulated'), registers: await measureRole(role), now });
  }
  const { nitroAttester } = await import('../../attestation/platforms/aws-nitro/attest.ts');
  return nitroAttester();
}

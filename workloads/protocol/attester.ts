/** The attester of this process: of the simulated TEE where the cell says so, of the hardware otherwise. Never one for want of the other. */
import { join } from 'node:path';
import { requiredRegisters } from '../../attestation/policy.ts';
import type { Attester, Role } from '../../attestation/evidence.ts';
import { type CellConfig, platformOf } from './cell.ts';
import type { Clock } from './clock.ts';
import { measureRole } from './measure.ts';
import type { OwnerPolicy } from './owner.ts';

/** @param policy in force when evidence is made: a vTPM quotes what it compares. @throws Refusal ATTESTER_ABSENT */
export async function attesterFor(cell: CellConfig, role: Role, dataFolder: string, now: Clock, policy: () => Promise<OwnerPolicy>): Promise<Attester> {
  const platform = platformOf(cell, role);
  if (!cell.simulated) {
    const { machineAttesterFor } = await import('../../attestation/devices/machine.ts');
    return machineAttesterFor(platform, async () => requiredRegisters((await policy()).roles[role], platform));
  }
  const simulated = { folder: join(dataFolder, 'simulated'), registers: await measureRole(role), now };
  if (platform === 'aws-nitro') return (await import('../../attestation/platforms/simulated/attest.ts')).simulatedAttester(simulated);
  return (await import('../../attestation/platforms/simulated/machine-attest.ts')).machineAttester({ ...simulated, platform });
}

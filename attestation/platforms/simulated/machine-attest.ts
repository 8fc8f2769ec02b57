/** The attester of a simulated machine whose state lies in a folder, as `<platform>.json`, mode 0600. Node only. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Attester } from '../../evidence.ts';
import { refuse } from '../../refusal.ts';
import type { KeyRing } from './keys.ts';
import { decodeMachine, encodeMachine, machineEvidence, type MachinePlatform, type MachineState, makeMachine, type Measured } from './machine.ts';
import { writeWhole } from './whole-file.ts';

const fileOf = (folder: string, platform: MachinePlatform): string => join(folder, `${platform}.json`);

/** The machine of this folder; made when there is none, and kept. @param now epoch seconds */
export async function machineIn(folder: string, platform: MachinePlatform, now: number, keys: KeyRing): Promise<MachineState> {
  const path = fileOf(folder, platform);
  const existing = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (existing !== undefined) return decodeMachine(existing);
  const state = await makeMachine(platform, now, keys);
  await writeWhole(path, encodeMachine(state), 0o600);
  return state;
}

export interface MachineAttesterOptions { readonly folder: string; readonly platform: MachinePlatform; readonly registers: Measured; /** Epoch milliseconds. */ readonly now: () => number }

/** @throws when the folder has no such machine: it is made with the cell */
export async function machineAttester({ folder, platform, registers, now }: MachineAttesterOptions): Promise<Attester> {
  const state = decodeMachine(await readFile(fileOf(folder, platform), 'utf8'));
  return {
    async attest({ binding }) {
      if (binding.platform !== platform) refuse('BINDING_PLATFORM', 'binding.platform', 'Ask the attester of that platform.', { have: binding.platform, need: platform });
      return { platform, document: await machineEvidence(state, registers, binding, Math.floor(now() / 1000)) };
    },
  };
}

/** A development cell's machines: which platform has which role, what evidence of it shows, and under which roots. */
import type { Platform, Role } from '../../attestation/evidence.ts';
import { ROLES } from '../../attestation/evidence.ts';
import type { Endpoints } from '../../attestation/collateral/endpoints.ts';
import { createDevelopmentRoot, developmentRoot } from '../../attestation/platforms/simulated/attest.ts';
import type { KeyRing } from '../../attestation/platforms/simulated/keys.ts';
import { machineRegisters, machineRoots, type MachineState, vendorItems } from '../../attestation/platforms/simulated/machine.ts';
import { machineIn } from '../../attestation/platforms/simulated/machine-attest.ts';
import type { Reference } from '../../attestation/policy.ts';
import { type CellConfig, platformOf } from '../../workloads/protocol/cell.ts';
import type { Registers } from '../../workloads/protocol/measure.ts';
import type { OwnerPolicy } from '../../workloads/protocol/owner.ts';

/** Of a cell: what counters run on. */
export const CELL_PLATFORMS = ['aws-nitro', 'azure-cvm', 'gke'] as const satisfies readonly Platform[];
export type CellPlatform = (typeof CELL_PLATFORMS)[number];
export type Scope = 'enclave' | 'vm' | 'node' | 'container';

/** A node's evidence is no broker's: on Google's cloud it runs in Confidential Space. */
export const brokerPlatformOf = (platform: CellPlatform): Platform | undefined => (platform === 'gke' ? 'confidential-space' : undefined);
export const cloudOf = (platform: CellPlatform): CellConfig['cloud'] => ({ 'aws-nitro': 'aws', 'azure-cvm': 'azure', gke: 'gcp' } as const)[platform];
export const scopeOf = (platform: Platform): Scope => ({ 'aws-nitro': 'enclave', 'azure-cvm': 'vm', gke: 'node', 'confidential-space': 'container' } as const)[platform];

export const registersOf = async (platform: Platform, measured: Registers): Promise<Reference['registers']> => (platform === 'aws-nitro' ? measured : await machineRegisters(platform, measured)) as Reference['registers'];

export async function referenceFor(cell: CellConfig, role: Role, measured: Registers): Promise<Reference> {
  const platform = platformOf(cell, role);
  return { id: `${role}@tree`, platform, registers: await registersOf(platform, measured) } as Reference;
}

/** Made once and kept, one for each platform that the cell has. @param now epoch seconds */
export async function machinesOf(folder: string, platforms: readonly Platform[], now: number, keys: KeyRing): Promise<MachineState[]> {
  return Promise.all([...new Set(platforms)].flatMap((platform) => (platform === 'aws-nitro' ? [] : [machineIn(folder, platform, now, keys)])));
}

type Roots = OwnerPolicy['developmentRoots'];
export async function developmentRoots(folder: string, cell: CellConfig, machines: readonly MachineState[], now: number): Promise<Roots> {
  const nitro = async (): Promise<Roots> => {
    await createDevelopmentRoot(folder, { region: cell.region, now });
    const { platform, name, certSha256, spkiSha256 } = await developmentRoot(folder);
    return [{ platform, name, certSha256, spkiSha256 }];
  };
  const others = await Promise.all(machines.map(async (state) => (await machineRoots(state)).map(({ name, purpose, certSha256, spkiSha256 }) => ({ platform: state.platform, purpose, name, certSha256, spkiSha256 }))));
  return [...(ROLES.some((role) => platformOf(cell, role) === 'aws-nitro') ? await nitro() : []), ...others.flat()];
}

/** Addresses of the vendors that a development cell plays itself. */
export async function vendorEndpoints(base: string, machines: readonly MachineState[], now: number): Promise<Pick<Endpoints, 'amdKds' | 'lists'>> {
  const lists = (await Promise.all(machines.map((m) => vendorItems(m, now)))).flat().filter(({ kind }) => kind === 'azure-vtpm-crl' || kind === 'google-crl');
  return { amdKds: `${base}/kds`, lists: Object.fromEntries(lists.map(({ key }) => [key, `${base}/lists/${key}`])) };
}

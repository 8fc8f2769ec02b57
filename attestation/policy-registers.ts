/** What references of a policy pin, by platform; without the schema (policy.ts), which only those need who read policies. */
import type { Reference } from './policy.ts';

/** Without all of these, another kernel, initrd or command line could pass. */
export const VTPM_REQUIRED = [4, 7, 8, 9, 11, 12, 13] as const;
export const vtpm = <N extends number>(index: N) => `vTPM:PCR${index}` as const;

const registersOf = (reference: Reference): [name: string, value: string][] => Object.entries(reference.registers as Record<string, string | undefined>).filter((e): e is [string, string] => e[1] !== undefined);

/** What this reference lists, by register. */
export const referenceRegisters = (reference: Reference): ReadonlyMap<string, string> => new Map(registersOf(reference));

/** Whether references of one platform name the same registers of a vTPM. */
export function oneQuote(references: readonly Reference[]): boolean {
  const sets = new Map<string, Set<string>>();
  for (const r of references) {
    const names = registersOf(r).map(([name]) => name).filter((name) => name.startsWith('vTPM:')).sort().join();
    if (names !== '') sets.set(r.platform, (sets.get(r.platform) ?? new Set()).add(names));
  }
  return [...sets.values()].every((s) => s.size === 1);
}

const NITRO_REQUIRED = ['PCR0', 'PCR1', 'PCR2'];
const hexOf = (bytes: number) => (value: string | undefined): boolean => value !== undefined && value.length === 2 * bytes && /^[0-9a-f]+$/.test(value);

/** Whether a reference pins all that its platform must have, for policies that never saw the schema. Registers of one digest each: 48 bytes, 32 of a vTPM. */
export function isComplete(reference: Reference): boolean {
  const registers = referenceRegisters(reference);
  const has = (names: readonly string[], bytes: number): boolean => names.every((name) => hexOf(bytes)(registers.get(name)));
  const pcrs = VTPM_REQUIRED.map(vtpm);
  switch (reference.platform) {
    case 'aws-nitro': return has(NITRO_REQUIRED, 48);
    case 'azure-cvm': return has(pcrs, 32);
    case 'gke': return has(['LAUNCH'], 48) || has(['MRTD', 'RTMR1', 'RTMR2'], 48) || has(pcrs, 32);
    case 'confidential-space': return has(['IMAGE'], 32);
    default: return false;
  }
}

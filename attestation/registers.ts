/** Names of registers that adapters and policies share. */

/** PCR indexes of the vTPM among register names, ascending. */
export const vtpmIndexes = (registers: readonly string[]): number[] => registers.flatMap((r) => /^vTPM:PCR(\d{1,2})$/.exec(r)?.[1] ?? []).map(Number).sort((a, b) => a - b);

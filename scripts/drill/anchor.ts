/** The digest of a signed report in the audit chains of cells: who holds a later head of such a chain can tell when the report was there, and that it was not written anew since. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { admin } from '../cell/admin.ts';
import { deploymentIn } from '../cell/handover.ts';
import { UserError } from '../cli/output.ts';

/** As the audit chain has it: workloads/ledger/audit.ts says how `hash` is made of the rest. */
export interface Anchor { readonly cell: string; readonly seq: number; readonly prev: string; readonly kind: string; readonly body: string; readonly at: number; readonly hash: string }

export interface Anchored { readonly scenario: string; readonly ok: boolean; /** Compact JWS. */ readonly jws: string }

/** In the chain of each of these cells, through its admin socket. @param folders of cells. @throws UserError UNREACHABLE */
export async function anchor(folders: readonly string[], { scenario, ok, jws }: Anchored): Promise<Anchor[]> {
  const digest = createHash('sha256').update(jws).digest('hex');
  return Promise.all(folders.map((folder) => admin<Anchor>(folder, 'POST', '/audit/drills', { digest, scenario, ok })));
}

/** Of a cell, or of every cell of a folder that several share. */
export async function cellsIn(folder: string): Promise<string[]> {
  const several = await deploymentIn(folder).catch((error: unknown) => {
    if (error instanceof UserError && error.code === 'NO_CELLS') return undefined;
    throw error;
  });
  return several === undefined ? [folder] : [...several.directory.cells.map(({ name }) => join(folder, name))];
}

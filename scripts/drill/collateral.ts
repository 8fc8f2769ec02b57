/** Runbook collateral-outage: what is cached is looked at, carried in a signed bundle, and fetched anew once the vendor is back. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { at } from '../cell/folder.ts';
import { UserError } from '../cli/output.ts';
import type { Stage } from './scenarios.ts';

/** While the vendor is away. @throws UserError where the cache lacks what a restart needs */
export async function duringOutage({ fleet, operator }: Pick<Stage, 'fleet' | 'operator'>): Promise<void> {
  const FILE = join(fleet.folder, 'bundle');
  const KEY = (await readFile(at(fleet.folder).ownerPublic, 'utf8')).trim();
  const listed = await operator.type('collateral-outage', 'ccc collateral list --cache FOLDER/azure/collateral/broker');
  const ITEM = itemsIn(listed)[0];
  if (ITEM === undefined) throw new UserError('DRILL_STAGE', 'Nothing of a vendor is cached in the broker\'s folder.', 'Read the broker\'s log.');
  await operator.type('collateral-outage', 'ccc collateral export FILE --cache FOLDER/azure/collateral/broker --data FOLDER', { FILE });
  await operator.type('collateral-outage', 'ccc collateral import FILE --signer KEY --cache FOLDER/azure/collateral/broker', { FILE, KEY });
  await operator.type('collateral-outage', 'ccc collateral fetch ITEM --cache FOLDER/azure/collateral/broker', { ITEM });
}

/** Names as the list shows them, in its last column, below its head. */
export const itemsIn = (listed: string): string[] => listed.split('\n').slice(1).flatMap((row) => /\s([a-z][a-z0-9-]*\/\S+)\s*$/.exec(row)?.[1] ?? []);

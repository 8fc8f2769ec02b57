/** Who the client is and whom it trusts: gateway, API key, and the owner's key, pinned out of band. */
import { z } from 'zod';
import { type Bytes, fromB64u } from '../../attestation/bytes.ts';
import { collateralSchema } from '../../workloads/protocol/cell.ts';
import { b64uText, cellName, tenantId, zoneName } from '../../workloads/protocol/wire.ts';
import { EXIT, UserError } from '../cli/output.ts';
import { at, readOptional, writeWhole } from './folder.ts';

const profileSchema = z.strictObject({
  url: z.url(), apiKey: z.string().min(1), ownerKey: b64uText(32), tenant: tenantId, zone: zoneName, cell: cellName,
  /** Where this client asks vendors; their public addresses unless stated. What it cannot get comes with the gateway's answers. */
  collateral: collateralSchema.optional(),
});
export type Profile = z.infer<typeof profileSchema>;

export interface ProfileOptions { readonly url?: string; readonly apiKey?: string; readonly owner?: string; readonly tenant?: string; readonly zone?: string; readonly cell?: string }

export const writeProfile = (folder: string, profile: Profile): Promise<void> => writeWhole(at(folder).profile, `${JSON.stringify(profileSchema.parse(profile), null, 2)}\n`);

/** Options win over the environment, the environment over the file that `ccc key add` wrote. */
export async function readProfile(folder: string, options: ProfileOptions = {}): Promise<Profile> {
  const stored = await readOptional(at(folder).profile);
  const file = stored === undefined ? {} : (JSON.parse(stored) as Partial<Profile>);
  const given = (option: string | undefined, variable: string, fallback: string | undefined) => option ?? process.env[variable] ?? fallback;
  const parsed = profileSchema.safeParse({
    url: given(options.url, 'CCC_URL', file.url),
    apiKey: given(options.apiKey, 'CCC_API_KEY', file.apiKey),
    ownerKey: given(options.owner, 'CCC_OWNER_KEY', file.ownerKey),
    tenant: given(options.tenant, 'CCC_TENANT', file.tenant),
    zone: given(options.zone, 'CCC_ZONE', file.zone),
    cell: given(options.cell, 'CCC_CELL', file.cell),
    ...(file.collateral === undefined ? {} : { collateral: file.collateral }),
  });
  if (!parsed.success) {
    const missing = [...new Set(parsed.error.issues.map((i) => i.path.join('.')))].join(', ');
    throw new UserError('NOT_CONFIGURED', `The client's profile lacks or misspells: ${missing}.`, 'On the cell\'s machine run: ccc tenant add NAME --zone local && ccc key add NAME --save. Elsewhere set CCC_URL, CCC_API_KEY, CCC_OWNER_KEY, CCC_TENANT, CCC_ZONE and CCC_CELL.', EXIT.usage);
  }
  return parsed.data;
}

export const pinnedOwner = (profile: Pick<Profile, 'ownerKey'>): Bytes => fromB64u(profile.ownerKey);

/** What the page needs, in the fragment: that part of an address never reaches a server. */
export function pageAddress(origin: string, { apiKey, ownerKey, tenant, zone, cell }: Profile): string {
  return `${origin}/#${new URLSearchParams({ key: apiKey, owner: ownerKey, tenant, zone, cell }).toString()}`;
}

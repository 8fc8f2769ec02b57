import { b64u, fromB64u } from '../../attestation/bytes.ts';
import { origin, parseCell } from '../../workloads/protocol/cell.ts';
import { addKey, addTenant, admin, SCOPES } from '../cell/admin.ts';
import { at, cellFolder, readOptional } from '../cell/folder.ts';
import { writeProfile } from '../cell/profile.ts';
import { EXIT, json, note, say, UserError } from '../cli/output.ts';

export async function tenantAdd(name: string, options: { zone: string; data?: string; json?: boolean }): Promise<number> {
  const answer = await addTenant(cellFolder(options.data), name, options.zone);
  if (options.json) json({ ok: true, ...answer });
  else say(`Tenant ${name} in zone ${options.zone}: its keys were made inside the broker.`);
  return EXIT.ok;
}

/** Makes a key and, when asked, the client profile that uses it. */
export async function makeProfile(folder: string, tenant: string, zone: string, apiKey: string): Promise<void> {
  const file = await readOptional(at(folder).cell);
  if (file === undefined) throw new UserError('NO_CELL', `There is no cell in ${folder}.`, 'Start one with: ccc up', EXIT.usage);
  const { cell } = await parseCell(new TextEncoder().encode(file));
  await writeProfile(folder, { url: origin(cell.gateway.public), apiKey, ownerKey: b64u(fromB64u(cell.ownerKey)), tenant, zone, cell: cell.cell, ...(cell.collateral === undefined ? {} : { collateral: cell.collateral }) });
}

export async function keyAdd(tenant: string, options: { scope?: string[]; expiresDays?: number; save?: boolean; data?: string; json?: boolean }): Promise<number> {
  const folder = cellFolder(options.data);
  const scopes = options.scope ?? [...SCOPES];
  const unknown = scopes.filter((s) => !(SCOPES as readonly string[]).includes(s));
  if (unknown.length > 0) throw new UserError('USAGE', `Unknown scope: ${unknown.join(', ')}.`, `Known: ${SCOPES.join(', ')}.`, EXIT.usage);
  const made = await addKey(folder, tenant, scopes, options.expiresDays);
  if (options.save) {
    const { tenants } = await admin<{ tenants: { id: string; zone: string }[] }>(folder, 'GET', '/status');
    const zone = tenants.find((t) => t.id === tenant)?.zone;
    if (zone === undefined) throw new UserError('TENANT_UNKNOWN', `The cell does not know the tenant ${tenant}.`, 'Add it with: ccc tenant add');
    await makeProfile(folder, tenant, zone, made.key);
    note(`Saved to ${at(folder).profile}.`);
  }
  if (options.json) json({ ok: true, ...made });
  else say(made.key);
  note('The key is shown once; the cell keeps only its hash.');
  return EXIT.ok;
}

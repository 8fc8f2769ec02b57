/** Giving tenant keys to another cell's broker: the owner's directory, zone and place of each key, receipts, then the keys sealed to the attested X-Wing key. */
import { b64u, sha256, utf8 } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';
import type { CellDirectory, OwnerPolicy } from '../../protocol/owner.ts';
import type { DirectoryInForce } from '../../protocol/directory-source.ts';
import { seal } from '../../protocol/hpke.ts';
import { shareAad, shareInfo } from '../../protocol/labels.ts';
import type { PolicyInForce } from '../../protocol/policy-source.ts';
import { toProblem } from '../../protocol/problem.ts';
import type { SharedKey, SharePayload, ShareRequest, ShareResponse } from '../../protocol/sharing.ts';
import { checkPlace, type Place, placeOf, tenantRule } from './access.ts';
import { vouch, type VouchDeps } from './manifest.ts';
import type { ReceiptEntry, Receipts } from './receipts.ts';
import type { BrokerSession } from './sessions.ts';
import { encodeSecret, type OpenKey, type TenantKeys, toWire, wipe } from './tenant-keys.ts';

export interface ShareDeps extends VouchDeps { readonly tenantKeys: Pick<TenantKeys, 'of'>; readonly receipts: Pick<Receipts, 'append'> }

/** The entry of another cell, as the owner lists it. @throws Refusal DIRECTORY_CELL */
export function peerEntry(directory: CellDirectory, own: string, name: string): CellDirectory['cells'][number] {
  const entry = name === own ? undefined : directory.cells.find((cell) => cell.name === name);
  return entry ?? refuse('DIRECTORY_CELL', 'binding.cell', 'Only brokers of other cells of the owner\'s directory may ask for keys.', { have: name, need: directory.cells.map((cell) => cell.name).join(', ') });
}

type Item = SharePayload['items'][number];

/** One item per tenant, in order; a refused tenant does not hinder another. @throws Refusal DIRECTORY_CELL */
export async function share(deps: ShareDeps, session: BrokerSession, inForce: PolicyInForce, { directory, rules }: DirectoryInForce, input: ShareRequest): Promise<ShareResponse> {
  const entry = peerEntry(directory, deps.cell, session.cell);
  const place = placeOf(session.claims, entry.region);
  const items: Item[] = [];
  for (const { tenant_id, have } of input.tenants) {
    try {
      const order = rules?.order(tenant_id) ?? [];
      if (!order.includes(session.cell)) refuse('EPOCH_CELL', 'tenants', 'The owner lists the cells that may work for a tenant in the directory.', { have: session.cell, need: order.join(', ') || 'an order for the tenant' });
      items.push(await shareTenant(deps, session, inForce, place, tenant_id, new Set(have)));
    } catch (error) {
      const problem = toProblem(error);
      items.push(await refused(deps, session, inForce, tenant_id, problem.code).then(() => ({ tenant_id, ok: false as const, problem }), (failure: unknown) => ({ tenant_id, ok: false as const, problem: toProblem(failure) })));
    }
  }
  const payload = utf8(JSON.stringify({ v: 'ccc-share/v1', from: deps.cell, to: session.cell, items } satisfies SharePayload));
  return { ...await vouch(deps, input, inForce.digest, await sha256(payload)), payload: b64u(payload) };
}

async function shareTenant(deps: ShareDeps, session: BrokerSession, { policy, digest }: PolicyInForce, place: Place, tenantId: string, have: ReadonlySet<string>): Promise<Item> {
  const keys = await deps.tenantKeys.of(tenantId);
  try {
    if (keys.length === 0) refuse('KEY_UNKNOWN', 'tenants', 'This cell has no key of the tenant; ask another one.', { have: tenantId });
    const wanted = keys.filter((key) => key.state !== 'retired' && !have.has(key.id));
    for (const key of wanted) checkKey(policy, tenantId, key, place);
    const receipts = wanted.length === 0 ? [] : await deps.receipts.append(wanted.map((key): ReceiptEntry => ({
      operation: 'key-shared', peer: session.cell, tenant_id: tenantId, key_id: key.id, zone: key.zone, origin: place.origin, session: session.payload.sid, claims_digest: session.claimsDigest, policy_revision: policy.revision,
    })));
    const info = shareInfo(session.claimsDigest, digest);
    const sealed = await Promise.all(wanted.map(async (key): Promise<SharedKey> => {
      const plaintext = encodeSecret(key);
      try {
        return { ...toWire(key), zone: key.zone, sealed: await seal(session.receivingKey, info, shareAad({ tenantId, id: key.id, zone: key.zone, from: deps.cell, to: session.cell }), plaintext) };
      } finally {
        plaintext.fill(0);
      }
    }));
    return { tenant_id: tenantId, ok: true, keys: sealed, receipts };
  } finally {
    wipe(keys);
  }
}

/** @throws Refusal ZONE_DENIED, CLOUD_ORIGIN, POLICY_MISSING */
function checkKey(policy: OwnerPolicy, tenantId: string, { zone }: OpenKey, place: Place): void {
  const rule = tenantRule(policy, tenantId);
  if (!rule.zones.includes(zone)) refuse('ZONE_DENIED', 'keys.zone', 'The owner allows the zone of this tenant in the policy.', { have: zone, need: rule.zones.join(', ') });
  checkPlace(policy, zone, place);
}

async function refused({ receipts }: ShareDeps, session: BrokerSession, { policy }: PolicyInForce, tenantId: string, code: string): Promise<void> {
  // Asked again and again until some cell has the keys: no refusal of anybody.
  if (code === 'KEY_UNKNOWN') return;
  await receipts.append([{ operation: 'refused', peer: session.cell, tenant_id: tenantId, zone: 'unknown', session: session.payload.sid, claims_digest: session.claimsDigest, policy_revision: policy.revision, code }]);
}

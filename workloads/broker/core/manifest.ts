/** The key manifest: exact bytes, and evidence over the client's challenge that binds them. */
import { type Bytes, b64u, fromB64u, sha256, utf8 } from '../../../attestation/bytes.ts';
import type { Attester, Platform } from '../../../attestation/evidence.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { type Clock, seconds } from '../../protocol/clock.ts';
import { fromBinding, fromEvidence } from '../../protocol/evidence.ts';
import type { EpochJudge } from '../../protocol/epoch-judge.ts';
import type { Attested, EpochProof, KeyManifest } from '../../protocol/messages.ts';
import type { Identity } from '../identity.ts';
import { tenantRule } from './access.ts';
import type { PolicyInForce } from '../../protocol/policy-source.ts';
import type { Receipts } from './receipts.ts';
import { type TenantKeys, toWire, wipe } from './tenant-keys.ts';

export interface Asked { readonly challenge_id: string; readonly nonce: string; readonly audience: string }

export interface VouchDeps {
  readonly identity: Identity;
  readonly attester: Attester;
  readonly platform: Platform;
  readonly cell: string;
  readonly configDigest: Bytes;
}

/** The broker's evidence for whoever asked, over a payload. */
export async function vouch(deps: VouchDeps, asked: Asked, policyDigest: Bytes, payloadDigest: Bytes): Promise<Attested> {
  const binding = {
    platform: deps.platform, role: 'broker' as const, cell: deps.cell,
    challengeId: fromB64u(asked.challenge_id), nonce: fromB64u(asked.nonce), audience: asked.audience,
    receivingKey: deps.identity.receiving.publicKey, signingKey: deps.identity.signing.publicKey, tlsSpkiSha256: new Uint8Array(0),
    policyDigest, configDigest: deps.configDigest, payloadDigest,
  };
  return { evidence: fromEvidence(await deps.attester.attest({ binding })), binding: fromBinding(binding) };
}

export interface ManifestDeps extends VouchDeps {
  readonly epochs: Pick<EpochJudge, 'judge' | 'requireStill'>;
  readonly tenantKeys: Pick<TenantKeys, 'of'>;
  readonly receipts: Pick<Receipts, 'head'>;
  readonly now: Clock;
}

/** @throws Refusal KEY_UNKNOWN, KEY_STATE, KEY_SEALER_LOST, ZONE_DENIED, POLICY_MISSING, and those of EpochJudge */
export async function manifest(deps: ManifestDeps, inForce: PolicyInForce, asked: Asked & { readonly tenant_id: string; readonly epoch?: EpochProof | undefined }): Promise<Attested & { manifest: string }> {
  const rule = tenantRule(inForce.policy, asked.tenant_id);
  const all = await deps.tenantKeys.of(asked.tenant_id);
  wipe(all);
  if (all.length === 0) refuse('KEY_UNKNOWN', 'tenant_id', 'The operator gives the tenant its keys first.', { have: asked.tenant_id });
  // Of a retired key only the ledger speaks, and nobody needs it.
  const keys = all.filter((key) => key.state !== 'retired');
  const zone = keys.find((key) => key.state === 'active')?.zone;
  if (zone === undefined) refuse('KEY_STATE', 'keys', 'The operator activates a key of this tenant.', { need: 'an active key' });
  if (!rule.zones.includes(zone)) refuse('ZONE_DENIED', 'keys.zone', 'The owner allows the zone of this tenant in the policy.', { have: zone, need: rule.zones.join(', ') });
  const judged = await deps.epochs.judge(asked.tenant_id, inForce.policy, asked.epoch ?? { promises: [] });
  const { seq, digest } = deps.receipts.head;
  const body: KeyManifest = {
    v: 'ccc-manifest/v1', tenant_id: asked.tenant_id, zone, cell: deps.cell, epoch: judged.epoch,
    broker: { instance: deps.identity.instance, signing_key: b64u(deps.identity.signing.publicKey), receiving_key: b64u(deps.identity.receiving.publicKey) },
    policy_digest: b64u(inForce.digest), policy_revision: inForce.policy.revision,
    receipts_head: { seq, digest: b64u(digest) },
    keys: keys.filter((key) => key.zone === zone).map(toWire),
    issued_at: seconds(deps.now),
    ...(judged.until === undefined ? {} : { epoch_until: Math.floor(judged.until / 1000) }),
    directory_revision: judged.directoryRevision,
  };
  const exact = utf8(JSON.stringify(body));
  const vouched = await vouch(deps, asked, inForce.digest, await sha256(exact));
  deps.epochs.requireStill(judged);
  return { ...vouched, manifest: b64u(exact) };
}

/**
 * Getting tenant keys from other cells' brokers, ahead of time, so that a failover needs no living primary. The gateway says which tenants lack keys and carries the bytes; whom
 * to believe is decided here: keys come only from a broker whose evidence answers this one's challenge, under the owner's policy and directory.
 */
import { b64u, fromB64u, fromHex, randomBytes, sha256, text } from '../../../attestation/bytes.ts';
import type { Collateral, CollateralSupply } from '../../../attestation/collateral/collateral.ts';
import { refuse } from '../../../attestation/refusal.ts';
import type { verifyAttested } from '../../protocol/appraised.ts';
import { type Clock, seconds } from '../../protocol/clock.ts';
import type { EpochJudge } from '../../protocol/epoch-judge.ts';
import { open } from '../../protocol/hpke.ts';
import { shareAad, shareInfo } from '../../protocol/labels.ts';
import { errorFields, type Log } from '../../protocol/log.ts';
import type { Session } from '../../protocol/messages.ts';
import type { PolicyInForce, PolicySource } from '../../protocol/policy-source.ts';
import { type KeyWants, type SharedKey, type SharePayload, sharePayloadSchema } from '../../protocol/sharing.ts';
import type { PeerKeys } from '../peer-keys.ts';
import { tenantRule } from './access.ts';
import { NO_PAYLOAD } from './attest.ts';
import { vouch, type VouchDeps } from './manifest.ts';
import type { ReceiptEntry, Receipts } from './receipts.ts';
import { peerEntry } from './share.ts';
import { type OpenKey, readSecret, type TenantKeys, wipe } from './tenant-keys.ts';

export interface ReceiveOptions extends VouchDeps {
  readonly gateway: PeerKeys;
  readonly epochs: Pick<EpochJudge, 'directory'>;
  readonly policy: PolicySource;
  readonly tenantKeys: Pick<TenantKeys, 'adopt'>;
  readonly receipts: Pick<Receipts, 'append'>;
  readonly verify: typeof verifyAttested;
  readonly collateral?: Collateral | CollateralSupply | undefined;
  readonly now: Clock;
  readonly log: Log;
}

interface PeerSession { readonly session: Session; readonly policy: PolicyInForce }

/** With less left nobody starts anything on a session. */
const SPENT_SECONDS = 30;
const IDLE_MS = 5_000;
const BUSY_MS = 1_000;

export class KeyReceiver {
  readonly #options: ReceiveOptions;
  readonly #sessions = new Map<string, PeerSession>();

  constructor(options: ReceiveOptions) {
    this.#options = options;
  }

  /** Asks for whatever is missing, once. @returns milliseconds until it is worth asking again */
  async round(): Promise<number> {
    const { gateway, log } = this.#options;
    const { wants } = await gateway.keyWants();
    let missing = 0;
    const peers = [...new Set(wants.flatMap(({ from }) => from))];
    const served = new Set<string>();
    for (const peer of peers) {
      const some = wants.filter((want) => want.from.includes(peer) && !served.has(want.tenant_id));
      if (some.length === 0) continue;
      try {
        for (const tenant of await this.#from(peer, some)) served.add(tenant);
      } catch (error) {
        this.#sessions.delete(peer);
        log.info('keys-not-received', { cell: peer, ...errorFields(error) });
      }
    }
    missing = wants.filter(({ tenant_id, have }) => have.length === 0 && !served.has(tenant_id)).length;
    return missing > 0 ? BUSY_MS : IDLE_MS;
  }

  /** @returns tenants whose keys of that cell are here now */
  async #from(peer: string, wants: KeyWants['wants']): Promise<string[]> {
    const { gateway, identity, epochs, now, cell, verify, collateral } = this.#options;
    const { session, policy } = await this.#session(peer);
    const { directory } = await epochs.directory(policy.policy);
    const asked = { challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience: identity.instance };
    const answer = await gateway.share(peer, { ...asked, tenants: wants.map(({ tenant_id, have }) => ({ tenant_id, have })) }, session.session);
    const payload = fromB64u(answer.payload);
    await verify({
      attested: { evidence: answer.evidence, binding: answer.binding }, policy: policy.policy, now: seconds(now), mode: 'live', collateral,
      expect: {
        role: 'broker', cell: peer, challengeId: fromB64u(asked.challenge_id), nonce: fromB64u(asked.nonce), audience: asked.audience,
        policyDigest: policy.digest, payloadDigest: await sha256(payload), configDigest: fromHex(peerEntry(directory, cell, peer).configDigest),
      },
    });
    const shared: SharePayload = sharePayloadSchema.parse(JSON.parse(text(payload)));
    if (shared.from !== peer || shared.to !== cell) refuse('BINDING_CELL', 'payload.to', 'The keys are for another cell.', { have: `${shared.from} to ${shared.to}`, need: `${peer} to ${cell}` });
    const done: string[] = [];
    for (const item of shared.items) {
      if (!item.ok || !wants.some(({ tenant_id }) => tenant_id === item.tenant_id)) continue;
      await this.#adopt(peer, item.tenant_id, item.keys, session, policy);
      done.push(item.tenant_id);
    }
    return done;
  }

  async #adopt(peer: string, tenantId: string, keys: readonly SharedKey[], session: Session, { policy, digest }: PolicyInForce): Promise<void> {
    const { identity, cell, tenantKeys, receipts, log } = this.#options;
    if (keys.length === 0) return;
    const rule = tenantRule(policy, tenantId);
    const opened: OpenKey[] = [];
    try {
      for (const { id, alg, state, zone, not_after, public: publicKey, sealed } of keys) {
        if (!rule.zones.includes(zone)) refuse('ZONE_DENIED', 'keys.zone', 'The owner allows the zone of this tenant in the policy.', { have: zone, need: rule.zones.join(', ') });
        const plaintext = await open(identity.receiving.privateKey, shareInfo(session.claims_digest, digest), shareAad({ tenantId, id, zone, from: peer, to: cell }), sealed);
        opened.push({ id, alg, state, zone, ...readSecret(plaintext, { id, alg, not_after, public: publicKey }) });
      }
      await tenantKeys.adopt(tenantId, opened, async (fresh) => void (await receipts.append(fresh.map((key): ReceiptEntry => ({
        operation: 'key-shared', peer, tenant_id: tenantId, key_id: key.id, zone: key.zone, claims_digest: session.claims_digest, policy_revision: policy.revision,
      })))));
      log.info('keys-received', { cell: peer, tenant_id: tenantId });
    } finally {
      wipe(opened);
    }
  }

  async #session(peer: string): Promise<PeerSession> {
    const { gateway, policy: source, platform, now } = this.#options;
    const inForce = await source.current();
    const held = this.#sessions.get(peer);
    if (held !== undefined && held.policy.jws === inForce.jws && held.session.expires_at - seconds(now) > SPENT_SECONDS) return held;
    const challenge = await gateway.challenge(peer, platform);
    if (challenge.policy_digest !== b64u(inForce.digest)) refuse('BINDING_POLICY', 'challenge.policy_digest', 'The other cell obeys another revision of the policy; try again shortly.', { have: challenge.policy_digest, need: b64u(inForce.digest) });
    const session = await gateway.attest(peer, await vouch(this.#options, challenge, inForce.digest, NO_PAYLOAD));
    const fresh = { session, policy: inForce };
    this.#sessions.set(peer, fresh);
    return fresh;
  }
}

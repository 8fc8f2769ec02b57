/** One broker: its state and its routes (docs/protocol.md, Listeners). */
import { type Bytes, b64u, fromB64u, fromHex } from '../../attestation/bytes.ts';
import type { Collateral, CollateralSupply } from '../../attestation/collateral/collateral.ts';
import type { Attester } from '../../attestation/evidence.ts';
import { refuse } from '../../attestation/refusal.ts';
import { verifyAttested } from '../protocol/appraised.ts';
import { type CellConfig, platformOf } from '../protocol/cell.ts';
import type { Clock } from '../protocol/clock.ts';
import { EpochJudge } from '../protocol/epoch-judge.ts';
import type { Log } from '../protocol/log.ts';
import {
  MAX_ATTESTED_BYTES, RELEASE_PATH, attestRequestSchema, brokerManifestRequestSchema, challengeRequestSchema, createTenantKeysSchema, manifestRequestSchema, releaseRequestSchema,
} from '../protocol/messages.ts';
import { NO_PAYLOAD, attest } from './core/attest.ts';
import { tenantRule } from './core/access.ts';
import { Challenges } from './core/challenges.ts';
import { manifest, vouch } from './core/manifest.ts';
import { PolicySource, type RevisionMark } from '../protocol/policy-source.ts';
import { type ReceiptEntry, Receipts } from './core/receipts.ts';
import { KeyReceiver } from './core/receive.ts';
import { release } from './core/release.ts';
import { Sessions } from './core/sessions.ts';
import { peerEntry, share } from './core/share.ts';
import { TenantKeys } from './core/tenant-keys.ts';
import type { GatewayClient } from './gateway-client.ts';
import { type Route, type RouteRequest, jsonRoute } from './http.ts';
import type { Identity } from './identity.ts';
import type { PeerKeys } from './peer-keys.ts';
import { SHARE_PATH, shareRequestSchema } from '../protocol/sharing.ts';
import type { KeySealer } from './sealer.ts';

export interface BrokerOptions {
  readonly cell: CellConfig;
  readonly configDigest: Bytes;
  readonly identity: Identity;
  readonly attester: Attester;
  readonly gateway: GatewayClient;
  readonly sealer: KeySealer;
  readonly now: Clock;
  readonly log: Log;
  /** For tests of what happens when it throws or hangs. */
  readonly verify?: typeof verifyAttested;
  readonly verifyMs?: number;
  /** What vendors publish, or who looks for it; whoever starts the broker keeps it current. Absent: evidence that needs any is refused. */
  readonly collateral?: Collateral | CollateralSupply;
  /** Keeps the highest policy revision over restarts. */
  readonly mark?: RevisionMark;
  /** Way to the brokers of other cells. Absent: this one gets no keys from any. */
  readonly peers?: PeerKeys;
}

export interface Broker {
  readonly routes: Readonly<Record<string, Route>>;
  readonly policy: PolicySource;
  readonly sessions: Sessions;
  readonly receiver: KeyReceiver | undefined;
}

const SMALL = 8 * 1024;
const SHARE = 128 * 1024;
/** Whoever starts something new gets the newest policy: with the one before, it would be refused elsewhere. */
const FRESH_MS = 100;
/** 64 headers of at most 60 KiB, in base64url. */
const RELEASE = 6 * 1024 * 1024;

export function createBroker(options: BrokerOptions): Broker {
  const { cell: { cell, epoch, ownerKey }, configDigest, identity, attester, gateway, sealer, now, log } = options;
  const challenges = new Challenges({ now });
  const sessions = new Sessions({ identity, cell, now });
  const receipts = new Receipts({ identity, store: gateway.storeReceipts, now });
  const tenantKeys = new TenantKeys({ store: gateway, sealer, cell, now });
  const policy = new PolicySource({
    fetch: gateway.policy, ownerKey: fromB64u(ownerKey), now, log, ...(options.mark === undefined ? {} : { mark: options.mark }),
    onChange: () => { sessions.endAll(); tenantKeys.clear(); },
  });
  const vouching = { identity, attester, platform: platformOf(options.cell, 'broker'), cell, configDigest };
  const verify = options.verify ?? verifyAttested;
  const epochs = new EpochJudge({ cell, epoch, ownerKey: fromB64u(ownerKey), fetch: gateway.directory, now, log });

  const peer = async (name: string) => ({ configDigest: fromHex(peerEntry((await epochs.directory((await policy.current()).policy)).directory, cell, name).configDigest) });
  const receiver = options.peers === undefined ? undefined
    : new KeyReceiver({ ...vouching, gateway: options.peers, epochs, policy, tenantKeys, receipts, verify, collateral: options.collateral, now, log });

  const routes: Record<string, Route> = {
    '/v1/health': {
      method: 'GET', maxBody: 0,
      async handle() {
        const { policy: { revision } } = await policy.current();
        return { ok: true, instance: identity.instance, cell, policy_revision: revision };
      },
    },

    '/v1/evidence': jsonRoute(manifestRequestSchema, SMALL, async ({ input }) => {
      // The gateway asks when it has just changed the policy, and seldom.
      const inForce = await policy.current(0);
      return { ...(await vouch(vouching, input, inForce.digest, NO_PAYLOAD)), instance: identity.instance };
    }),

    '/v1/manifest': jsonRoute(brokerManifestRequestSchema, SMALL, async ({ input }) =>
      manifest({ ...vouching, epochs, tenantKeys, receipts, now }, await policy.current(FRESH_MS), input)),

    '/v1/tenant-keys': jsonRoute(createTenantKeysSchema, SMALL, async ({ input }) => {
      const inForce = await policy.current();
      const rule = tenantRule(inForce.policy, input.tenant_id);
      if (!rule.zones.includes(input.zone)) refuse('ZONE_DENIED', 'zone', 'The owner gives this tenant the zone in the policy.', { have: input.zone, need: rule.zones.join(', ') });
      const created = (key_id: string): ReceiptEntry => ({
        operation: 'key-created', tenant_id: input.tenant_id, key_id, zone: input.zone, policy_revision: inForce.policy.revision,
      });
      const keys = await tenantKeys.create(input.tenant_id, input.zone, async (ids) => void (await receipts.append(ids.map(created))));
      log.info('tenant-keys', { tenant_id: input.tenant_id });
      return { keys };
    }),

    '/v1/challenge': jsonRoute(challengeRequestSchema, SMALL, async ({ input }) => {
      const { digest } = await policy.current(FRESH_MS);
      const issued = challenges.issue(input.role, input.platform, digest);
      return {
        challenge_id: b64u(issued.id), nonce: b64u(issued.nonce), audience: identity.instance,
        expires_at: Math.floor(issued.expiresAt / 1000), policy_digest: b64u(digest),
      };
    }),

    '/v1/attest': jsonRoute(attestRequestSchema, MAX_ATTESTED_BYTES, async ({ input }) => {
      const session = await attest({
        challenges, sessions, policy, identity, cell, configDigest, peer, now, verify, collateral: options.collateral, ...(options.verifyMs === undefined ? {} : { verifyMs: options.verifyMs }),
      }, input);
      log.info('session-opened', { role: input.binding.role, platform: input.binding.platform });
      return session;
    }),

    '/v1/release': jsonRoute(releaseRequestSchema, RELEASE, async ({ input, body, header }) => {
      const inForce = await policy.current();
      const session = await sessions.authorize(signedCall(header, body), { role: 'counter', policyDigest: inForce.digest });
      const answer = await release({ tenantKeys, receipts, epochs, region: options.cell.region }, session, inForce.policy, input.items, input.epochs);
      const codes = answer.items.flatMap((item) => (item.ok ? [] : [item.problem.code]));
      log.info('release', { count_jobs: input.items.length, session: session.payload.sid, ...(codes.length === 0 ? {} : { codes }) });
      return answer;
    }),

    '/v1/share-keys': jsonRoute(shareRequestSchema, SHARE, async ({ input, body, header }) => {
      const inForce = await policy.current();
      const session = await sessions.authorize(signedCall(header, body, SHARE_PATH), { role: 'broker', policyDigest: inForce.digest });
      const answer = await share({ ...vouching, tenantKeys, receipts }, session, inForce, await epochs.directory(inForce.policy), input);
      log.info('keys-asked-for', { cell: session.cell, count_jobs: input.tenants.length });
      return answer;
    }),
  };
  return { routes, policy, sessions, receiver };
}

/** The proof names the gateway's path: the gateway checks the same proof before it passes the bytes on. */
function signedCall(header: RouteRequest<unknown>['header'], body: Bytes, path: string = RELEASE_PATH) {
  const session = header('ccc-session');
  const pop = header('ccc-pop');
  if (session === undefined) refuse('SESSION_INVALID', 'ccc-session', 'Send the session that attesting gave.');
  if (pop === undefined) refuse('POP_INVALID', 'ccc-pop', 'Send a proof of possession for this request.');
  return { session, pop, method: 'POST', path, body };
}

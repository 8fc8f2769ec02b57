/**
 * Tenant keys between cells: a standby's broker attests to the primary's (role broker, the same challenge, attest and session as a counter's) and is given each key sealed to its
 * X-Wing key. The answer carries evidence of the one that gives, over the challenge of the one that asks: keys from anybody else would be keys that somebody else knows.
 */
import { z } from 'zod';
import { attestedSchema, manifestRequestSchema, problemSchema, sealedSchema, tenantKeySchema } from './messages.ts';
import { b64uText, cellName, compactJws, keyId, tenantId, zoneName } from './wire.ts';

/** In the proof of the request; gateways pass it on. */
export const SHARE_PATH = '/internal/v1/share-keys';
export const MAX_SHARED_TENANTS = 16;

/** `POST broker /v1/share-keys`. `audience`: the instance that asks. */
export const shareRequestSchema = manifestRequestSchema.extend({
  tenants: z.array(z.strictObject({ tenant_id: tenantId, /** Not sent again. */ have: z.array(keyId).max(64) })).min(1).max(MAX_SHARED_TENANTS),
});
export type ShareRequest = z.infer<typeof shareRequestSchema>;

/** `sealed`: CBOR {alg, not_after, private, public}. */
export const sharedKeySchema = tenantKeySchema.extend({ zone: zoneName, sealed: sealedSchema });
export type SharedKey = z.infer<typeof sharedKeySchema>;

export const sharePayloadSchema = z.strictObject({
  v: z.literal('ccc-share/v1'), from: cellName, to: cellName,
  items: z.array(z.union([
    z.strictObject({ tenant_id: tenantId, ok: z.literal(true), keys: z.array(sharedKeySchema).max(64), receipts: z.array(compactJws) }),
    z.strictObject({ tenant_id: tenantId, ok: z.literal(false), problem: problemSchema }),
  ])).max(MAX_SHARED_TENANTS),
});
export type SharePayload = z.infer<typeof sharePayloadSchema>;
/** The exact bytes of `payload` are what the evidence binds. */
export const shareResponseSchema = attestedSchema.extend({ payload: b64uText(1, 1 << 20) });
export type ShareResponse = z.infer<typeof shareResponseSchema>;

/** `GET gateway /internal/v1/key-wants`: tenants that this cell may have to work for, the keys it has of them, and the cells to ask. A hint: nothing is decided on it. */
export const keyWantsSchema = z.strictObject({ wants: z.array(z.strictObject({ tenant_id: tenantId, have: z.array(keyId).max(64), from: z.array(cellName).min(1).max(16) })).max(MAX_SHARED_TENANTS) });
export type KeyWants = z.infer<typeof keyWantsSchema>;

export const RELAYED = ['challenge', 'attest', 'share-keys'] as const;
export type Relayed = (typeof RELAYED)[number];
/** Broker to its own gateway, and that gateway to the other cell's. The inner proof and session travel in headers of their own. */
export const relayPath = (cell: string, what: Relayed | ':what'): string => `/internal/v1/cells/${cell}/${what}`;
export const peerBrokerPath = (what: Relayed | ':what'): string => `/internal/v1/peer/broker/${what}`;
export const INNER_SESSION = 'ccc-share-session';
export const INNER_POP = 'ccc-share-pop';

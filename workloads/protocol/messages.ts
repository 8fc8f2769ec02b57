/**
 * The JSON that client, gateway, broker and counter exchange. One schema per message; the OpenAPI document, the
 * validation and the types come from here. docs/protocol.md draws the flow.
 */
import { z } from 'zod';
import { COLLATERAL_KINDS } from '../../attestation/collateral/collateral.ts';
import { PLATFORMS, ROLES } from '../../attestation/evidence.ts';
import { RECEIVING_KEY_LENGTH } from '../../attestation/binding.ts';
import { b64uText, cellName, compactJws, epochSeconds, hexText, jobId, keyId, tenantId, zoneName } from './wire.ts';

/** Codes are shown to people: this is all that they are made of. */
const codeText = z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/, 'a code: A-Z, 0-9, _');

// Evidence on the wire

/** A document of the largest platform: a container with an event log of 128 KiB. Each platform's parser has its own, smaller or equal, limit. */
export const MAX_EVIDENCE_BYTES = 256 * 1024;
/** A body of evidence and binding, as JSON: the document in base64url, and 16 KiB for everything else. */
export const MAX_ATTESTED_BYTES = Math.ceil((MAX_EVIDENCE_BYTES * 4) / 3) + 16 * 1024;
export const evidenceSchema = z.strictObject({ platform: z.enum(PLATFORMS), document: b64uText(1, MAX_EVIDENCE_BYTES) });
export const bindingSchema = z.strictObject({
  platform: z.enum(PLATFORMS),
  role: z.enum(ROLES),
  cell: cellName,
  challenge_id: b64uText(16),
  nonce: b64uText(32),
  audience: z.string().min(1).max(255),
  receiving_key: b64uText(RECEIVING_KEY_LENGTH),
  signing_key: b64uText(32),
  tls_spki_sha256: b64uText(0, 32),
  policy_digest: b64uText(32),
  config_digest: b64uText(32),
  payload_digest: b64uText(32),
});
export const attestedSchema = z.strictObject({ evidence: evidenceSchema, binding: bindingSchema });
export type WireEvidence = z.infer<typeof evidenceSchema>;
export type WireBinding = z.infer<typeof bindingSchema>;
export type Attested = z.infer<typeof attestedSchema>;

/** What vendors signed and evidence needs beside itself: collateral/collateral.ts. Whoever hands it on is trusted for none of it. */
export const MAX_COLLATERAL_BYTES = 2 * 1024 * 1024;
export const MAX_COLLATERAL_ITEMS = 16;
export const wireCollateralSchema = z.array(z.strictObject({ kind: z.enum(COLLATERAL_KINDS), key: z.string().min(1).max(512), bytes: b64uText(1, MAX_COLLATERAL_BYTES) })).max(MAX_COLLATERAL_ITEMS);
export type WireCollateral = z.infer<typeof wireCollateralSchema>;

/** HPKE base mode, X-Wing: the encapsulated key and the ciphertext. */
export const sealedSchema = z.strictObject({ enc: b64uText(1120), ct: b64uText(16, 65_536) });
export type Sealed = z.infer<typeof sealedSchema>;

// Client -> gateway -> broker: the key manifest

export const manifestRequestSchema = z.strictObject({ challenge_id: b64uText(16), nonce: b64uText(32), audience: z.string().min(1).max(255) });
/** What a cell shows of its epoch for a tenant: the observers' promises as signed, and the owner's grant where there is one (epoch.ts). */
export const epochProofSchema = z.strictObject({ promises: z.array(compactJws).max(16), grant: compactJws.optional() });
export type EpochProof = z.infer<typeof epochProofSchema>;
export const tenantEpochSchema = epochProofSchema.extend({ tenant_id: tenantId });
export type TenantEpoch = z.infer<typeof tenantEpochSchema>;
/** Absent where no observers are listed. */
const tenantEpochs = z.array(tenantEpochSchema).max(64).optional();

/** The gateway adds the tenant of the API key, and the cell's epoch for it. */
export const brokerManifestRequestSchema = manifestRequestSchema.extend({ tenant_id: tenantId, epoch: epochProofSchema.optional() });

export const TENANT_KEY_ALGORITHMS = ['X-Wing', 'RSA-OAEP-SHA256'] as const;
export const TENANT_KEY_STATES = ['pending', 'active', 'retiring', 'retired'] as const;
export const tenantKeySchema = z.strictObject({
  id: keyId,
  alg: z.enum(TENANT_KEY_ALGORITHMS),
  state: z.enum(TENANT_KEY_STATES),
  /** Raw X-Wing public key, or RSA SubjectPublicKeyInfo in DER. */
  public: b64uText(1, 2048),
  not_after: epochSeconds,
});
/** The exact bytes of this JSON are what the broker's evidence binds (payload digest). */
export const manifestSchema = z.strictObject({
  v: z.literal('ccc-manifest/v1'),
  tenant_id: tenantId,
  zone: zoneName,
  cell: cellName,
  epoch: z.number().int().min(1),
  broker: z.strictObject({ instance: z.string().min(1).max(64), signing_key: b64uText(32), receiving_key: b64uText(RECEIVING_KEY_LENGTH) }),
  policy_digest: b64uText(32),
  policy_revision: z.number().int().min(1),
  /** The last receipt of this broker instance: its number and SHA-256, 0 and zeros before the first. */
  receipts_head: z.strictObject({ seq: z.number().int().min(0), digest: b64uText(32) }),
  keys: z.array(tenantKeySchema).min(1).max(32),
  issued_at: epochSeconds,
  /** Where observers are listed: until when the broker saw that its cell holds the epoch, and in which cell directory it looked. */
  epoch_until: epochSeconds.optional(),
  directory_revision: z.number().int().min(1).optional(),
});
export type KeyManifest = z.infer<typeof manifestSchema>;
export type TenantKey = z.infer<typeof tenantKeySchema>;

/** Broker's answer; the gateway adds the owner's documents. */
export const brokerManifestSchema = attestedSchema.extend({ manifest: b64uText(1, 65_536) });
export const manifestResponseSchema = brokerManifestSchema.extend({ policy: compactJws, directory: compactJws, collateral: wireCollateralSchema.optional() });
export type ManifestResponse = z.infer<typeof manifestResponseSchema>;

// Counter -> gateway (internal) -> broker: challenge, attest, release

export const challengeRequestSchema = z.strictObject({ role: z.enum(ROLES), platform: z.enum(PLATFORMS) });
export const challengeSchema = z.strictObject({
  challenge_id: b64uText(16), nonce: b64uText(32), audience: z.string().min(1).max(255), expires_at: epochSeconds, policy_digest: b64uText(32),
});
/** `POST broker /v1/evidence`; `instance` is the name in `ccc-broker` and the audience of this broker's challenges. */
export const brokerEvidenceSchema = attestedSchema.extend({ instance: z.string().min(1).max(64) });
export const attestRequestSchema = attestedSchema;
export const sessionSchema = z.strictObject({
  /** JWT signed by the broker; useless without the attested key (proof of possession). */
  session: compactJws,
  /** EAR (JWT), signed by the broker, with the claims. */
  ear: compactJws,
  claims_digest: hexText(32),
  expires_at: epochSeconds,
});
export type Session = z.infer<typeof sessionSchema>;
/** Payload of the session (JWT, typ `ccc-session+jwt`, signed by the broker's attested key). */
export const sessionPayloadSchema = z.strictObject({
  iss: z.string().min(1).max(64),
  sid: b64uText(16),
  role: z.enum(ROLES),
  cell: cellName,
  cnf: z.strictObject({ jwk: z.strictObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: b64uText(32) }) }),
  claims_digest: hexText(32),
  policy_digest: b64uText(32),
  policy_revision: z.number().int().min(1),
  iat: epochSeconds,
  exp: epochSeconds,
});
export type SessionPayload = z.infer<typeof sessionPayloadSchema>;
/** Counter -> gateway: `POST /internal/v1/sessions`; what clients later verify themselves. */
export const registerSessionSchema = attestedSchema.extend({ session: compactJws, ear: compactJws });
export type RegisterSession = z.infer<typeof registerSessionSchema>;
/** The path in the proof of a release, at the gateway and at the broker alike: the gateway only passes it on. */
export const RELEASE_PATH = '/internal/v1/release';

export const releaseRequestSchema = z.strictObject({
  items: z.array(z.strictObject({ tenant_id: tenantId, job_id: jobId, header: b64uText(1, 65_536) })).min(1).max(64),
  epochs: tenantEpochs,
});
export const problemSchema = z.strictObject({
  type: z.string(), title: z.string(), status: z.number().int(), code: z.string(), detail: z.string().optional(), instance: z.string().optional(),
  reasons: z.array(z.strictObject({ code: z.string(), path: z.string(), have: z.string().optional(), need: z.string().optional(), next: z.string() })).optional(),
});
export type Problem = z.infer<typeof problemSchema>;
export const releaseResponseSchema = z.strictObject({
  items: z.array(z.union([
    z.strictObject({ job_id: jobId, ok: z.literal(true), data_key: sealedSchema, receipt: compactJws }),
    /** `permanent`: the message itself is refused and the job ends; otherwise it waits. */
    z.strictObject({ job_id: jobId, ok: z.literal(false), permanent: z.boolean(), problem: problemSchema }),
  ])),
});
export type ReleaseResponse = z.infer<typeof releaseResponseSchema>;

// Broker -> gateway (internal): what the broker keeps there, trusting nothing read back

export const storedKeySchema = tenantKeySchema.extend({ tenant_id: tenantId, zone: zoneName, cell: cellName, sealed: b64uText(1, 16_384), created_at: epochSeconds });
export type StoredKey = z.infer<typeof storedKeySchema>;
/** `GET /internal/v1/policy`: the owner's policy as signed. It is public, so it needs no proof: a broker reads it before it can be known. */
export const policyResponseSchema = z.strictObject({ policy: compactJws });
/** `GET /internal/v1/directory`: the owner's cell directory as signed; public, too. */
export const directoryResponseSchema = z.strictObject({ directory: compactJws });
/** `GET /internal/v1/tenant-keys?tenant=`: rows of that tenant; `sealed_total` counts the cell's sealed keys of all tenants. */
export const tenantKeysResponseSchema = z.strictObject({ keys: z.array(storedKeySchema).max(64), sealed_total: z.number().int().min(0) });
/** `PUT /internal/v1/tenant-keys`: all rows or none; an id that exists with other bytes is a conflict. */
export const putTenantKeysSchema = z.strictObject({ keys: z.array(storedKeySchema).min(1).max(8) });
/** `POST broker /v1/tenant-keys`: a tenant's first keys are born. Answers the public halves, the same ones when asked again. */
export const createTenantKeysSchema = z.strictObject({ tenant_id: tenantId, zone: zoneName });
export const createdTenantKeysSchema = z.strictObject({ keys: z.array(tenantKeySchema) });
export const receiptRowSchema = z.strictObject({ instance: z.string().min(1).max(64), seq: z.number().int().min(1), jws: compactJws });
/** `POST /internal/v1/receipts`: answered (204) only once all rows are stored; the same row again is no error, another one under its number is. */
export const receiptsRequestSchema = z.strictObject({ receipts: z.array(receiptRowSchema).min(1).max(256) });
/** Payload of a broker's receipt (JWS, typ `ccc-broker-receipt+jws`): a chain per instance. */
export const brokerReceiptSchema = z.strictObject({
  v: z.literal('ccc-broker-receipt/v1'),
  instance: z.string(), seq: z.number().int().min(1), prev: b64uText(32),
  operation: z.enum(['key-created', 'key-shared', 'released', 'refused']),
  /** Of a key that was shared: the other cell. */
  peer: cellName.optional(),
  tenant_id: tenantId, job_id: jobId.optional(), key_id: keyId.optional(), zone: zoneName,
  /** How the region of the requester is known. */
  origin: z.enum(['proven', 'asserted', 'unknown']).optional(),
  session: z.string().optional(), claims_digest: hexText(32).optional(), message_id: b64uText(32).optional(),
  policy_revision: z.number().int(), /** Where observers are listed: of the tenant, as its cell held it. */ epoch: z.number().int().min(1).optional(), code: z.string().optional(), at: epochSeconds,
});
export type BrokerReceipt = z.infer<typeof brokerReceiptSchema>;

// Gateway, public: jobs

export const JOB_STATES = ['accepted', 'leased', 'completed', 'rejected', 'failed'] as const;
export type JobState = (typeof JOB_STATES)[number];
export const jobSchema = z.strictObject({
  job_id: jobId,
  state: z.enum(JOB_STATES),
  /** Why a job was rejected or failed. */
  code: codeText.optional(),
  message_digest: hexText(32),
  size: z.number().int(),
  accepted_at: z.number(),
  finished_at: z.number().optional(),
  attempts: z.number().int(),
  /** Present once the job is final and a counter sealed its verdict. */
  result: sealedSchema.optional(),
  /** The counter's attestation: evidence, binding and the broker's EAR on it. */
  counter: attestedSchema.extend({ ear: compactJws, collateral: wireCollateralSchema.optional() }).optional(),
  /** The broker's receipts for this job. */
  receipts: z.array(compactJws).optional(),
});
export type Job = z.infer<typeof jobSchema>;
export const JOB_EVENTS = ['accepted', 'leased', 'released', 'counted', 'completed', 'rejected', 'failed', 'requeued'] as const;
export const jobEventSchema = z.strictObject({ job_id: jobId, n: z.number().int(), event: z.enum(JOB_EVENTS), at: z.number(), detail: z.string().optional() });
export type JobEvent = z.infer<typeof jobEventSchema>;

// Gateway, internal listener: counters

export const leaseRequestSchema = z.strictObject({ max: z.number().int().min(1).max(64), wait_ms: z.number().int().min(0).max(30_000) });
export const leaseSchema = z.strictObject({
  tenant_id: tenantId, job_id: jobId, lease_token: b64uText(16), lease_until: z.number(), attempt: z.number().int(), message_digest: hexText(32), size: z.number().int(),
});
export type Lease = z.infer<typeof leaseSchema>;
export const leaseResponseSchema = z.strictObject({ jobs: z.array(leaseSchema), lease_ms: z.number().int(), epochs: tenantEpochs });
const leased = { tenant_id: tenantId, job_id: jobId, lease_token: b64uText(16) };
export const heartbeatRequestSchema = z.strictObject({ jobs: z.array(z.strictObject(leased)).min(1).max(64) });
export const heartbeatResponseSchema = z.strictObject({ lost: z.array(jobId), lease_until: z.number(), epochs: tenantEpochs });
/** Answered by their messages (bundle.ts). */
export const MAX_MESSAGES = 16;
export const messagesRequestSchema = z.strictObject({ jobs: z.array(z.strictObject(leased)).min(1).max(MAX_MESSAGES) });
export const giveBackRequestSchema = z.strictObject({ jobs: z.array(z.strictObject(leased)).min(1).max(64), code: codeText });
export const completionSchema = z.strictObject({
  ...leased,
  outcome: z.enum(['completed', 'rejected', 'failed']),
  code: codeText.optional(),
  /** Absent only when the message could not be opened, so that there is no key to seal to. */
  result: sealedSchema.optional(),
});
/** Recorded in one transaction. */
export const MAX_COMPLETIONS = 16;
export const completeRequestSchema = z.strictObject({ jobs: z.array(completionSchema).min(1).max(MAX_COMPLETIONS) });
/** In the order sent. `stale`: the lease was lost meanwhile; nothing changed. */
export const completeResponseSchema = z.strictObject({ jobs: z.array(z.strictObject({ job_id: jobId, recorded: z.boolean(), state: z.enum([...JOB_STATES, 'stale']) })) });

// What the counter signs (JWS, typ `ccc-result+jws`) and seals to `result_key`

export const countResultSchema = z.strictObject({
  count: z.number().int().min(0),
  method: z.string().max(64),
  model: z.strictObject({ name: z.string().max(64), digest: hexText(32), threshold: z.number() }),
  /** Pixels of the upright picture: left, top, width, height. */
  boxes: z.array(z.strictObject({ x: z.number(), y: z.number(), w: z.number(), h: z.number(), score: z.number().optional() })).max(256).optional(),
  image: z.strictObject({ width: z.number().int(), height: z.number().int() }).optional(),
});
export type CountResult = z.infer<typeof countResultSchema>;
export const resultPayloadSchema = z.strictObject({
  v: z.literal('ccc-result/v1'),
  tenant_id: tenantId, job_id: jobId,
  message_id: b64uText(32), commitment: b64uText(32), body_digest: hexText(32),
  outcome: z.enum(['completed', 'rejected', 'failed']),
  code: codeText.optional(),
  result: countResultSchema.optional(),
  model_digest: hexText(32), claims_digest: hexText(32),
  cell: cellName, epoch: z.number().int().min(1), policy_revision: z.number().int().min(1), at: epochSeconds,
});
export type ResultPayload = z.infer<typeof resultPayloadSchema>;

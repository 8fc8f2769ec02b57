/**
 * EAT Attestation Result (draft-ietf-rats-ear-04) as a JWT, as the Rust crate `ear` 0.6 and Veraison's Go library of 2026 read it. Revisions before 04, and older
 * libraries, had names with dots and one policy; nobody can read both, so the current draft it is:
 *
 *   eat_profile "tag:ietf.org,2026:rats/ear#04" · iss · iat · exp · ear_verifier_id {build, developer}
 *   eat_nonce   the challenge's nonce, base64url (43 characters)
 *   cnf.jwk     the attested Ed25519 key (RFC 7800): whoever holds it, and only they, may use this result
 *   submods.<platform>  ear_status · ear_trustworthiness_vector · ear_appraisal_policy_ids (one)
 *                       ear_attester_claims (the normalized claims) · ear_verifier_claims (policy digest, claims digest, rules)
 */
import { jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { type Bytes, b64u, hex, sha256 } from './bytes.ts';
import { claimsDigest } from './claims-digest.ts';
import type { Appraisal } from './claims.ts';
import { type BindingFields, PLATFORMS } from './evidence.ts';
import { refuse } from './refusal.ts';

export const EAR_PROFILE = 'tag:ietf.org,2026:rats/ear#04';
const VERIFIER = { build: 'confidential-cat-counter/1', developer: 'https://confidential-cat-counter.dev' } as const;
const TYPE = 'ear+jwt';
const SKEW = 60;

const claim = z.number().int().min(-128).max(127);
const vectorSchema = z.strictObject({
  'instance-identity': claim, configuration: claim, executables: claim, 'file-system': claim, hardware: claim, 'runtime-opaque': claim, 'storage-opaque': claim, 'sourced-data': claim,
});
const submodSchema = z.strictObject({
  ear_status: z.enum(['none', 'affirming', 'warning', 'contraindicated']),
  ear_trustworthiness_vector: vectorSchema,
  ear_appraisal_policy_ids: z.tuple([z.string().min(1)]),
  ear_attester_claims: z.record(z.string(), z.unknown()),
  ear_verifier_claims: z.strictObject({ policy_sha256: z.string(), claims_sha256: z.string(), rules: z.array(z.strictObject({ id: z.string(), outcome: z.enum(['pass', 'fail', 'lowered']), detail: z.string() })) }),
});
export const earSchema = z.strictObject({
  eat_profile: z.literal(EAR_PROFILE),
  iss: z.string().min(1),
  iat: z.number().int(),
  exp: z.number().int(),
  eat_nonce: z.string().length(43),
  ear_verifier_id: z.strictObject({ build: z.string(), developer: z.string() }),
  cnf: z.strictObject({ jwk: z.strictObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string().length(43) }) }),
  submods: z.partialRecord(z.enum(PLATFORMS), submodSchema).refine((s) => Object.keys(s).length === 1, 'exactly one platform'),
});
export type EarPayload = z.infer<typeof earSchema>;

export interface EarInput {
  readonly appraisal: Appraisal;
  /** The binding that the evidence was verified against: nonce and attested key come from it. */
  readonly binding: BindingFields;
  /** Ed25519 private key of the verifier. */
  readonly key: CryptoKey;
  readonly issuer: string;
  /** Epoch seconds. */
  readonly now: number;
  readonly ttlSeconds: number;
}

/** Compact JWS, EdDSA. @throws Refusal BINDING_MISMATCH when the appraisal is of other evidence than `binding` */
export async function signEar({ appraisal, binding, key, issuer, now, ttlSeconds }: EarInput): Promise<string> {
  const { claims } = appraisal;
  if (claims.time.nonce !== hex(binding.nonce) || claims.key.publicKeySha256 !== hex(await sha256(binding.signingKey))) {
    refuse('BINDING_MISMATCH', 'ear.binding', 'Sign the appraisal together with the binding that was verified.', { have: claims.key.publicKeySha256 });
  }
  const payload: Omit<EarPayload, 'iss' | 'iat' | 'exp'> = {
    eat_profile: EAR_PROFILE,
    eat_nonce: b64u(binding.nonce),
    ear_verifier_id: VERIFIER,
    cnf: { jwk: { kty: 'OKP', crv: 'Ed25519', x: b64u(binding.signingKey) } },
    submods: {
      [claims.platform]: {
        ear_status: appraisal.status,
        ear_trustworthiness_vector: appraisal.vector,
        ear_appraisal_policy_ids: [appraisal.policyId],
        ear_attester_claims: { ...claims },
        ear_verifier_claims: { policy_sha256: appraisal.policySha256, claims_sha256: await claimsDigest(claims), rules: appraisal.rules.map(({ id, outcome, detail }) => ({ id, outcome, detail })) },
      },
    },
  };
  return new SignJWT({ ...payload }).setProtectedHeader({ alg: 'EdDSA', typ: TYPE }).setIssuer(issuer).setIssuedAt(now).setExpirationTime(now + ttlSeconds).sign(key);
}

/**
 * @param signingKey raw Ed25519 public key of the verifier, 32 bytes
 * @param now epoch seconds
 * @throws Refusal SIG_INVALID, STALE, FMT_FIELD
 */
export async function verifyEar(jwt: string, signingKey: Bytes, now: number): Promise<EarPayload> {
  let payload: unknown;
  try {
    const key = await crypto.subtle.importKey('raw', signingKey, 'Ed25519', false, ['verify']);
    ({ payload } = await jwtVerify(jwt, key, { algorithms: ['EdDSA'], typ: TYPE, currentDate: new Date(now * 1000), clockTolerance: SKEW, requiredClaims: ['iat', 'exp'] }));
  } catch (error) {
    const expired = (error as { code?: unknown }).code === 'ERR_JWT_EXPIRED';
    return refuse(expired ? 'STALE' : 'SIG_INVALID', 'ear', expired ? 'Have the workload attest again.' : 'Use the key of the broker that signed this result.', { have: expired ? 'an expired result' : 'no valid signature' });
  }
  const parsed = earSchema.safeParse(payload);
  if (!parsed.success) return refuse('FMT_FIELD', `ear.${parsed.error.issues[0]?.path.join('.') ?? ''}`, 'The verifier speaks another profile of EAR.', { have: parsed.error.issues[0]?.message });
  if (parsed.data.iat > now + SKEW) refuse('CLOCK_FUTURE', 'ear.iat', 'Compare the clocks.', { have: String(parsed.data.iat), need: `at most ${now + SKEW}` });
  return parsed.data;
}

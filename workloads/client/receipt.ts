/**
 * A receipt: everything that made this client believe a result, so that anybody who trusts the owner's key can recompute it offline.
 *
 *   v            "ccc-receipt/v1"
 *   simulated    a software TEE vouched; then `notice` says what that means
 *   owner        RFC 7638 thumbprint of the owner's key; the key itself is for the verifier to know
 *   request      challenge id, nonce, audience: what the broker's evidence answers
 *   manifest     the gateway's answer: manifest bytes, evidence, binding, policy and directory (JWS)
 *   counter      evidence, binding, EAR
 *   result       JWS by the counter
 *   sent         what identifies the message: {tenant_id, job_id, message_id, commitment, body_digest}
 *   receipts     the broker's receipts for the job (JWS)
 *
 * It holds neither picture nor key. The count is in the result: a receipt is as confidential as that.
 */
import { z } from 'zod';
import type { CollateralSupply } from '../../attestation/collateral/collateral.ts';
import { Refusal, refuse } from '../../attestation/refusal.ts';
import { thumbprint } from '../protocol/jws.ts';
import { attestedSchema, type CountResult, manifestRequestSchema, manifestResponseSchema, wireCollateralSchema } from '../protocol/messages.ts';
import { b64uText, compactJws, hexText, jobId, tenantId } from '../protocol/wire.ts';
import { type VerifiedManifest, verifyManifest } from './manifest.ts';
import { type ResultCheck, type ResultEvidence, type Sent, verifyResult } from './result.ts';

export const SIMULATED_NOTICE = 'simulated TEE: proves nothing about hardware';

export const receiptSchema = z.strictObject({
  v: z.literal('ccc-receipt/v1'),
  simulated: z.boolean(),
  notice: z.literal(SIMULATED_NOTICE).optional(),
  owner: b64uText(32),
  request: manifestRequestSchema,
  manifest: manifestResponseSchema,
  counter: attestedSchema.extend({ ear: compactJws, collateral: wireCollateralSchema.optional() }),
  result: compactJws,
  sent: z.strictObject({ tenant_id: tenantId, job_id: jobId, message_id: b64uText(32), commitment: b64uText(32), body_digest: hexText(32) }),
  receipts: z.array(compactJws).max(64),
});
export type Receipt = z.infer<typeof receiptSchema>;

export interface ReceiptVerdict {
  readonly checks: readonly ResultCheck[];
  readonly simulated: boolean;
  readonly notice?: string;
  readonly outcome: 'completed' | 'rejected' | 'failed';
  readonly code?: string;
  readonly result?: CountResult;
  readonly tenant_id: string;
  readonly job_id: string;
  readonly platform: string;
  readonly claims_digest: string;
  /** When the counter signed, epoch seconds. */
  readonly at: number;
}

export async function makeReceipt(ownerKey: Uint8Array, manifest: VerifiedManifest, evidence: ResultEvidence, sent: Sent, simulated: boolean): Promise<Receipt> {
  return {
    v: 'ccc-receipt/v1', simulated, ...(simulated ? { notice: SIMULATED_NOTICE } : {}), owner: await thumbprint(ownerKey),
    request: { ...manifest.request }, manifest: manifest.response, counter: evidence.counter, result: evidence.result, sent: { ...sent }, receipts: [...evidence.receipts],
  };
}

/**
 * Recomputes everything, offline.
 * @param now epoch seconds; certificates and documents are judged at the time of the evidence, which must not lie ahead
 * @param collateral the vendors' lists, where those in the receipt have ended: evidence without a date is judged now
 * @throws Refusal RECEIPT_FORMAT, RECEIPT_OWNER, and whatever manifest and result are refused with
 */
export async function verifyReceipt(receipt: unknown, ownerKey: Uint8Array, now: number, collateral?: CollateralSupply): Promise<ReceiptVerdict> {
  const parsed = receiptSchema.safeParse(receipt);
  if (!parsed.success) {
    throw new Refusal(parsed.error.issues.slice(0, 16).map((issue) => ({ code: 'RECEIPT_FORMAT', path: ['receipt', ...issue.path.map(String)].join('.'), have: issue.code, next: `Not a receipt of this version: ${issue.message}.` })));
  }
  const r = parsed.data;
  const owner = await thumbprint(ownerKey);
  if (r.owner !== owner) refuse('RECEIPT_OWNER', 'receipt.owner', 'The receipt was made under another owner\'s key than the one you trust.', { have: r.owner, need: owner });

  const zone = zoneOf(r);
  const manifest = await verifyManifest({ request: r.request, response: r.manifest, ownerKey, tenant: r.sent.tenant_id, zone, now, mode: 'replay', collateral });
  const { payload, appraisal, checks } = await verifyResult({ result: r.result, counter: r.counter, receipts: r.receipts }, r.sent, manifest, now, collateral);
  const simulated = manifest.simulated || appraisal.claims.anchor !== 'production';
  if (r.simulated !== simulated || (r.notice !== undefined) !== simulated) {
    refuse('RECEIPT_FORMAT', 'receipt.simulated', 'The receipt says something else about its hardware than its evidence does.', { have: `${r.simulated}, ${r.notice ?? 'no notice'}`, need: String(simulated) });
  }
  return {
    checks: [
      { id: 'owner', result: 'pass', detail: `the pinned key, ${owner}` },
      { id: 'policy-signature', result: 'pass', detail: `revision ${manifest.policy.policy.revision}` },
      { id: 'directory-signature', result: 'pass', detail: `cell ${manifest.cell.name}, epoch ${manifest.cell.epoch}` },
      { id: 'broker-evidence', result: 'pass', detail: `${manifest.appraisal.claims.platform}, ${manifest.appraisal.status}` },
      { id: 'manifest', result: 'pass', detail: `keys of ${manifest.manifest.tenant_id}, zone ${manifest.manifest.zone}` },
      ...checks,
    ],
    simulated, ...(simulated ? { notice: SIMULATED_NOTICE } : {}),
    outcome: payload.outcome, ...(payload.code === undefined ? {} : { code: payload.code }), ...(payload.result === undefined ? {} : { result: payload.result }),
    tenant_id: payload.tenant_id, job_id: payload.job_id, platform: appraisal.claims.platform, claims_digest: payload.claims_digest, at: payload.at,
  };
}

/** A receipt repeats no zone: the one in the manifest, whose bytes the evidence covers, is the one it was made for. */
function zoneOf(receipt: Receipt): string {
  try {
    const manifest: unknown = JSON.parse(atob(receipt.manifest.manifest.replaceAll('-', '+').replaceAll('_', '/')));
    return z.object({ zone: z.string() }).parse(manifest).zone;
  } catch (cause) {
    throw new Refusal({ code: 'MANIFEST_FORMAT', path: 'receipt.manifest.manifest', next: 'The manifest in the receipt is none.' }, { cause });
  }
}

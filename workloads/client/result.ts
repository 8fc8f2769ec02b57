/**
 * A result, checked against what was sent. Tenant keys are public and messages have no sender's signature, so a gateway could have a picture of its own
 * counted; and it could hand out another job's result. The counter's evidence is verified here, as a replay at the document's own time.
 */
import { b64u, fromB64u, fromHex, text } from '../../attestation/bytes.ts';
import { canonicalJson } from '../../attestation/canonical.ts';
import { claimsDigest } from '../../attestation/claims-digest.ts';
import type { Appraisal, NormalizedClaims } from '../../attestation/claims.ts';
import type { CollateralSupply } from '../../attestation/collateral/collateral.ts';
import { isDated } from '../../attestation/evidence.ts';
import { type EarPayload, earSchema, verifyEar } from '../../attestation/ear.ts';
import { Refusal, refuse, type RefusalCode } from '../../attestation/refusal.ts';
import { verifyAttested } from '../protocol/appraised.ts';
import { open } from '../protocol/hpke.ts';
import { decodeJwsUnverified, verifyJws } from '../protocol/jws.ts';
import { resultAad, resultInfo } from '../protocol/labels.ts';
import { type Attested, type BrokerReceipt, brokerReceiptSchema, type ResultPayload, resultPayloadSchema, type Sealed, type WireCollateral } from '../protocol/messages.ts';
import { cellsOf } from './cells-core.ts';
import { supplyFor } from './collateral.ts';
import { hasObservers, timeOf, type VerifiedManifest } from './manifest.ts';

export const RESULT_TYPE = 'ccc-result+jws';
export const BROKER_RECEIPT_TYPE = 'ccc-broker-receipt+jws';
/** Between the clock of the evidence and that of the broker, seconds. */
const CLOCK_SKEW = 60;

/** What this client sent: bytes as in the result's payload. */
export interface Sent {
  readonly tenant_id: string;
  readonly job_id: string;
  /** base64url, 32 bytes each. */
  readonly message_id: string;
  readonly commitment: string;
  /** SHA-256 of the body after the header, lower-case hex. */
  readonly body_digest: string;
}

/** A check that was made. `note`: something that could not be checked, and why that is no refusal. */
export interface ResultCheck { readonly id: string; readonly result: 'pass' | 'note'; readonly detail?: string }

export interface ResultEvidence {
  /** The result's compact JWS. */
  readonly result: string;
  readonly counter: Attested & { readonly ear: string; readonly collateral?: WireCollateral | undefined };
  /** The broker's receipts for the job. */
  readonly receipts: readonly string[];
}
export interface VerifiedResult { readonly payload: ResultPayload; readonly appraisal: Appraisal; readonly checks: readonly ResultCheck[] }

/** By hand: anybody can seal to a public key, and a regular expression takes quadratic time over spaces that do not end the text. */
function unpadded(padded: string): string {
  let end = padded.length;
  while (end > 0 && padded.charCodeAt(end - 1) === 0x20) end -= 1;
  return padded.slice(0, end);
}

/** The JWS inside; it was padded with spaces to hide its length. @throws Refusal SEAL_OPEN, RESULT_FORMAT */
export async function openResult(sealed: Sealed, privateKey: Uint8Array, tenantId: string, jobId: string): Promise<string> {
  const opened = await open(privateKey, resultInfo(), resultAad(tenantId, jobId), sealed);
  try {
    const jws = unpadded(text(opened));
    decodeJwsUnverified(jws);
    return jws;
  } catch (cause) {
    throw new Refusal({ code: 'RESULT_FORMAT', path: 'result', next: 'Sealed to this client, but not a result of this version.' }, { cause });
  }
}

/** @param now epoch seconds @param collateral what this client gets by itself, before what came with the result @throws Refusal */
export async function verifyResult(evidence: ResultEvidence, sent: Sent, manifest: VerifiedManifest, now: number, collateral?: CollateralSupply): Promise<VerifiedResult> {
  const { counter } = evidence;
  const cell = countingCell(counter.binding.cell, manifest);
  const appraisal = await verifyAttested({
    attested: { evidence: counter.evidence, binding: counter.binding }, policy: manifest.policy.policy, now, mode: 'replay', collateral: supplyFor(collateral, counter.collateral, now),
    expect: { role: 'counter', cell: cell.name, policyDigest: manifest.policy.digest, payloadDigest: new Uint8Array(32), configDigest: fromHex(cell.configDigest) },
  });
  const payload = await verifyJws(evidence.result, RESULT_TYPE, fromB64u(counter.binding.signing_key), resultPayloadSchema, 'RESULT_SIGNATURE', 'RESULT_FORMAT');
  requireInForce(timeOf(appraisal.claims, payload.at), manifest);
  checkPayload(payload, sent, manifest, cell);
  const ear = await checkEar(counter, manifest);
  await checkClaims(payload, appraisal, ear.payload);
  const receipts = await checkReceipts(evidence.receipts, payload, sent, manifest);
  return {
    payload, appraisal,
    checks: [
      { id: 'counter-evidence', result: 'pass', detail: `${appraisal.claims.platform}, ${appraisal.status}` },
      { id: 'result-signature', result: 'pass', detail: 'by the key in the counter\'s evidence' },
      { id: 'result-is-about-what-was-sent', result: 'pass', detail: 'job, message id, key commitment and body digest' },
      { id: 'result-outcome', result: 'pass', detail: payload.outcome },
      { id: 'detector', result: 'pass', detail: 'named in the owner\'s policy' },
      { id: 'claims-digest', result: 'pass', detail: 'the broker released to the claims that this client verified' },
      ear.check, receipts,
    ],
  };
}

/** The owner's policy had not ended when the counter attested: a replay has no clock of its own to tell. @throws Refusal POLICY_EXPIRED */
function requireInForce(evidenceAt: number, { policy: { policy } }: VerifiedManifest): void {
  if (evidenceAt > policy.notAfter + CLOCK_SKEW) {
    refuse('POLICY_EXPIRED', 'policy.notAfter', 'The counter attested under a policy that had ended; count the picture again.', { have: String(policy.notAfter), need: `at least ${evidenceAt}` });
  }
}

/** Where observers lease epochs, another cell of the tenant's order may have taken over since the message was sent. @throws Refusal DIRECTORY_CELL */
function countingCell(answered: string, { directory: { directory }, manifest, cell }: VerifiedManifest): VerifiedManifest['cell'] {
  if (answered === cell.name || !hasObservers(directory) || !cellsOf(directory, manifest.tenant_id).some(({ name }) => name === answered)) return cell;
  return directory.cells.find(({ name }) => name === answered) ?? cell;
}

function checkPayload(p: ResultPayload, sent: Sent, { policy: { policy }, directory: { directory }, manifest, cell: first }: VerifiedManifest, cell: VerifiedManifest['cell']): void {
  const need = (code: RefusalCode, path: string, have: unknown, wanted: unknown, next: string): void => {
    if (have !== wanted) refuse(code, `result.${path}`, next, { have: String(have), need: String(wanted) });
  };
  need('RESULT_JOB', 'tenant_id', p.tenant_id, sent.tenant_id, 'The result is of another tenant\'s job.');
  need('RESULT_JOB', 'job_id', p.job_id, sent.job_id, 'The result is of another job.');
  for (const field of ['message_id', 'commitment', 'body_digest'] as const) {
    need('RESULT_MESSAGE', field, p[field], sent[field], 'Another message than the one sent was counted under this job.');
  }
  need('DIRECTORY_CELL', 'cell', p.cell, cell.name, 'The result is from another cell than the one the message went to.');
  if (!hasObservers(directory)) need('DIRECTORY_CELL', 'epoch', p.epoch, cell.epoch, 'The result is from another epoch of the cell.');
  else if (p.epoch < manifest.epoch) refuse('EPOCH_ROLLBACK', 'result.epoch', 'The result is from an epoch before the one that the message was encrypted in.', { have: String(p.epoch), need: `at least ${manifest.epoch}` });
  // One epoch is one cell's.
  else if (p.epoch === manifest.epoch) need('DIRECTORY_CELL', 'cell', p.cell, first.name, 'The result is from another cell, under the epoch of the one that the message went to.');
  need('RESULT_SESSION', 'policy_revision', p.policy_revision, policy.revision, 'The counter obeyed another revision of the policy.');
  if (!policy.detectors.some((d) => d.digest === p.model_digest) || (p.result !== undefined && p.result.model.digest !== p.model_digest)) {
    refuse('RESULT_MODEL', 'result.model_digest', 'The detector is not one of the owner\'s policy.', { have: p.model_digest, need: policy.detectors.map((d) => d.digest).join(', ') });
  }
  const consistent = p.outcome === 'completed' ? p.result !== undefined && p.code === undefined : p.result === undefined && p.code !== undefined;
  if (!consistent) refuse('RESULT_OUTCOME', 'result.outcome', 'A completed job has a result and no code, any other a code and no result.', { have: p.outcome });
}

/** Sound by itself and about this counter; its signature counts where its issuer is the broker whose evidence this client has. */
async function checkEar(counter: Attested & { readonly ear: string }, { manifest }: VerifiedManifest): Promise<{ payload: EarPayload; check: ResultCheck }> {
  const payload = readEar(counter.ear);
  if (payload.iss === manifest.broker.instance) {
    // At its own time: results are read long after a session's end.
    await verifyEar(counter.ear, fromB64u(manifest.broker.signing_key), payload.iat);
  }
  if (payload.cnf.jwk.x !== counter.binding.signing_key || payload.eat_nonce !== counter.binding.nonce) {
    refuse('RESULT_SESSION', 'ear.cnf', 'The broker\'s attestation result is about another counter.', { have: payload.cnf.jwk.x, need: counter.binding.signing_key });
  }
  const known = payload.iss === manifest.broker.instance;
  return {
    payload,
    check: known ? { id: 'ear', result: 'pass', detail: `signed by broker ${payload.iss}` }
      : { id: 'ear-issuer-unknown', result: 'note', detail: 'from a broker instance that has ended; the counter\'s evidence was verified here all the same' },
  };
}

function readEar(jwt: string): EarPayload {
  try {
    // `ear+jwt`: same compact form, so the same strict decoder.
    return earSchema.parse(decodeJwsUnverified(jwt).payload);
  } catch (cause) {
    throw new Refusal({ code: 'RESULT_SESSION', path: 'ear', next: 'Not an attestation result of this version.' }, { cause });
  }
}

/**
 * Between a live verification and this replay differ the time, the list of checks, and what comes of the vendors' lists of that day, not of the evidence: revocation,
 * the word on a TCB, the age of a token. Both were appraised, each on its day; nothing else may differ.
 */
function lasting({ time, checks: _, collateral: __, hardware, tcb, services, platform, ...rest }: NormalizedClaims): string {
  const { revocation: ___, ...chip } = hardware;
  const { status: ____, date: _____, evaluationNumber: ______, advisories: _______, ...versions } = tcb;
  return canonicalJson({
    ...rest, platform, hardware: chip, tcb: versions, services: services?.map(({ ageSeconds: ________, ...service }) => service) ?? [],
    time: { ...(isDated(platform) ? { evidenceAt: time.evidenceAt } : {}), challengeId: time.challengeId, nonce: time.nonce },
  });
}

async function checkClaims(p: ResultPayload, appraisal: Appraisal, ear: EarPayload): Promise<void> {
  const released = ear.submods[appraisal.claims.platform]?.ear_attester_claims as unknown as NormalizedClaims | undefined;
  let digest: string | undefined;
  let same = false;
  try {
    if (released !== undefined) [digest, same] = [await claimsDigest(released), lasting(released) === lasting(appraisal.claims)];
  } catch { /* not claims: refused below */ }
  if (digest !== p.claims_digest || !same) {
    refuse('RESULT_CLAIMS', 'result.claims_digest', 'The claims that the key was released to are not those of the counter\'s evidence.', { have: p.claims_digest, need: digest ?? 'claims in the attestation result' });
  }
}

async function checkReceipts(receipts: readonly string[], p: ResultPayload, sent: Sent, { manifest }: VerifiedManifest): Promise<ResultCheck> {
  const key = fromB64u(manifest.broker.signing_key);
  let [released, earlier, others] = [0, 0, 0];
  for (const jws of receipts) {
    const claimed = instanceOf(jws);
    if (claimed !== manifest.broker.instance) { others++; continue; }
    const receipt = await verifyJws(jws, BROKER_RECEIPT_TYPE, key, brokerReceiptSchema, 'RECEIPT_BROKER');
    if (receipt.tenant_id !== sent.tenant_id || receipt.job_id !== sent.job_id) {
      refuse('RECEIPT_BROKER', 'receipts', 'A receipt of another job.', { have: `${receipt.tenant_id}, ${receipt.job_id}`, need: `${sent.tenant_id}, ${sent.job_id}` });
    }
    if (receipt.operation !== 'released' || receipt.message_id !== p.message_id) continue;
    if (sameSession(receipt, p)) released++;
    else earlier++;
  }
  if (released > 0) return { id: 'broker-receipt', result: 'pass', detail: `the broker recorded the release, ${released} of ${receipts.length} receipts` };
  // A counter renews its session every few minutes: a job that was under way meanwhile is signed under the new one.
  if (earlier > 0) return { id: 'broker-receipt-earlier', result: 'note', detail: 'the broker recorded the release of this message\'s key, to an earlier session than the one that signed' };
  if (others === 0) {
    refuse('RECEIPT_BROKER', 'receipts', 'The broker of the manifest has no receipt for this release; the gateway withholds it, or the key came from elsewhere.', { have: `${receipts.length} receipts`, need: 'the release of this message\'s key' });
  }
  return { id: 'broker-receipt-unknown', result: 'note', detail: 'from a broker instance that has ended: its key is not known to this client' };
}

const sameSession = (r: BrokerReceipt, p: ResultPayload): boolean => r.claims_digest === p.claims_digest && r.policy_revision === p.policy_revision;

function instanceOf(jws: string): string {
  try {
    return brokerReceiptSchema.parse(decodeJwsUnverified(jws).payload).instance;
  } catch (cause) {
    throw new Refusal({ code: 'RECEIPT_BROKER', path: 'receipts', next: 'Not a broker\'s receipt of this version.' }, { cause });
  }
}

/** What a message is known by, from its parsed parts. */
export const sentOf = (parsed: { messageId: Uint8Array; commitment: Uint8Array; context: { tenant_id: string; job_id: string } }, bodyDigest: string): Sent => ({
  tenant_id: parsed.context.tenant_id, job_id: parsed.context.job_id, message_id: b64u(parsed.messageId), commitment: b64u(parsed.commitment), body_digest: bodyDigest,
});

/** What a counter says about a job: signed by the attested key, padded, sealed to the client's `result_key`. */
import { type Bytes, b64u, concat, fromB64u, hex, utf8 } from '../../attestation/bytes.ts';
import { seal } from '../protocol/hpke.ts';
import { signJws } from '../protocol/jws.ts';
import { resultAad, resultInfo } from '../protocol/labels.ts';
import type { ParsedMessage } from '../protocol/message.ts';
import { type CountResult, type ResultPayload, type Sealed, resultPayloadSchema } from '../protocol/messages.ts';
import type { ActiveSession } from './session.ts';

export const RESULT_TYPE = 'ccc-result+jws';
/** Sizes leave the TEE in steps of this, so that they do not tell how many cats there are. */
export const PADDING = 4096;

export type Outcome = { readonly outcome: 'completed'; readonly result: CountResult } | { readonly outcome: 'rejected' | 'failed'; readonly code: string };

export interface VerdictOptions {
  readonly message: Pick<ParsedMessage, 'messageId' | 'commitment' | 'context'>;
  /** SHA-256 of the message's body. */
  readonly bodyDigest: Bytes;
  readonly modelDigest: string;
  readonly cell: string;
  readonly epoch: number;
  /** Epoch seconds. */
  readonly at: number;
}

export async function sealVerdict(verdict: Outcome, options: VerdictOptions, session: ActiveSession): Promise<Sealed> {
  const { message: { messageId, commitment, context }, bodyDigest, modelDigest, cell, epoch, at } = options;
  const payload: ResultPayload = {
    v: 'ccc-result/v1', tenant_id: context.tenant_id, job_id: context.job_id,
    message_id: b64u(messageId), commitment: b64u(commitment), body_digest: hex(bodyDigest),
    ...verdict,
    model_digest: modelDigest, claims_digest: session.claimsDigest, cell, epoch, policy_revision: session.policy.revision, at,
  };
  const jws = await signJws(RESULT_TYPE, resultPayloadSchema.parse(payload), session.key);
  return seal(fromB64u(context.result_key), resultInfo(), resultAad(context.tenant_id, context.job_id), padded(utf8(jws)));
}

function padded(data: Bytes): Bytes {
  const missing = (PADDING - (data.length % PADDING)) % PADDING;
  return concat(data, new Uint8Array(missing).fill(0x20));
}

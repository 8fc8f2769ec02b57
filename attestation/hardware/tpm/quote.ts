/**
 * TPM2_Quote under an attestation key that something else vouches for. The key is never taken from the evidence: the caller hands it over with
 * its provenance (HCL runtime data under a hardware report, a certificate of the cloud, a signed document).
 *
 * The signed selection is what says which PCRs the digest is of. Values that were not selected are dropped here, so nothing behind this
 * function can use one.
 */
import { type Bytes, concat, equal, hex, sha256 } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import { type Verifier, verifySignature } from '../../formats/signature.ts';
import { BANKS } from '../../formats/tcg-event-log.ts';
import { parseTpmQuote, type TpmClock, type TpmQuote } from '../../formats/tpms-attest.ts';
import { type QuoteSignature, schemeHash } from '../../formats/tpmt-signature.ts';
import { Judge } from '../../judge.ts';
import type { RefusalCode } from '../../refusal.ts';

export type QuoteBank = 'sha256' | 'sha384';

export interface QuoteInput {
  /** First word of the checks' names. Default: TPM. */
  readonly prefix?: string;
  readonly path: string;
  /** TPMS_ATTEST as the TPM signed it. */
  readonly message: Bytes;
  readonly signature: QuoteSignature;
  /** The attestation key, of known provenance. */
  readonly key: Verifier;
  /** What extraData must be, exactly. `undefined` is for judging stored quotes whose nonce nobody kept: the caller says so itself. */
  readonly extraData: Bytes | 'unknown';
  /** What another extraData is refused with. Default: NONCE_MISMATCH. */
  readonly mismatch?: RefusalCode;
  readonly bank: QuoteBank;
  /** The PCRs that must be selected, no more and no fewer. `any` is for judging a quote alone. */
  readonly required: readonly number[] | 'any';
  /** Values by index, as the evidence has them. */
  readonly pcrs: ReadonlyMap<number, Bytes>;
}

export interface QuoteFacts {
  readonly bank: QuoteBank;
  /** The quoted ones only, in index order. */
  readonly pcrs: ReadonlyMap<number, Bytes>;
  readonly pcrDigest: Bytes;
  readonly extraData: Bytes;
  readonly clock: TpmClock;
  readonly firmwareVersion: bigint;
  readonly qualifiedSigner: Bytes;
  /** Hex. */
  readonly akSpkiSha256: string;
}

/** The PC Client profile has 24 PCRs: three bytes. */
const SIZE_OF_SELECT = 3;
const NEXT = 'Quote again inside the VM: the PCRs that the policy names, of this bank, over the verifier\'s challenge.';

/** @returns undefined when a check failed: TPM_FORMAT, SIG_INVALID, NONCE_MISMATCH (or `mismatch`), PCR_BANK, PCR_SELECTION, UNQUOTED_PCR, PCR_DIGEST, TPM_CLOCK */
export async function verifyTpmQuote(input: QuoteInput, checks: CheckList): Promise<QuoteFacts | undefined> {
  const { path, message, signature, key } = input;
  const judge = new Judge(checks, input.prefix ?? 'TPM');
  const quote = judge.parse('QUOTE-FORMAT', `${path}.message`, () => parseTpmQuote(message, `${path}.message`));
  judge.that('QUOTE-SIGNATURE', `${path}.signature`, await verifySignature(key, signature.algorithm, signature.value, message), () => ({ code: 'SIG_INVALID', have: `a signature that the attestation key (${key.key.kind}) does not verify`, need: `one over exactly these bytes (${signature.algorithm})`, next: NEXT }));
  if (quote === undefined) return undefined;
  if (input.extraData !== 'unknown') {
    const expected = input.extraData;
    judge.that('QUOTE-EXTRA-DATA', `${path}.message.extraData`, equal(quote.extraData, expected), () => ({ code: input.mismatch ?? 'NONCE_MISMATCH', have: hex(quote.extraData) || 'nothing', need: hex(expected), next: NEXT }));
  } else judge.skipped('QUOTE-EXTRA-DATA', `${path}.message.extraData`);
  judge.that('QUOTE-CLOCK', `${path}.message.clockInfo.safe`, quote.clock.safe, () => ({ code: 'TPM_CLOCK', have: 'safe 0: the clock may run behind what was reported before', need: 'safe 1', next: 'Let the TPM run for a few minutes after its restart, then quote again.' }));
  const selected = checkSelection(quote, input, judge);
  const pcrs = selected === undefined ? undefined : await checkDigest(quote, selected, input, judge);
  if (judge.failed || pcrs === undefined) return undefined;
  const { pcrDigest, extraData, clock, firmwareVersion, qualifiedSigner } = quote;
  return { bank: input.bank, pcrs, pcrDigest, extraData, clock, firmwareVersion, qualifiedSigner, akSpkiSha256: hex(await sha256(key.spki)) };
}

/** One bank, three bytes, and exactly the PCRs that are required. */
function checkSelection({ selections }: TpmQuote, { path, bank, required }: QuoteInput, judge: Judge): readonly number[] | undefined {
  const at = `${path}.message.pcrSelect`;
  const [only] = selections;
  const show = selections.map((s) => `bank ${s.bank.toString(16)} of ${s.sizeofSelect} bytes`).join(', ') || 'no bank';
  const held = judge.that('QUOTE-BANK', at, selections.length === 1 && only?.bank === BANKS[bank].id && only.sizeofSelect === SIZE_OF_SELECT, () => ({ code: 'PCR_BANK', have: show, need: `${bank} alone (${BANKS[bank].id.toString(16)}), ${SIZE_OF_SELECT} bytes`, next: NEXT }));
  if (!held || only === undefined) return undefined;
  judge.that('QUOTE-NOT-EMPTY', at, only.pcrs.length > 0, () => ({ code: 'PCR_SELECTION', have: 'no PCR', need: 'at least one', next: NEXT }));
  if (required === 'any') return only.pcrs;
  const [absent, surplus] = [required.filter((i) => !only.pcrs.includes(i)), only.pcrs.filter((i) => !required.includes(i))];
  const list = (indexes: readonly number[]): string => indexes.join(', ') || 'none';
  judge.that('QUOTE-REQUIRED', at, required.length > 0 && absent.length === 0, () => ({ code: 'UNQUOTED_PCR', have: `quoted: ${list(only.pcrs)}`, need: `also ${list(absent)}`, next: NEXT }));
  judge.that('QUOTE-SELECTION', at, surplus.length === 0, () => ({ code: 'PCR_SELECTION', have: `quoted: ${list(only.pcrs)}`, need: `exactly ${list(required)}`, next: NEXT }));
  return only.pcrs;
}

/** pcrDigest = H(values of the selected PCRs, in index order). */
async function checkDigest({ pcrDigest }: TpmQuote, selected: readonly number[], { path, bank, pcrs, signature }: QuoteInput, judge: Judge): Promise<ReadonlyMap<number, Bytes> | undefined> {
  const values = selected.map((i) => pcrs.get(i));
  const whole = judge.that('QUOTE-VALUES', `${path}.pcrs`, values.every((v) => v?.length === BANKS[bank].size), () => ({ code: 'PCR_DIGEST', have: `values of ${[...pcrs.keys()].join(', ') || 'no PCR'}`, need: `${BANKS[bank].size} bytes for each of ${selected.join(', ')}`, next: NEXT }));
  if (!whole) return undefined;
  const digest = new Uint8Array(await crypto.subtle.digest(schemeHash(signature.algorithm), concat(...values as Bytes[])));
  judge.that('QUOTE-DIGEST', `${path}.message.pcrDigest`, equal(digest, pcrDigest), () => ({ code: 'PCR_DIGEST', have: `${hex(digest)} of the values`, need: `${hex(pcrDigest)}, as quoted`, next: NEXT }));
  return new Map(selected.map((i, at) => [i, values[at] as Bytes]));
}

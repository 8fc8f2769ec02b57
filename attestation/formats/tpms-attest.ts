/**
 * TPMS_ATTEST of TPM2_Quote (TPM 2.0 Library, Part 2, section 10.12), big endian:
 *
 *   | field            | type               |                                                             |
 *   |------------------|--------------------|-------------------------------------------------------------|
 *   | magic            | u32                | ff544347: made by a TPM                                     |
 *   | type             | u16                | 8018: quote; other attestations are refused                 |
 *   | qualifiedSigner  | TPM2B (u16, bytes) | name of the key that signed, at most 66 bytes               |
 *   | extraData        | TPM2B              | the caller's nonce, at most 64 bytes                        |
 *   | clockInfo        | u64, u32, u32, u8  | clock (ms), resetCount, restartCount, safe (0, 1)           |
 *   | firmwareVersion  | u64                |                                                             |
 *   | pcrSelect        | u32, n × selection | selection: bank u16, sizeofSelect u8, bitmap, PCR0 = bit 0  |
 *   | pcrDigest        | TPM2B              | digest of the selected PCRs' values, in index order         |
 *
 * The digest is of the signing scheme's algorithm, whatever the bank is. The bitmap is all that says which PCRs it is of.
 */
import type { Bytes } from '../bytes.ts';
import { ByteReader } from './byte-reader.ts';

export interface PcrSelection {
  /** TPM_ALG_ID. */
  readonly bank: number;
  readonly sizeofSelect: number;
  /** Indexes in ascending order. */
  readonly pcrs: readonly number[];
}

export interface TpmClock {
  /** Milliseconds that the TPM was on, since it was made. */
  readonly clock: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly safe: boolean;
}

export interface TpmQuote {
  readonly qualifiedSigner: Bytes;
  readonly extraData: Bytes;
  readonly clock: TpmClock;
  readonly firmwareVersion: bigint;
  readonly selections: readonly PcrSelection[];
  readonly pcrDigest: Bytes;
}

const MAGIC = 0xff544347;
const QUOTE = 0x8018;
const MAX_SIZE = 1024;
const MAX_SELECTIONS = 16;
const NEXT = 'Send the quote exactly as the TPM made it.';

/** @throws Refusal TPM_FORMAT */
export function parseTpmQuote(message: Bytes, path: string): TpmQuote {
  const r = new ByteReader(message, { path, code: 'TPM_FORMAT', next: NEXT, endian: 'big' });
  if (message.length > MAX_SIZE) r.fail('', `${message.length} bytes`, `at most ${MAX_SIZE}`);
  r.expect('magic', r.u32('magic'), MAGIC);
  r.expect('type', r.u16('type'), QUOTE);
  const qualifiedSigner = r.sized16('qualifiedSigner', 66);
  const extraData = r.sized16('extraData', 64);
  const [clock, resetCount, restartCount, safe] = [r.u64('clockInfo.clock'), r.u32('clockInfo.resetCount'), r.u32('clockInfo.restartCount'), r.u8('clockInfo.safe')];
  r.expect('clockInfo.safe', safe, 0, 1);
  const firmwareVersion = r.u64('firmwareVersion');
  const count = r.u32('pcrSelect');
  if (count > MAX_SELECTIONS) r.fail('pcrSelect', String(count), `at most ${MAX_SELECTIONS}`);
  const selections: PcrSelection[] = [];
  for (let i = 0; i < count; i++) selections.push(readSelection(r, `pcrSelect[${i}]`));
  const pcrDigest = r.sized16('pcrDigest', 64);
  r.end('');
  return { qualifiedSigner, extraData, clock: { clock, resetCount, restartCount, safe: safe === 1 }, firmwareVersion, selections, pcrDigest };
}

function readSelection(r: ByteReader, name: string): PcrSelection {
  const [bank, sizeofSelect] = [r.u16(`${name}.hash`), r.u8(`${name}.sizeofSelect`)];
  if (sizeofSelect > 4) r.fail(`${name}.sizeofSelect`, String(sizeofSelect), 'at most 4');
  const bitmap = r.take(sizeofSelect, `${name}.pcrSelect`);
  const pcrs: number[] = [];
  for (let i = 0; i < 8 * bitmap.length; i++) if (((bitmap[i >> 3] as number) & (1 << (i & 7))) !== 0) pcrs.push(i);
  return { bank, sizeofSelect, pcrs };
}

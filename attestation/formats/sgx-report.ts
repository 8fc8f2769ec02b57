/**
 * REPORTBODY of an SGX enclave (Intel SDM volume 3D, section 39.15), 384 bytes, little endian; also what a quoting enclave says of itself.
 *
 *   |   0 | CPUSVN 16       |  16 | MISCSELECT 4   |  20 | reserved, ISVEXTPRODID 28 |  48 | ATTRIBUTES 16 (flags 8, XFRM 8) |
 *   |  64 | MRENCLAVE 32    |  96 | reserved 32    | 128 | MRSIGNER 32               | 160 | reserved, CONFIGID 96           |
 *   | 256 | ISVPRODID 2     | 258 | ISVSVN 2       | 260 | CONFIGSVN, reserved 60    | 320 | REPORTDATA 64                   |
 */
import type { Bytes } from '../bytes.ts';
import { refuse } from '../refusal.ts';

export const SGX_REPORT_SIZE = 384;

export interface SgxReport {
  /** All 384 bytes, as received. */
  readonly raw: Bytes;
  readonly cpuSvn: Bytes;
  readonly miscSelect: Bytes;
  readonly attributes: Bytes;
  /** ATTRIBUTES.DEBUG: whoever runs the machine can read the enclave. */
  readonly debug: boolean;
  readonly mrEnclave: Bytes;
  readonly mrSigner: Bytes;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly reportData: Bytes;
}

const DEBUG = 0x02;

/** @throws Refusal FMT_SIZE */
export function parseSgxReport(raw: Bytes, path: string): SgxReport {
  if (raw.length !== SGX_REPORT_SIZE) refuse('FMT_SIZE', path, 'Send the report exactly as the processor made it.', { have: `${raw.length} bytes`, need: String(SGX_REPORT_SIZE) });
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  const attributes = raw.subarray(48, 64);
  return {
    raw, attributes, cpuSvn: raw.subarray(0, 16), miscSelect: raw.subarray(16, 20), debug: ((attributes[0] as number) & DEBUG) !== 0, mrEnclave: raw.subarray(64, 96), mrSigner: raw.subarray(128, 160),
    isvProdId: view.getUint16(256, true), isvSvn: view.getUint16(258, true), reportData: raw.subarray(320, 384),
  };
}

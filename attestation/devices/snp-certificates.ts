/**
 * The certificate table of an extended SNP report (AMD 56421, GHCB, section 4.1.8.1): entries of 24 bytes up to one of zeros, then the blobs.
 *
 *   GUID 16, in the order of its text · offset u32 LE, from the table's begin · length u32 LE
 *
 * The host wrote it: it is a convenience, and verified like anything else. Certificates are DER; what a host pads them with is cut off.
 */
import { type Bytes, hex } from '../bytes.ts';
import { ByteReader } from '../formats/byte-reader.ts';
import { cutDer } from './certificates.ts';

type Kind = 'vcek' | 'vlek' | 'ask' | 'ark';
const GUIDS: ReadonlyMap<string, Kind> = new Map([
  ['63da758de6644564adc5f4b93be8accd', 'vcek'], ['a8074bc2a25a483eaae639c045a0b8a1', 'vlek'], ['4ab7b379bbac4fe4a02f05aef327c782', 'ask'], ['c0b406a4a803495297433fb6014cd0ae', 'ark'],
]);
const ENTRY = 24;
const END = '0'.repeat(32);
const MAX_ENTRIES = 16;
const NEXT = 'See what the host gives as certificates; the verifier can also get them as collateral.';

export interface SnpCertificates {
  /** VLEK where the host has one, since such a host signs with it; VCEK otherwise. */
  readonly vek?: Bytes;
  /** ASK (or ASVK) and ARK, those that there are. */
  readonly issuers?: readonly Bytes[];
}

/** @throws Refusal ATTESTER_FAILED */
export function readCertificateTable(table: Bytes, path: string): SnpCertificates {
  const r = new ByteReader(table, { path, code: 'ATTESTER_FAILED', next: NEXT, endian: 'little' });
  const found = new Map<Kind, Bytes>();
  for (let i = 0; ; i++) {
    if (i === MAX_ENTRIES) r.fail('', 'more entries', `at most ${MAX_ENTRIES}`);
    const guid = hex(r.take(16, `[${i}].guid`));
    const [offset, length] = [r.u32(`[${i}].offset`), r.u32(`[${i}].length`)];
    if (guid === END) break;
    if (offset + length > table.length || offset < ENTRY) r.fail(`[${i}]`, `${length} bytes at ${offset}`, `inside of ${table.length}`);
    const kind = GUIDS.get(guid);
    // Others (a revocation list, a host's own) are of no use here
    if (kind === undefined || length === 0) continue;
    if (found.has(kind)) r.fail(`[${i}].guid`, `a second ${kind}`, 'one');
    found.set(kind, cutDer(table.slice(offset, offset + length), `${path}.${kind}`));
  }
  const vek = found.get('vlek') ?? found.get('vcek');
  const issuers = [found.get('ask'), found.get('ark')].filter((c) => c !== undefined);
  return { ...(vek === undefined ? {} : { vek }), ...(issuers.length === 0 ? {} : { issuers }) };
}

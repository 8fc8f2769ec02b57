/**
 * A document of EC2's NitroTPM, as far as it vouches for a key and PCRs: the envelope and the certificates of a Nitro Enclave's document, with
 * `nitrotpm_pcrs` in place of `pcrs`. It describes an instance, never an enclave, so nothing but this corpus reads it.
 */
import type { Bytes } from '../bytes.ts';
import { type CheckList } from '../checks.ts';
import { decodeCbor } from '../formats/cbor.ts';
import { parseCoseSign1, verifyCoseSign1 } from '../formats/cose.ts';
import { checkChain, checkChainSignatures } from '../platforms/aws-nitro/chain.ts';
import { refuse } from '../refusal.ts';
import { corpusTrust, type Vector } from './judge.ts';

export interface NitroTpmFacts { readonly publicKey: Bytes | undefined; readonly pcrs: ReadonlyMap<number, Bytes> }

const NEXT = 'Send the document exactly as the security module made it.';

export async function nitroTpmFacts(document: Bytes, vector: Vector, checks: CheckList): Promise<NitroTpmFacts | undefined> {
  if (vector.at === null) return refuse('FMT_FIELD', 'verified_at', 'A document is valid at a time: state one.');
  const cose = parseCoseSign1(document, 'document');
  const map = decodeCbor(cose.payload, { path: 'document.payload', maxBytes: 16_384, maxDepth: 3, indefiniteTopMap: true });
  const get = (key: string): unknown => (map instanceof Map ? map.get(key) : undefined);
  const [certificate, bundle, pcrs, publicKey] = [get('certificate'), get('cabundle'), get('nitrotpm_pcrs'), get('public_key')];
  const isBytes = (value: unknown): value is Bytes => value instanceof Uint8Array;
  if (!isBytes(certificate) || !Array.isArray(bundle) || !bundle.every(isBytes) || !(pcrs instanceof Map) || ![...pcrs].every(([i, v]) => typeof i === 'number' && isBytes(v))) {
    return refuse('FMT_FIELD', 'document', NEXT, { have: 'another payload', need: 'certificate, cabundle and nitrotpm_pcrs' });
  }
  const trust = corpusTrust(vector);
  const chain = await checkChain(bundle, certificate, trust, vector.at, checks);
  if (chain === undefined) return undefined;
  await checkChainSignatures(chain, undefined, checks);
  const leaf = chain.certificates.at(-1);
  checks.that('NITRO-SIGNATURE', 'document.signature', leaf !== undefined && await verifyCoseSign1(cose, leaf), () => ({ code: 'SIG_INVALID', have: 'a signature that the leaf\'s key does not verify', need: 'one over exactly these bytes', next: NEXT }));
  return { publicKey: isBytes(publicKey) ? publicKey : undefined, pcrs: pcrs as ReadonlyMap<number, Bytes> };
}

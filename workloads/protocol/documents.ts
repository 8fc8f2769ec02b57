/** The owner's documents: signed by the key that was pinned, dated, of the closed schema. Revisions are compared by whoever keeps the highest seen. */
import { type Bytes, sha256, utf8 } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { verifyJws } from './jws.ts';
import { type CellDirectory, directorySchema, DIRECTORY_TYPE, type OwnerPolicy, POLICY_TYPE, policySchema } from './owner.ts';

export interface VerifiedPolicy {
  readonly policy: OwnerPolicy;
  /** SHA-256 of the compact JWS: the policy digest of the binding transcript. */
  readonly digest: Bytes;
  readonly jws: string;
}
export interface VerifiedDirectory { readonly directory: CellDirectory; readonly digest: Bytes; readonly jws: string }

/** @param now epoch seconds @throws Refusal POLICY_SIGNATURE, POLICY_FORMAT, POLICY_EXPIRED */
export async function verifyPolicy(jws: string, ownerKey: Uint8Array, now: number): Promise<VerifiedPolicy> {
  const policy = await verifyJws(jws, POLICY_TYPE, ownerKey, policySchema, 'POLICY_SIGNATURE', 'POLICY_FORMAT');
  if (now > policy.notAfter) {
    refuse('POLICY_EXPIRED', 'policy.notAfter', 'Ask the owner to sign a new revision.', { have: String(policy.notAfter), need: `at least ${now}` });
  }
  return { policy, digest: await sha256(utf8(jws)), jws };
}

/** @param now epoch seconds @throws Refusal DIRECTORY_SIGNATURE, DIRECTORY_FORMAT, DIRECTORY_EXPIRED */
export async function verifyDirectory(jws: string, ownerKey: Uint8Array, now: number): Promise<VerifiedDirectory> {
  const directory = await verifyJws(jws, DIRECTORY_TYPE, ownerKey, directorySchema, 'DIRECTORY_SIGNATURE', 'DIRECTORY_FORMAT');
  if (now > directory.notAfter) {
    refuse('DIRECTORY_EXPIRED', 'directory.notAfter', 'Ask the owner to sign a new revision.', { have: String(directory.notAfter), need: `at least ${now}` });
  }
  return { directory, digest: await sha256(utf8(jws)), jws };
}

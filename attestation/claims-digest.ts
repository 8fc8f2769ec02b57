import { hex, sha256, utf8 } from './bytes.ts';
import { canonicalJson } from './canonical.ts';
import type { NormalizedClaims } from './claims.ts';

/** SHA-256 of the canonical JSON, hex: the name of a set of claims in sessions, receipts and results. */
export async function claimsDigest(claims: NormalizedClaims): Promise<string> {
  return hex(await sha256(utf8(canonicalJson(claims))));
}

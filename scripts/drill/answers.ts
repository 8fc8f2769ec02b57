/** What a drill's client makes of answers. */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../../attestation/canonical.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { ApiError } from '../../workloads/client/api.ts';
import type { CellOutcome } from '../../workloads/client/cells-core.ts';
import type { Sealed } from '../../workloads/protocol/messages.ts';

/** What both a client and the owner of a database can compute of a sealed result. */
export const sealedDigest = (sealed: Sealed): string => createHash('sha256').update(canonicalJson(sealed)).digest('hex');

export const codeOf = (error: unknown): string => (error instanceof ApiError ? error.code : error instanceof Refusal ? error.codes[0] ?? 'REFUSED' : error instanceof Error ? error.name : 'UNKNOWN').slice(0, 64);

/** Another cell may do better: nobody answered, not now, or not this cell. `undefined`: the answer would be the same everywhere. */
export function outcomeOf(error: unknown): CellOutcome | undefined {
  if (error instanceof Refusal) return error.codes.some((code) => code.startsWith('EPOCH_') || code.startsWith('COLLATERAL_') || code === 'CRL_ABSENT') ? { kind: 'down' } : undefined;
  if (!(error instanceof ApiError)) return undefined;
  const named = error.code === 'EPOCH_FENCED' ? error.problem?.reasons?.[0]?.need : undefined;
  if (named !== undefined) return { kind: 'elsewhere', cell: named };
  return error.passing || error.code === 'STORE_FULL' || error.code.startsWith('EPOCH_') ? { kind: 'down', retryAfterMs: error.retryAfter } : undefined;
}

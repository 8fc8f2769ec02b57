/** API keys: `ccc_live_<id>_<secret>`. The secret is 256 random bits, so its plain SHA-256 is enough to keep. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { b64u, randomBytes } from '../../attestation/bytes.ts';
import type { ApiKey, Ledger } from '../ledger/ledger.ts';
import { CccError } from '../protocol/problem.ts';

export const SCOPES = ['jobs:write', 'jobs:read', 'keys:read'] as const;
export type Scope = (typeof SCOPES)[number];

const KEY = /^ccc_live_([a-z2-7]{16})_([A-Za-z0-9_-]{43})$/;
const BEARER = /^Bearer ([\x21-\x7e]{1,128})$/i;
const HASH = /^[0-9a-f]{64}$/;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

const hash = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** A new key. `key` is to be shown once and forgotten; only `hash` is kept. */
export function newApiKey(): { id: string; key: string; hash: string } {
  const id = [...randomBytes(16)].map((byte) => ALPHABET[byte & 31]).join('');
  const secret = b64u(randomBytes(32));
  return { id, key: `ccc_live_${id}_${secret}`, hash: hash(secret) };
}

const NEXT = 'Send `Authorization: Bearer ccc_live_...` with a key of this cell (`ccc key add`).';
const NO_SUCH_HASH = '0'.repeat(64);

/** @param authorization the header's value. @throws CccError UNAUTHENTICATED, KEY_EXPIRED, KEY_REVOKED */
export async function authenticate(ledger: Pick<Ledger, 'apiKey'>, authorization: string | undefined, now: number): Promise<ApiKey> {
  const [, id, secret] = KEY.exec(BEARER.exec(authorization ?? '')?.[1] ?? '') ?? [];
  if (id === undefined || secret === undefined) throw new CccError('UNAUTHENTICATED', NEXT);
  const row = await ledger.apiKey(id);
  // An unknown id costs the same comparison as a wrong secret; a stored value that is no hash matches nothing.
  const stored = row !== undefined && HASH.test(row.hash) ? row.hash : NO_SUCH_HASH;
  const matches = timingSafeEqual(Buffer.from(hash(secret), 'hex'), Buffer.from(stored, 'hex'));
  if (row === undefined || !matches) throw new CccError('UNAUTHENTICATED', NEXT);
  if (row.revokedAt !== undefined) throw new CccError('KEY_REVOKED', 'Ask the operator for a new key.');
  if (row.expiresAt !== undefined && row.expiresAt <= now) throw new CccError('KEY_EXPIRED', 'Ask the operator for a new key.');
  return row;
}

/** @throws CccError FORBIDDEN_SCOPE */
export function requireScope(key: Pick<ApiKey, 'scopes'>, scope: Scope): void {
  if (!key.scopes.includes(scope)) throw new CccError('FORBIDDEN_SCOPE', 'Use a key with this scope.', { detail: `Scope ${scope} is required` });
}

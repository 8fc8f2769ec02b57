/**
 * What all three clouds have in common: a fresh data key for each tenant key, which only the cloud's key service makes readable again, for an attested broker.
 *
 *   | bytes | sealed blob                                        |
 *   |-------|----------------------------------------------------|
 *   | 4     | "cck1"                                             |
 *   | 1     | service: 1 AWS KMS, 2 Azure release, 3 Google KMS  |
 *   | 2+n   | id of the service's key, ASCII                     |
 *   | 2+m   | wrapped data key                                   |
 *   | 12    | random IV                                          |
 *   | k+16  | AES-256-GCM ciphertext and tag                     |
 *
 * AAD of the ciphertext: SHA-256 of everything before the IV, then the caller's AAD: another wrapped key under the same ciphertext does not open, even one that the
 * service would open. The service itself gets the same names as its encryption context.
 */
import { type Bytes, bytes, concat, equal, randomBytes, sha256, text, utf8 } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';
import type { KeySealer } from '../sealer.ts';

/** What is sealed, for whom: the fields of the caller's AAD, and the deployment. */
export type Context = Readonly<Record<string, string>>;

export interface DataKey {
  /** 32 bytes; whoever gets it wipes it. */
  readonly plaintext: Bytes;
  readonly wrapped: Bytes;
  /** Of the key that wraps it, with its version where it has one. */
  readonly keyId: string;
}

export interface DataKeyService {
  /** In blobs. */
  readonly service: 1 | 2 | 3;
  generate(context: Context): Promise<DataKey>;
  /** @throws Refusal KEY_SEALER_LOST when the service's key, the wrapped key or the context is another */
  unwrap(context: Context, keyId: string, wrapped: Bytes): Promise<Bytes>;
  describe: KeySealer['describe'];
}

const MAGIC = utf8('cck1');
const IV = 12;
const TAG = 16;
const DATA_KEY = 32;
const MAX_KEY_ID = 512;
const MAX_WRAPPED = 6_144;
const NEXT = 'Restore the row from a backup of the ledger; if all rows are refused, see whether the cell still names the key that they were sealed with.';

/** @param deployment the owner's key: what another deployment sealed does not open here */
export function envelopeSealer(keys: DataKeyService, deployment: string): KeySealer {
  return {
    async seal(aad, plaintext) {
      const context = contextOf(deployment, aad);
      const { plaintext: dataKey, wrapped, keyId } = await keys.generate(context);
      try {
        if (dataKey.length !== DATA_KEY) refuse('KEY_SEALER_ANSWER', 'data-key', 'Report this: the service made a key of another length.', { have: `${dataKey.length} bytes`, need: `${DATA_KEY} bytes` });
        // A key that does not come back is a tenant key that is lost; better to know before the ledger has it.
        const again = await keys.unwrap(context, keyId, wrapped);
        const same = equal(again, dataKey);
        again.fill(0);
        if (!same) refuse('KEY_SEALER_ANSWER', 'data-key', 'Nothing was stored. Try again; if it happens again, something stands between the broker and the key service.', { have: 'another key when it was opened', need: 'the key that was made' });
        const head = encodeHead(keys.service, keyId, wrapped);
        const iv = randomBytes(IV);
        const ciphertext = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: await boundTo(head, aad) }, await aesKey(dataKey, 'encrypt'), plaintext);
        return concat(head, iv, bytes(ciphertext));
      } finally {
        dataKey.fill(0);
      }
    },
    async open(aad, sealed) {
      const { head, keyId, wrapped, iv, ciphertext } = decode(keys.service, sealed);
      const dataKey = await keys.unwrap(contextOf(deployment, aad), keyId, wrapped);
      try {
        return bytes(await crypto.subtle.decrypt({ name: 'AES-GCM', iv, additionalData: await boundTo(head, aad) }, await aesKey(dataKey, 'decrypt'), ciphertext));
      } catch {
        return refuse('KEY_SEALER_LOST', 'tenant-key.sealed', NEXT);
      } finally {
        dataKey.fill(0);
      }
    },
    describe: keys.describe,
  };
}

const boundTo = async (head: Bytes, aad: Bytes): Promise<Bytes> => concat(await sha256(head), aad);
const aesKey = (raw: Bytes, use: 'encrypt' | 'decrypt'): Promise<CryptoKey> => crypto.subtle.importKey('raw', raw, 'AES-GCM', false, [use]);
const u16 = (n: number): Bytes => bytes([n >> 8, n & 255]);

/** @throws Refusal INTERNAL when the AAD is no JSON object of texts */
export function contextOf(deployment: string, aad: Bytes): Context {
  let fields: unknown;
  try {
    fields = JSON.parse(text(aad));
  } catch { /* said below */ }
  const entries = typeof fields === 'object' && fields !== null && !Array.isArray(fields) ? Object.entries(fields) : [];
  if (entries.length === 0 || entries.length > 8 || entries.some(([name, value]) => name === 'deployment' || typeof value !== 'string' || value.length > 512)) {
    refuse('INTERNAL', 'sealer.aad', 'This is a defect of the broker; report it.', { need: 'up to 8 texts by name' });
  }
  return Object.fromEntries([...(entries as [string, string][]), ['deployment', deployment] as const].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function encodeHead(service: number, keyId: string, wrapped: Bytes): Bytes {
  const id = utf8(keyId);
  if (id.length === 0 || id.length > MAX_KEY_ID || wrapped.length === 0 || wrapped.length > MAX_WRAPPED) refuse('KEY_SEALER_ANSWER', 'data-key', 'Report this: the service names its key, or wraps a key, in a form that is too long.', { have: `${id.length} and ${wrapped.length} bytes`, need: `at most ${MAX_KEY_ID} and ${MAX_WRAPPED}` });
  return concat(MAGIC, bytes([service]), u16(id.length), id, u16(wrapped.length), wrapped);
}

function decode(service: number, sealed: Bytes): { head: Bytes; keyId: string; wrapped: Bytes; iv: Bytes; ciphertext: Bytes } {
  const lost = (have: string): never => refuse('KEY_SEALER_LOST', 'tenant-key.sealed', NEXT, { have, need: 'a blob of this sealer' });
  let at = MAGIC.length + 1;
  const sized = (max: number): Bytes => {
    const length = ((sealed[at] ?? 0) << 8) | (sealed[at + 1] ?? 0);
    const value = sealed.subarray(at + 2, at + 2 + length);
    if (length === 0 || length > max || value.length !== length) lost('lengths that do not add up');
    at += 2 + length;
    return value;
  };
  if (!equal(sealed.subarray(0, MAGIC.length), MAGIC)) lost('another kind of blob');
  if (sealed[MAGIC.length] !== service) lost('a blob of another key service');
  const id = sized(MAX_KEY_ID);
  if (id.some((byte) => byte < 0x21 || byte > 0x7e)) lost('a key id that is no text');
  const wrapped = sized(MAX_WRAPPED);
  if (sealed.length < at + IV + TAG) lost('a blob that was cut off');
  return { head: sealed.slice(0, at), keyId: text(id), wrapped: wrapped.slice(), iv: sealed.slice(at, at + IV), ciphertext: sealed.slice(at + IV) };
}

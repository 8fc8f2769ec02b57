/**
 * Tenant keys are born here and rest in the ledger, sealed. Everything that matters about a key (public half, end, zone, tenant)
 * is inside the sealed blob or in its AAD, so a row changed in the database does not open, or shows. Only `state` is the
 * ledger's word: it can keep a key from being used, and bring back one that was not erased yet.
 */
import { decode, encode } from 'cborg';
import { type Bytes, b64u, bytes, equal, fromB64u, hex, sha256, utf8 } from '../../../attestation/bytes.ts';
import { canonicalJson } from '../../../attestation/canonical.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { type Clock, seconds } from '../../protocol/clock.ts';
import { generateReceivingKey, type PreparedKey, prepareKey } from '../../protocol/hpke.ts';
import type { StoredKey, TenantKey } from '../../protocol/messages.ts';
import { CccError } from '../../protocol/problem.ts';
import type { KeySealer } from '../sealer.ts';

const LIFE_SECONDS = 365 * 86_400;
const CACHE_MS = 60_000;
const CACHE_SIZE = 256;
const RSA_BITS = 3072;

export interface KeyStore {
  /** Rows of the tenant, whatever their cell. */
  list(tenantId: string): Promise<readonly StoredKey[]>;
  /** All or none; never over an existing id. */
  put(keys: readonly StoredKey[]): Promise<void>;
}

export interface OpenKey {
  readonly id: string;
  readonly alg: TenantKey['alg'];
  readonly state: TenantKey['state'];
  readonly zone: string;
  readonly notAfter: number;
  readonly publicKey: Bytes;
  /** A copy, to be filled with zeros by whoever asked for it. Empty for a retired key, which is never opened. */
  readonly privateKey: Bytes;
  /** Of an X-Wing key: ready to open. It goes with the cached secret, and is nobody's to wipe. */
  readonly prepared?: PreparedKey | undefined;
}

interface Secret { readonly publicKey: Bytes; readonly privateKey: Bytes; readonly notAfter: number; readonly prepared?: PreparedKey | undefined }

export interface TenantKeysOptions { readonly store: KeyStore; readonly sealer: KeySealer; readonly cell: string; readonly now: Clock }

export class TenantKeys {
  readonly #options: TenantKeysOptions;
  /** Opened secrets by the digest of AAD and blob, oldest first. */
  readonly #cache = new Map<string, { secret: Secret; until: number }>();

  constructor(options: TenantKeysOptions) {
    this.#options = options;
  }

  /** @throws Refusal KEY_SEALER_LOST when a row does not open. */
  async of(tenantId: string): Promise<OpenKey[]> {
    const rows = await this.#options.store.list(tenantId);
    const mine = rows.filter((row) => row.tenant_id === tenantId && row.cell === this.#options.cell);
    return Promise.all(mine.map((row) => this.#open(row)));
  }

  /**
   * The tenant's first keys; when it has some, those. `record` writes the receipts: before the keys are stored, so that no key
   * comes to be without one. @throws Refusal KEY_STATE when they are of another zone, KEY_SEALER_LOST
   */
  async create(tenantId: string, zone: string, record: (keyIds: readonly string[]) => Promise<void>): Promise<TenantKey[]> {
    const existing = await this.of(tenantId);
    if (existing.length > 0) return this.#existing(tenantId, zone, existing);
    const [wing, rsa] = await Promise.all([generateReceivingKey(), generateRsa()]);
    const rows = [
      await this.#seal({ tenant_id: tenantId, zone, id: `${tenantId}.x-wing.1`, alg: 'X-Wing' }, wing),
      await this.#seal({ tenant_id: tenantId, zone, id: `${tenantId}.rsa-oaep.1`, alg: 'RSA-OAEP-SHA256' }, rsa),
    ];
    await record(rows.map((row) => row.id));
    try {
      await this.#options.store.put(rows);
    } catch (error) {
      // Another broker was first: its keys are the tenant's, these were never anybody's.
      if (error instanceof CccError && error.code === 'KEY_CONFLICT') return this.#existing(tenantId, zone, await this.of(tenantId));
      throw error;
    }
    return rows.map(({ id, alg, state, public: publicKey, not_after }) => ({ id, alg, state, public: publicKey, not_after }));
  }

  /** Keys of another cell's broker, under this one's sealer. `record` writes the receipts, before the keys are stored. The private halves are wiped. */
  async adopt(tenantId: string, keys: readonly OpenKey[], record: (keys: readonly OpenKey[]) => Promise<void>): Promise<void> {
    try {
      const there = new Set((await this.#options.store.list(tenantId)).map((row) => row.id));
      const fresh = keys.filter((key) => !there.has(key.id));
      if (fresh.length === 0) return;
      const rows = await Promise.all(fresh.map((key) => this.#seal({ tenant_id: tenantId, zone: key.zone, id: key.id, alg: key.alg }, key, key)));
      await record(fresh);
      await this.#options.store.put(rows);
    } finally {
      wipe(keys);
    }
  }

  #existing(tenantId: string, zone: string, keys: readonly OpenKey[]): TenantKey[] {
    wipe(keys);
    const other = keys.find((key) => key.zone !== zone);
    if (other !== undefined) refuse('KEY_STATE', 'zone', 'A tenant keeps its zone; make another tenant for another zone.', { have: zone, need: other.zone });
    if (keys.length === 0) refuse('KEY_UNKNOWN', 'tenant_id', 'The ledger has keys of this tenant, but none of this cell.', { have: tenantId });
    return keys.map(toWire);
  }

  /** Forgets what was opened. */
  clear(): void {
    for (const { secret } of this.#cache.values()) secret.privateKey.fill(0);
    this.#cache.clear();
  }

  async #seal(key: { tenant_id: string; zone: string; id: string; alg: TenantKey['alg'] }, pair: { publicKey: Bytes; privateKey: Bytes }, as?: Pick<OpenKey, 'state' | 'notAfter'>): Promise<StoredKey> {
    const now = seconds(this.#options.now);
    const not_after = as?.notAfter ?? now + LIFE_SECONDS;
    const plaintext = encodeSecret({ alg: key.alg, notAfter: not_after, ...pair });
    try {
      const sealed = await this.#options.sealer.seal(aadOf({ ...key, cell: this.#options.cell }), plaintext);
      return { ...key, cell: this.#options.cell, state: as?.state ?? 'active', public: b64u(pair.publicKey), not_after, sealed: b64u(sealed), created_at: now };
    } finally {
      plaintext.fill(0);
      pair.privateKey.fill(0);
    }
  }

  async #open(row: StoredKey): Promise<OpenKey> {
    const { id, alg, state, zone } = row;
    if (state === 'retired') return { id, alg, state, zone, notAfter: row.not_after, publicKey: fromB64u(row.public), privateKey: new Uint8Array(0) };
    return { id, alg, state, zone, ...await this.#secret(row) };
  }

  /** With a private half of the caller's own: the cached one may be wiped at any time. */
  async #secret(row: StoredKey): Promise<Secret> {
    const { now, sealer } = this.#options;
    const aad = aadOf(row);
    const sealed = fromB64u(row.sealed);
    const name = hex(await sha256(utf8(`${hex(aad)}.${row.alg}.${row.sealed}`)));
    for (const [key, entry] of this.#cache) {
      if (entry.until > now() && this.#cache.size <= CACHE_SIZE) break;
      entry.secret.privateKey.fill(0);
      this.#cache.delete(key);
    }
    const held = this.#cache.get(name)?.secret;
    const secret = held ?? await prepared(readSecret(await sealer.open(aad, sealed), row), row.alg);
    if (held === undefined && !this.#cache.has(name)) this.#cache.set(name, { secret, until: now() + CACHE_MS });
    return { ...secret, privateKey: secret.privateKey.slice() };
  }
}

const prepared = async (secret: Secret, alg: TenantKey['alg']): Promise<Secret> => (alg === 'X-Wing' ? { ...secret, prepared: await prepareKey(secret.privateKey) } : secret);

/** canonical JSON {cell, key_id, purpose, tenant_id, zone} */
const aadOf = (key: { cell: string; id: string; tenant_id: string; zone: string }): Bytes =>
  utf8(canonicalJson({ cell: key.cell, key_id: key.id, purpose: 'tenant-key', tenant_id: key.tenant_id, zone: key.zone }));

/** CBOR, for a sealer or for another cell's broker. */
export const encodeSecret = ({ alg, notAfter, privateKey, publicKey }: Pick<OpenKey, 'alg' | 'notAfter' | 'privateKey' | 'publicKey'>): Bytes =>
  bytes(encode({ alg, not_after: notAfter, private: privateKey, public: publicKey }));

/** What the row says beside it must be true. Fills `plaintext` with zeros. @throws Refusal KEY_SEALER_LOST */
export function readSecret(plaintext: Bytes, row: Pick<StoredKey, 'id' | 'alg' | 'not_after' | 'public'>): Secret {
  try {
    const value = decode(plaintext) as { alg: string; not_after: number; private: Uint8Array; public: Uint8Array };
    const secret = { publicKey: bytes(value.public), privateKey: bytes(value.private), notAfter: value.not_after };
    value.private.fill(0);
    // What the row says beside the blob is for the database's own use; it must still be true.
    if (value.alg !== row.alg || value.not_after !== row.not_after || !equal(secret.publicKey, fromB64u(row.public))) {
      secret.privateKey.fill(0);
      refuse('KEY_SEALER_LOST', 'tenant-key', 'The row was changed beside its sealed part; restore it from a backup of the ledger.', { have: row.id });
    }
    return secret;
  } finally {
    plaintext.fill(0);
  }
}

async function generateRsa(): Promise<{ publicKey: Bytes; privateKey: Bytes }> {
  const pair = await crypto.subtle.generateKey(
    { name: 'RSA-OAEP', modulusLength: RSA_BITS, publicExponent: bytes([1, 0, 1]), hash: 'SHA-256' }, true, ['encrypt', 'decrypt'],
  ) as CryptoKeyPair;
  const [publicKey, privateKey] = await Promise.all([crypto.subtle.exportKey('spki', pair.publicKey), crypto.subtle.exportKey('pkcs8', pair.privateKey)]);
  return { publicKey: bytes(publicKey), privateKey: new Uint8Array(privateKey) };
}

export const toWire = (key: OpenKey): TenantKey => ({ id: key.id, alg: key.alg, state: key.state, public: b64u(key.publicKey), not_after: key.notAfter });

export function wipe(keys: readonly OpenKey[]): void {
  for (const key of keys) key.privateKey.fill(0);
}

/**
 * Collateral to carry to where there is no network: one file, a JWS (RFC 7515, EdDSA with Ed25519, typ `ccc-collateral+jws`) by the deployment's owner or by
 * whoever is trusted to collect it. Items are bytes as the vendors sent them and are verified like any others; the signature is about what has no signature of
 * its own (key sets, entries of a registry), and about none having been left out.
 *
 *   {"v": "ccc-collateral/v1", "iat", "exp", "items": [{"kind", "key", "fetchedAt", "sha256", "bytes"}, ...]}     times in epoch seconds
 */
import { CompactSign, compactVerify, decodeProtectedHeader } from 'jose';
import { z } from 'zod';
import { b64u, type Bytes, fromB64u, hex, sha256, text, utf8 } from '../bytes.ts';
import { iso } from '../judge.ts';
import { Refusal, refuse } from '../refusal.ts';
import { type CacheRecord, held } from './cache.ts';
import { COLLATERAL_KINDS, type CollateralItem, type CollateralSupply } from './collateral.ts';

export const BUNDLE_TYPE = 'ccc-collateral+jws';
const VERSION = 'ccc-collateral/v1';
const MAX_BUNDLE = 64 * 1024 * 1024;
const SKEW = 60;
const NEXT = 'Get the bundle again from whoever made it, and compare the public key that it is pinned to.';

const seconds = z.number().int().min(0).max(8_640_000_000);
const bundleSchema = z.strictObject({
  v: z.literal(VERSION), iat: seconds, exp: seconds,
  items: z.array(z.strictObject({ kind: z.enum(COLLATERAL_KINDS), key: z.string().min(1).max(512), fetchedAt: seconds, sha256: z.string().regex(/^[0-9a-f]{64}$/), bytes: z.string().min(1) })).max(10_000),
});

export interface Bundle {
  /** Of the file: what claims name it by. */
  readonly sha256: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly records: readonly CacheRecord[];
}

export interface BundleInput { readonly items: readonly Pick<CollateralItem, 'kind' | 'key' | 'bytes' | 'fetchedAt'>[]; readonly key: CryptoKey; /** Epoch seconds. */ readonly now: number; readonly ttlSeconds: number }

/** Compact JWS. */
export async function signBundle({ items, key, now, ttlSeconds }: BundleInput): Promise<string> {
  const listed = await Promise.all(items.map(async ({ kind, key: name, bytes, fetchedAt }) => ({ kind, key: name, fetchedAt, sha256: hex(await sha256(bytes)), bytes: b64u(bytes) })));
  listed.sort((a, b) => (`${a.kind} ${a.key}` < `${b.kind} ${b.key}` ? -1 : 1));
  return new CompactSign(utf8(JSON.stringify({ v: VERSION, iat: now, exp: now + ttlSeconds, items: listed }))).setProtectedHeader({ alg: 'EdDSA', typ: BUNDLE_TYPE }).sign(key);
}

/**
 * @param signer raw Ed25519 public key, 32 bytes, that the reader pinned: the bundle names none
 * @throws Refusal COLLATERAL_SIGNATURE, COLLATERAL_FORMAT
 */
export async function openBundle(file: string, signer: Bytes): Promise<Bundle> {
  const jws = file.trim();
  const bad = (code: 'COLLATERAL_SIGNATURE' | 'COLLATERAL_FORMAT', path: string, have: string, need: string): never => refuse(code, path, NEXT, { have, need });
  if (jws.length > MAX_BUNDLE) return bad('COLLATERAL_FORMAT', 'bundle', `${jws.length} characters`, `at most ${MAX_BUNDLE}`);
  let payload: Uint8Array;
  try {
    const header = decodeProtectedHeader(jws);
    if (header.typ !== BUNDLE_TYPE || Object.keys(header).some((name) => name !== 'alg' && name !== 'typ')) throw new TypeError('header');
    const key = await crypto.subtle.importKey('raw', signer, 'Ed25519', false, ['verify']);
    ({ payload } = await compactVerify(jws, key, { algorithms: ['EdDSA'] }));
  } catch {
    return bad('COLLATERAL_SIGNATURE', 'bundle', 'another signer, another type, or altered bytes', `${BUNDLE_TYPE} by ${b64u(signer)}`);
  }
  const parsed = bundleSchema.safeParse(parseJson(payload));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return bad('COLLATERAL_FORMAT', ['bundle', ...(issue?.path ?? [])].join('.'), 'signed, but of another form', issue?.message ?? VERSION);
  }
  const { iat, exp, items } = parsed.data;
  const names = new Set(items.map((i) => `${i.kind} ${i.key}`));
  if (names.size !== items.length) return bad('COLLATERAL_FORMAT', 'bundle.items', 'an item twice', 'each once');
  const records: CacheRecord[] = [];
  for (const [i, { kind, key, fetchedAt, sha256: digest, bytes }] of items.entries()) {
    let data: Bytes;
    try {
      data = fromB64u(bytes);
    } catch {
      return bad('COLLATERAL_FORMAT', `bundle.items[${i}].bytes`, 'another spelling', 'base64url');
    }
    if (hex(await sha256(data)) !== digest) return bad('COLLATERAL_FORMAT', `bundle.items[${i}].sha256`, 'bytes of another digest', digest);
    records.push({ kind, key, fetchedAt, bytes: data, origin: 'bundle', vouchedUntil: exp });
  }
  return { sha256: hex(await sha256(utf8(jws))), createdAt: iat, expiresAt: exp, records };
}

/**
 * What can be used at `at`. What has dates that are signed is handed out whatever they are, so that the verifier says which one has ended; what has none of its own
 * only while it holds.
 * @param at epoch seconds. @throws Refusal COLLATERAL_EXPIRED for a bundle that has ended
 */
export function bundleItems(bundle: Bundle, at: number): CollateralItem[] {
  if (at > bundle.expiresAt) refuse('COLLATERAL_EXPIRED', 'bundle.exp', 'Make a new bundle where there is a network (ccc collateral export).', { have: iso(at), need: `until ${iso(bundle.expiresAt)}` });
  const undated = new Set<string>(['jwks', 'gce-host', 'gce-endorsement']);
  return bundle.records.flatMap((record): CollateralItem[] => {
    // Evidence may be older than the bundle: what is dated by its own signature decides for itself
    const { kind, key, bytes, fetchedAt } = record;
    if (undated.has(kind) && held(record, Math.max(at, fetchedAt)) === undefined) return [];
    return [{ kind, key, bytes, fetchedAt, source: 'offline' }];
  });
}

/** The same items whatever the evidence: a verifier takes what it needs, and nobody else is asked. @param now epoch seconds */
export function bundleSupply(bundle: Bundle, now: number): CollateralSupply {
  const items = bundleItems(bundle, now);
  return async () => ({ items, reasons: [] });
}

/** @param now epoch seconds. @throws Refusal COLLATERAL_NOT_YET_VALID: a clock is wrong */
export function checkBundleTime({ createdAt }: Bundle, now: number): void {
  if (createdAt > now + SKEW) refuse('COLLATERAL_NOT_YET_VALID', 'bundle.iat', 'Set the clock of this machine.', { have: iso(now), need: `from ${iso(createdAt)}` });
}

function parseJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(text(data));
  } catch (cause) {
    throw new Refusal({ code: 'COLLATERAL_FORMAT', path: 'bundle', next: NEXT }, { cause });
  }
}

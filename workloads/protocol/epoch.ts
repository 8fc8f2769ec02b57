/**
 * Which cell may work for a tenant now. An observer's promise and an owner's grant are compact JWS (EdDSA); times in seconds, up to three decimals:
 *
 *   ccc-epoch-promise+jws   {tenant, cell, epoch, instance, observer, iat, exp, heirs?}     signed by the observer's key of the cell directory, `kid` its cell
 *   ccc-epoch-grant+jws     {deployment, tenant, cell, epoch, iat, exp}             signed by the owner; stands in for one promise
 *
 * A lease is promises of a majority of the observers for one (tenant, cell, epoch). It ends with the shortest of the best majority, and whoever relies on
 * it stops one clock bound before that. An observer promises to another cell one clock bound after its last promise, so as long as no two
 * clocks differ by more than the bound, no two cells hold a lease for one tenant at one time.
 */
import { z } from 'zod';
import { fromB64u } from '../../attestation/bytes.ts';
import { type Reason, Refusal, type RefusalCode, refuse } from '../../attestation/refusal.ts';
import { decodeJwsUnverified, signJws, verifyJws } from './jws.ts';
import type { EpochProof } from './messages.ts';
import type { CellDirectory } from './owner.ts';
import { cellName, tenantId } from './wire.ts';

export const PROMISE_TYPE = 'ccc-epoch-promise+jws';
export const GRANT_TYPE = 'ccc-epoch-grant+jws';
/** Who takes over by an owner's grant starts so far above all epochs known: what cut-off observers promised meanwhile stays below. */
export const FORCED_STEP = 1_000;

const seconds = z.number().min(0).max(8_640_000_000);
export const epochNumber = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER);
/** A process of the holding cell; a restarted one is another. */
export const instanceName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);

/**
 * The cells that a holder leaves its tenant to, should it fail: each has every job that it acknowledged. A process numbers its namings, so that one that comes
 * late changes nothing.
 */
export const namingSchema = z.strictObject({ n: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER), cells: z.array(cellName).max(8).readonly() });
export interface Naming { readonly n: number; readonly cells: readonly string[] }

export const promiseSchema = z.strictObject({
  tenant: tenantId, cell: cellName, epoch: epochNumber, instance: instanceName, observer: cellName, iat: seconds, exp: seconds,
  /** What this observer has kept: the number of this process's last naming (0: none), and who may take over by all that were named. Absent: nobody ever named any, anybody of the order may. */
  heirs: namingSchema.optional(),
});
export type EpochPromise = z.infer<typeof promiseSchema>;
export const grantSchema = z.strictObject({ deployment: z.string().min(1).max(64), tenant: tenantId, cell: cellName, epoch: epochNumber, iat: seconds, exp: seconds });
export type EpochGrant = z.infer<typeof grantSchema>;

export interface EpochRules {
  readonly deployment: string;
  readonly observers: readonly { readonly cell: string; readonly url: string; /** Raw Ed25519, base64url. */ readonly key: string }[];
  /** A majority: any two share an observer. */
  readonly quorum: number;
  readonly leaseMs: number;
  readonly clockBoundMs: number;
  /** Cells that may hold the tenant's epoch, first choice first; empty: none may. */
  readonly order: (tenant: string) => readonly string[];
  readonly tier: (tenant: string) => 'sync' | 'async';
  /** The cell's raw Ed25519 key, base64url, for its requests to observers. */
  readonly cellKey: (cell: string) => string | undefined;
}

/** `undefined` where the owner lists no observers: then each cell's own `epoch` counts, and nothing is leased. */
export function epochRules(directory: CellDirectory): EpochRules | undefined {
  const observers = directory.cells.flatMap(({ name, observer }) => (observer === undefined ? [] : [{ cell: name, ...observer }]));
  if (observers.length === 0) return undefined;
  const tenants = new Map(directory.tenants?.map((entry) => [entry.tenant, entry]));
  const keys = new Map(directory.cells.map(({ name, key }) => [name, key]));
  return {
    deployment: directory.deployment, observers, quorum: Math.floor(observers.length / 2) + 1,
    leaseMs: Math.round((directory.leaseSeconds ?? 0) * 1000), clockBoundMs: Math.round((directory.clockBoundSeconds ?? 0) * 1000),
    order: (tenant) => (tenants.get(tenant) ?? tenants.get('*'))?.order ?? [],
    tier: (tenant) => (tenants.get(tenant) ?? tenants.get('*'))?.tier ?? 'async',
    cellKey: (cell) => keys.get(cell),
  };
}

/** Milliseconds of a signed time. */
export const ms = (signed: number): number => Math.round(signed * 1000);
/** A signed time, never later than the milliseconds given. */
export const signedTime = (at: number): number => Math.floor(at) / 1000;

export const signPromise = (promise: EpochPromise, key: CryptoKey): Promise<string> => signJws(PROMISE_TYPE, promise, key, { kid: promise.observer });
export const signGrant = (grant: EpochGrant, ownerKey: CryptoKey): Promise<string> => signJws(GRANT_TYPE, grant, ownerKey);

/** A promise is shown with each request while it lasts: checked once per key and exact text. */
const verified = new Map<string, EpochPromise>();
const MAX_VERIFIED = 8_192;

/** @throws Refusal EPOCH_OBSERVER, EPOCH_SIGNATURE, EPOCH_FORMAT */
export async function verifyPromise(jws: string, rules: EpochRules): Promise<EpochPromise> {
  let named: string | undefined;
  try {
    named = decodeJwsUnverified(jws).header.kid;
  } catch (cause) {
    throw new Refusal({ code: 'EPOCH_FORMAT', path: 'epoch.promise', next: 'Ask the observers for new promises: this is none.' }, { cause });
  }
  const observer = rules.observers.find(({ cell }) => cell === named)
    ?? refuse('EPOCH_OBSERVER', 'epoch.promise.kid', 'Only observers of the owner\'s cell directory count.', { have: (named ?? 'none').slice(0, 64), need: rules.observers.map(({ cell }) => cell).join(', ') });
  const name = `${observer.key} ${jws}`;
  const known = verified.get(name);
  if (known !== undefined) return known;
  const promise = await verifyJws(jws, PROMISE_TYPE, fromB64u(observer.key), promiseSchema, 'EPOCH_SIGNATURE', 'EPOCH_FORMAT');
  if (promise.observer !== observer.cell) refuse('EPOCH_OBSERVER', 'epoch.promise.observer', 'The promise names another observer than the one that signed it.', { have: promise.observer, need: observer.cell });
  verified.set(name, promise);
  if (verified.size > MAX_VERIFIED) verified.delete(verified.keys().next().value as string);
  return promise;
}

/** @throws Refusal EPOCH_SIGNATURE, EPOCH_FORMAT, EPOCH_DEPLOYMENT */
export async function verifyGrant(jws: string, ownerKey: Uint8Array, deployment: string): Promise<EpochGrant> {
  const grant = await verifyJws(jws, GRANT_TYPE, ownerKey, grantSchema, 'EPOCH_SIGNATURE', 'EPOCH_FORMAT');
  if (grant.deployment !== deployment) refuse('EPOCH_DEPLOYMENT', 'epoch.grant.deployment', 'The grant is for another deployment of this owner.', { have: grant.deployment, need: deployment });
  return grant;
}

export interface EpochLease {
  readonly tenant: string;
  readonly cell: string;
  readonly epoch: number;
  /** Epoch ms: not relied on from here on, by this machine's clock. The clock bound is taken off already. */
  readonly until: number;
}

export interface EpochQuestion { readonly tenant: string; readonly cell: string; /** Epoch ms. */ readonly now: number }

/**
 * The lease in promises whose signatures were checked, that of the highest epoch with a majority; or why there is none: EPOCH_ABSENT, EPOCH_TENANT, EPOCH_CELL,
 * EPOCH_LENGTH, EPOCH_CLOCK, EPOCH_QUORUM, EPOCH_EXPIRED. A cell asks this of each tenant many times a second, and holds few of them: nothing is thrown.
 */
export function findLease(promises: readonly EpochPromise[], grant: EpochGrant | undefined, rules: EpochRules, { tenant, cell, now }: EpochQuestion): EpochLease | Reason {
  const no = (code: RefusalCode, path: string, next: string, detail: Pick<Reason, 'have' | 'need'>): Reason => ({ code, path, next, ...detail });
  const { order, quorum, leaseMs, clockBoundMs } = rules;
  if (!order(tenant).includes(cell)) return no('EPOCH_CELL', 'epoch.cell', 'The owner lists the cells of a tenant in the directory.', { have: cell, need: order(tenant).join(', ') || 'an order for the tenant' });
  if (promises.length === 0) return no('EPOCH_ABSENT', 'epoch.promises', 'This cell has no epoch for the tenant; the one that has answers.', { have: 'no promise', need: `${quorum} promises` });
  for (const one of grant === undefined ? promises : [...promises, grant]) {
    if (one.tenant !== tenant) return no('EPOCH_TENANT', 'epoch.tenant', 'Show the promises of this tenant.', { have: one.tenant, need: tenant });
    if (one.cell !== cell) return no('EPOCH_CELL', 'epoch.cell', 'The promise was made to another cell.', { have: one.cell, need: cell });
    if (ms(one.iat) > now + clockBoundMs) return no('EPOCH_CLOCK', 'epoch.iat', 'Clocks differ by more than the owner\'s bound: set this machine\'s clock.', { have: String(one.iat), need: `at most ${(now + clockBoundMs) / 1000}` });
  }
  for (const { iat, exp } of promises) {
    if (ms(exp) - ms(iat) > leaseMs) return no('EPOCH_LENGTH', 'epoch.exp', 'An observer promises for no longer than the directory says.', { have: `${exp - iat} s`, need: `at most ${leaseMs / 1000} s` });
  }
  const best = majorityEnd(promises, grant, quorum);
  if (best === undefined) return no('EPOCH_QUORUM', 'epoch.promises', 'A majority of the observers must promise the same epoch.', { have: `${new Set(promises.map(({ observer }) => observer)).size} observers`, need: `${quorum} for one epoch` });
  const until = best.end - clockBoundMs;
  if (now >= until) return no('EPOCH_EXPIRED', 'epoch.exp', 'The cell\'s epoch has ended: it renews it, or another cell takes over.', { have: `until ${until / 1000}`, need: `after ${now / 1000}` });
  return { tenant, cell, epoch: best.epoch, until };
}

/** As {@link findLease}. @throws Refusal with what that answers */
export function leaseOf(...args: Parameters<typeof findLease>): EpochLease {
  const found = findLease(...args);
  if ('code' in found) throw new Refusal(found);
  return found;
}

/** The end of the shortest promise of the best majority, for the highest epoch that has one. A grant alone is none. */
function majorityEnd(promises: readonly EpochPromise[], grant: EpochGrant | undefined, quorum: number): { epoch: number; end: number } | undefined {
  const epochs = [...new Set(promises.map(({ epoch }) => epoch))].sort((a, b) => b - a);
  for (const epoch of epochs) {
    const ends = new Map<string, number>();
    for (const { observer, exp } of promises.filter((one) => one.epoch === epoch)) ends.set(observer, Math.max(ms(exp), ends.get(observer) ?? 0));
    const sorted = [...ends.values(), ...(grant?.epoch === epoch ? [ms(grant.exp)] : [])].sort((a, b) => b - a);
    const end = sorted[quorum - 1];
    if (end !== undefined) return { epoch, end };
  }
  return undefined;
}

/** Signatures and lease in one. @param ownerKey raw Ed25519 @throws Refusal, see verifyPromise, verifyGrant, leaseOf */
export async function verifyLease(proof: EpochProof, rules: EpochRules, ownerKey: Uint8Array, question: EpochQuestion): Promise<EpochLease> {
  const promises: EpochPromise[] = [];
  for (const jws of proof.promises) promises.push(await verifyPromise(jws, rules));
  const grant = proof.grant === undefined ? undefined : await verifyGrant(proof.grant, ownerKey, rules.deployment);
  return leaseOf(promises, grant, rules, question);
}

/**
 * The key manifest: what a client checks before it encrypts anything. Gateway and database are believed in nothing: policy and directory are
 * signed by the owner whose key was pinned, the broker's evidence answers this client's nonce and covers the manifest's exact bytes.
 */
import { type Bytes, b64u, equal, fromB64u, fromHex, hex, randomBytes, sha256, text } from '../../attestation/bytes.ts';
import type { Appraisal, NormalizedClaims } from '../../attestation/claims.ts';
import { isDated } from '../../attestation/evidence.ts';
import type { CollateralSupply } from '../../attestation/collateral/collateral.ts';
import { Refusal, refuse } from '../../attestation/refusal.ts';
import { verifyAttested } from '../protocol/appraised.ts';
import { type VerifiedDirectory, type VerifiedPolicy, verifyDirectory, verifyPolicy } from '../protocol/documents.ts';
import { thumbprint } from '../protocol/jws.ts';
import { type KeyManifest, type ManifestResponse, manifestSchema, type TenantKey } from '../protocol/messages.ts';
import type { CellDirectory } from '../protocol/owner.ts';
import type { Api } from './api.ts';
import { supplyFor } from './collateral.ts';
import { checkMark, keepMark, type Mark, type SeenStore } from './seen.ts';
import { type OnStep, step } from './steps.ts';

export interface ManifestRequest { readonly challenge_id: string; readonly nonce: string; readonly audience: string }

/** What the client knows without asking anybody. */
export interface Expected {
  /** The owner's raw Ed25519 public key, pinned out of band. */
  readonly ownerKey: Uint8Array;
  readonly tenant: string;
  readonly zone: string;
  /** The cell that must answer; any of the owner's directory otherwise. */
  readonly cell?: string | undefined;
  /** What this client gets from vendors or a bundle by itself, before what the gateway brings. */
  readonly collateral?: CollateralSupply | undefined;
}

export interface VerifiedManifest {
  readonly request: ManifestRequest;
  readonly response: ManifestResponse;
  readonly policy: VerifiedPolicy;
  readonly directory: VerifiedDirectory;
  /** The directory's entry of the cell that answered. */
  readonly cell: CellDirectory['cells'][number];
  readonly manifest: KeyManifest;
  readonly appraisal: Appraisal;
  /** A software TEE under a development root vouches for all of this: proves nothing about hardware. */
  readonly simulated: boolean;
}

/** Challenge and nonce are fresh for each request; the audience is this client's origin. */
export const newManifestRequest = (audience: string): ManifestRequest => ({ challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience });

export interface Verification extends Expected {
  readonly request: ManifestRequest;
  readonly response: ManifestResponse;
  /** Epoch seconds. */
  readonly now: number;
  /** `replay`: a stored response, judged at its own time (receipts). */
  readonly mode?: 'live' | 'replay';
  /** Required where it matters, that is live. */
  readonly seen?: SeenStore | undefined;
  readonly onStep?: OnStep | undefined;
}

export interface RequestOptions extends Expected {
  readonly api: Api;
  readonly audience: string;
  /** Epoch seconds. */
  readonly now: number;
  readonly seen: SeenStore;
  readonly onStep?: OnStep | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One at a time per memory: of two answers that cross, the older would look like a rollback. */
const turns = new WeakMap<SeenStore, Promise<unknown>>();

/** @throws Refusal, ApiError */
export function requestManifest(options: RequestOptions): Promise<VerifiedManifest> {
  const ask = async (): Promise<VerifiedManifest> => {
    const { api, audience, signal, ...rest } = options;
    const request = newManifestRequest(audience);
    return verifyManifest({ ...rest, request, response: await api.keyManifest(request, signal) });
  };
  const turn = (turns.get(options.seen) ?? Promise.resolve()).catch(() => undefined).then(ask).catch((error: unknown) => {
    // Another process may share the memory and have asked in between: a real rollback is one the second time, too.
    if (error instanceof Refusal && error.code === 'MANIFEST_ROLLBACK') return ask();
    throw error;
  });
  turns.set(options.seen, turn);
  return turn;
}

/** @throws Refusal with the code of the first check that fails; what was seen is raised only when all hold. */
export async function verifyManifest(input: Verification): Promise<VerifiedManifest> {
  const { response, request, ownerKey, now, onStep } = input;
  const mode = input.mode ?? 'live';
  const seen = input.seen;
  if (mode === 'live' && seen === undefined) throw new TypeError('a live manifest needs a memory of revisions');
  // A stored document was valid at its own time, which the evidence below proves.
  const at = mode === 'live' ? now : 0;
  const owner = await thumbprint(ownerKey);
  const marks: Mark[] = [];
  const mark = async (one: Mark) => {
    if (seen !== undefined) await checkMark(seen, one);
    marks.push(one);
  };

  const policy = await step(onStep, 'policy', 'the owner\'s signature on the policy', async () => {
    const verified = await verifyPolicy(response.policy, ownerKey, at);
    await mark({ key: `${owner}/policy`, number: verified.policy.revision, digest: b64u(verified.digest), code: 'POLICY_ROLLBACK' });
    return verified;
  }, ({ policy: p }) => ({ detail: `revision ${p.revision}, signed by the pinned owner key`, raw: p }));

  const directory = await step(onStep, 'directory', 'the owner\'s signature on the cell directory', async () => {
    const verified = await verifyDirectory(response.directory, ownerKey, at);
    await mark({ key: `${owner}/directory`, number: verified.directory.revision, digest: b64u(verified.digest), code: 'DIRECTORY_ROLLBACK' });
    return verified;
  }, ({ directory: d }) => ({ detail: `revision ${d.revision}, ${d.cells.length} cells`, raw: d }));
  if (policy.policy.deployment !== directory.directory.deployment) {
    refuse('POLICY_DEPLOYMENT', 'policy.deployment', 'Policy and directory are of two deployments of this owner: somebody mixes them.', { have: policy.policy.deployment, need: directory.directory.deployment });
  }
  const least = policy.policy.directoryRevision;
  if (directory.directory.revision < least) {
    refuse('DIRECTORY_ROLLBACK', 'directory.revision', 'The owner\'s policy goes with a newer cell directory: somebody withholds it.', { have: String(directory.directory.revision), need: `at least ${least}` });
  }
  const cell = listedCell(directory.directory, response.binding.cell, input.cell);

  const bytes = fromB64u(response.manifest);
  const appraisal = await step(onStep, 'evidence', 'the broker\'s evidence over this client\'s nonce', async () => verifyAttested({
    attested: { evidence: response.evidence, binding: response.binding }, policy: policy.policy, now, mode, collateral: supplyFor(input.collateral, response.collateral, now),
    expect: {
      role: 'broker', cell: cell.name, challengeId: fromB64u(request.challenge_id), nonce: fromB64u(request.nonce), audience: request.audience,
      policyDigest: policy.digest, payloadDigest: await sha256(bytes), configDigest: fromHex(cell.configDigest),
    },
  }), (a) => ({ detail: `${a.claims.platform}, ${a.status}${a.claims.anchor === 'development' ? ', simulated' : ''}: ${a.claims.checks.filter((c) => c.result === 'pass').length} checks`, raw: { appraisal: a, evidence: response.evidence, binding: response.binding } }));

  const manifest = await step(onStep, 'manifest', 'the tenant\'s keys, bound by that evidence', async () => {
    const parsed = parseManifest(bytes);
    const leased = hasObservers(directory.directory);
    checkManifest(parsed, { tenant: input.tenant, zone: input.zone, policy, cell, leased, signingKey: response.binding.signing_key, receivingKey: response.binding.receiving_key });
    if (leased) {
      requireLeased(parsed, directory.directory);
      // One epoch is one cell's: the same number from another one is as wrong as a lower one.
      await mark({ key: `${owner}/epoch/${parsed.tenant_id}`, number: parsed.epoch, digest: parsed.cell, code: 'EPOCH_ROLLBACK' });
    }
    const head = parsed.receipts_head;
    await mark({ key: `${owner}/${cell.name}/receipts/${parsed.broker.instance}`, number: head.seq, digest: head.digest, code: 'MANIFEST_ROLLBACK' });
    return parsed;
  }, (m) => ({ detail: `${m.keys.length} keys of ${m.tenant_id}, broker ${m.broker.instance}, receipt ${m.receipts_head.seq}`, raw: m }));

  if (mode === 'replay') requireValidAt(timeOf(appraisal.claims, manifest.issued_at), policy, directory);
  if (seen !== undefined) for (const one of marks) await keepMark(seen, one);
  return { request, response, policy, directory, cell, manifest, appraisal, simulated: appraisal.claims.anchor !== 'production' };
}

/** @throws Refusal DIRECTORY_CELL */
function listedCell(directory: CellDirectory, answered: string, wanted: string | undefined): CellDirectory['cells'][number] {
  const entry = directory.cells.find((c) => c.name === answered);
  if (entry === undefined || (wanted !== undefined && wanted !== answered)) {
    return refuse('DIRECTORY_CELL', 'binding.cell', 'Another cell than the one asked for, or one that the owner does not list, answered.', { have: answered, need: wanted ?? directory.cells.map((c) => c.name).join(', ') });
  }
  return entry;
}

/** Evidence of a vTPM or of a processor has no date: of such evidence it is what the key that it covers says of the time. @param said epoch seconds */
export const timeOf = ({ time, platform }: Pick<NormalizedClaims, 'time' | 'platform'>, said: number): number => (isDated(platform) ? time.evidenceAt : said);

/** Stored documents are judged at the time of the evidence. @throws Refusal POLICY_EXPIRED, DIRECTORY_EXPIRED */
function requireValidAt(time: number, { policy }: VerifiedPolicy, { directory }: VerifiedDirectory): void {
  if (time > policy.notAfter) refuse('POLICY_EXPIRED', 'policy.notAfter', 'The policy had ended when the evidence was made.', { have: String(policy.notAfter), need: `at least ${time}` });
  if (time > directory.notAfter) refuse('DIRECTORY_EXPIRED', 'directory.notAfter', 'The directory had ended when the evidence was made.', { have: String(directory.notAfter), need: `at least ${time}` });
}

/** The exact bytes that the evidence covers. @throws Refusal MANIFEST_FORMAT */
function parseManifest(bytes: Bytes): KeyManifest {
  try {
    return manifestSchema.parse(JSON.parse(text(bytes)));
  } catch (cause) {
    throw new Refusal({ code: 'MANIFEST_FORMAT', path: 'manifest', next: 'The broker vouches for bytes that are no key manifest of this version.' }, { cause });
  }
}

interface ManifestContext extends Pick<Expected, 'tenant' | 'zone'> {
  readonly policy: VerifiedPolicy;
  readonly cell: CellDirectory['cells'][number];
  /** Its epoch is leased per tenant: the one in the directory does not count. */
  readonly leased: boolean;
  /** base64url, of the binding that the evidence proves. */
  readonly signingKey: string;
  readonly receivingKey: string;
}

/** With observers, a tenant's epoch is a lease of theirs, and the broker says what it saw of it. */
export const hasObservers = (directory: CellDirectory): boolean => directory.cells.some(({ observer }) => observer !== undefined);

/** @throws Refusal EPOCH_ABSENT, DIRECTORY_ROLLBACK */
function requireLeased(m: KeyManifest, directory: CellDirectory): void {
  if (m.epoch_until === undefined) refuse('EPOCH_ABSENT', 'manifest.epoch_until', 'The broker did not see that its cell holds the tenant\'s epoch; try the next cell of the directory.', { have: `epoch ${m.epoch}` });
  if (m.directory_revision !== directory.revision) {
    refuse('DIRECTORY_ROLLBACK', 'manifest.directory_revision', 'The broker judges epochs by another cell directory than the one shown; try again shortly.', { have: String(m.directory_revision), need: String(directory.revision) });
  }
}

/** @throws Refusal MANIFEST_TENANT, ZONE_DENIED, DIRECTORY_CELL, BINDING_POLICY, MANIFEST_BROKER */
function checkManifest(m: KeyManifest, { tenant, zone, policy, cell, leased, signingKey, receivingKey }: ManifestContext): void {
  const check = (holds: boolean, code: Parameters<typeof refuse>[0], path: string, next: string, have: unknown, need: unknown): void => {
    if (!holds) refuse(code, `manifest.${path}`, next, { have: String(have), need: String(need) });
  };
  check(m.tenant_id === tenant, 'MANIFEST_TENANT', 'tenant_id', 'These are the keys of another tenant; check the API key.', m.tenant_id, tenant);
  check(m.zone === zone, 'ZONE_DENIED', 'zone', 'The keys are bound to another zone than the one chosen.', m.zone, zone);
  check(m.cell === cell.name && (leased || m.epoch === cell.epoch), 'DIRECTORY_CELL', 'cell', 'The cell is not in the epoch that the owner lists.', `${m.cell}, epoch ${m.epoch}`, `${cell.name}, epoch ${cell.epoch}`);
  check(equal(fromB64u(m.policy_digest), policy.digest) && m.policy_revision === policy.policy.revision, 'BINDING_POLICY', 'policy_digest', 'The broker obeys another policy than the one shown.', `${m.policy_digest}, revision ${m.policy_revision}`, `${b64u(policy.digest)}, revision ${policy.policy.revision}`);
  check(m.broker.signing_key === signingKey && m.broker.receiving_key === receivingKey, 'MANIFEST_BROKER', 'broker', 'The manifest names keys that its evidence does not prove.', m.broker.signing_key, signingKey);
}

/** The key to encrypt to: active, X-Wing, not ended; of several the one that lasts longest. @throws Refusal KEY_STATE */
export function encryptionKey({ manifest }: Pick<VerifiedManifest, 'manifest'>, now: number): TenantKey {
  const usable = manifest.keys.filter((k) => k.alg === 'X-Wing' && k.state === 'active' && k.not_after > now).sort((a, b) => b.not_after - a.not_after);
  return usable[0] ?? refuse('KEY_STATE', 'manifest.keys', 'The tenant has no active key now; ask its operator to rotate.', {
    have: manifest.keys.map((k) => `${k.id} ${k.state} until ${k.not_after}`).join(', '), need: `an active X-Wing key after ${now}`,
  });
}

/** What policy and client agree on for a message. @throws Refusal ZONE_DENIED, CLASSIFICATION_DENIED */
export function requireAllowed({ policy: { policy } }: Pick<VerifiedManifest, 'policy'>, tenant: string, zone: string, classification: string): void {
  const rule = policy.tenants.find((t) => t.tenant === tenant) ?? policy.tenants.find((t) => t.tenant === '*');
  if (!rule?.zones.includes(zone) || !policy.zones.some((z) => z.name === zone)) {
    refuse('ZONE_DENIED', 'policy.tenants', 'The owner\'s policy does not let this tenant use this zone.', { have: zone, need: rule?.zones.join(', ') ?? 'a rule for the tenant' });
  }
  if (!(rule.classifications as readonly string[]).includes(classification)) {
    refuse('CLASSIFICATION_DENIED', 'policy.tenants', 'The owner\'s policy does not let this tenant send this class of data.', { have: classification, need: rule.classifications.join(', ') });
  }
}

export const digestHex = async (data: Uint8Array): Promise<string> => hex(await sha256(data));

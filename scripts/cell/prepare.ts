/**
 * Makes the folder of a development cell: owner key, development root, cell.json, measurements, signed policy and
 * directory. What exists is kept; policy and directory are signed anew, with a higher revision, only when their content changed.
 */

import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { readFile } from 'node:fs/promises';
import { b64u, type Bytes, fromB64u, hex } from '../../attestation/bytes.ts';
import { canonicalJson } from '../../attestation/canonical.ts';
import type { Role } from '../../attestation/evidence.ts';
import { KeyRing } from '../../attestation/platforms/simulated/keys.ts';
import type { MachineState } from '../../attestation/platforms/simulated/machine.ts';
import { DEFAULT_MODEL } from '../../workloads/detectors/model.ts';
import { cellSchema, type CellConfig, origin, parseCell, platformOf } from '../../workloads/protocol/cell.ts';
import { CLASSIFICATIONS } from '../../workloads/protocol/context.ts';
import { verifyDirectory, verifyPolicy } from '../../workloads/protocol/documents.ts';
import { generateSigningKey, importSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { measureRole, type Registers } from '../../workloads/protocol/measure.ts';
import { type CellDirectory, DIRECTORY_TYPE, type OwnerPolicy, POLICY_TYPE } from '../../workloads/protocol/owner.ts';
import { at, makeFolders, readOptional, writeWhole } from './folder.ts';
import { brokerPlatformOf, type CellPlatform, cloudOf, developmentRoots, machinesOf, referenceFor, registersOf, scopeOf, vendorEndpoints } from './machines.ts';
import { vendorsAt } from './vendors.ts';

const DAY = 86_400;
const LIFETIME = 30 * DAY;
/** Signed anew when less than this is left. */
const RENEW_BEFORE = 7 * DAY;
const PORTS_WITHIN_MS = 5_000;

export interface PrepareOptions {
  readonly name?: string;
  readonly region?: string;
  /** What the simulated machines are; an existing cell's stay what they are unless told. Default: Nitro Enclaves. */
  readonly platform?: CellPlatform;
  /** Keys of simulated vendors, which take seconds to make. */
  readonly keys?: KeyRing;
  /** Vendors that somebody else plays. */
  readonly collateral?: CellConfig['collateral'];
  /** Public port; a free one unless told. */
  readonly port?: number;
  /** Epoch milliseconds. */
  readonly now?: () => number;
  /** Measurements of code other than this tree's (tests show that they are refused). */
  readonly measure?: (role: Role) => Promise<Registers>;
}

export interface PreparedCell {
  readonly folder: string;
  readonly cell: CellConfig;
  readonly ownerKey: Bytes;
  readonly policyRevision: number;
  /** True when this call made the owner key. */
  readonly created: boolean;
  /** Simulated ones with vendors of their own. */
  readonly machines: readonly MachineState[];
}

export async function ownerKeys(folder: string): Promise<{ publicKey: Bytes; privateKey: CryptoKey; created: boolean }> {
  const path = at(folder).ownerKey;
  const existing = await readOptional(path);
  if (existing !== undefined) {
    const jwk = JSON.parse(existing) as JsonWebKey;
    return { publicKey: fromB64u(jwk.x ?? ''), privateKey: await importSigningKey(jwk), created: false };
  }
  const { publicKey, privateKey } = await generateSigningKey({ extractable: true });
  await writeWhole(path, JSON.stringify(await crypto.subtle.exportKey('jwk', privateKey)));
  await writeWhole(at(folder).ownerPublic, `${b64u(publicKey)}\n`, 0o644);
  return { publicKey, privateKey, created: true };
}

async function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer().once('error', () => done(false));
    server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
  });
}

/** Processes of a cell whose supervisor was killed need a moment to notice; other ports would be another configuration, unknown to clients. */
async function allFree(ports: readonly number[]): Promise<boolean> {
  for (const until = Date.now() + PORTS_WITHIN_MS; ; await new Promise((done) => setTimeout(done, 100))) {
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return true;
    if (Date.now() > until) return false;
  }
}

/** Below those that systems give to connections and to listeners without a wish (RFC 6335 6, Linux 32768): none of these is taken by chance before its process listens. */
const PORTS = { from: 20_000, below: 32_768 } as const;
const given = new Set<number>();

/** No two calls of one process get the same: there is a while between this and listening. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    if (given.size > (PORTS.below - PORTS.from) / 2) given.clear();
    const port = randomInt(PORTS.from, PORTS.below);
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

interface Configured { readonly cell: CellConfig; readonly configDigest: Bytes; readonly machines: readonly MachineState[] }

export async function cellConfig(folder: string, ownerKey: Bytes, options: PrepareOptions, now: number): Promise<Configured> {
  const path = at(folder).cell;
  const text = await readOptional(path);
  const existing = text === undefined ? undefined : await parseCell(new TextEncoder().encode(text) as Bytes);
  const platform = options.platform ?? existing?.cell.platform ?? 'aws-nitro';
  if (platform === 'confidential-space') throw new TypeError('a cell\'s counters run on machines of their own');
  const brokerPlatform = brokerPlatformOf(platform);
  const machines = await machinesOf(at(folder).simulated, [platform, brokerPlatform ?? platform], now, options.keys ?? new KeyRing());
  if (existing !== undefined) {
    const { cell } = existing;
    const vendors = vendorsAt(cell);
    const ports = [cell.gateway.public.port, cell.gateway.internal.port, cell.broker.port, ...(vendors === undefined || options.collateral !== undefined ? [] : [vendors.port])];
    const keep = (options.port === undefined || options.port === cell.gateway.public.port) && cell.ownerKey === b64u(ownerKey) && cell.platform === platform && (options.collateral === undefined || canonicalJson(options.collateral) === canonicalJson(cell.collateral ?? {}));
    if (keep && await allFree(ports)) return { ...existing, machines };
  }
  const [publicPort = 0, internal = 0, broker = 0, vendors = 0] = await freePorts(4);
  const here = (port: number) => ({ host: '127.0.0.1', port });
  const cell = cellSchema.parse({
    cell: options.name ?? existing?.cell.cell ?? 'local', cloud: options.platform === undefined ? existing?.cell.cloud ?? 'local' : cloudOf(platform), region: options.region ?? existing?.cell.region ?? 'local-1', epoch: existing?.cell.epoch ?? 1,
    platform, ...(brokerPlatform === undefined ? {} : { brokerPlatform }), simulated: true,
    ...(options.collateral !== undefined ? { collateral: options.collateral } : machines.length === 0 ? {} : { collateral: { ...await vendorEndpoints(origin(here(vendors)), machines, now) } as NonNullable<CellConfig['collateral']> }),
    ownerKey: b64u(ownerKey), gateway: { public: here(options.port ?? publicPort), internal: here(internal) }, broker: here(broker),
  } satisfies CellConfig);
  await writeWhole(path, `${JSON.stringify(cell, null, 2)}\n`, 0o644);
  return { ...await parseCell(new Uint8Array(await readFile(path))), machines };
}

/** Measurements have one source: the lock file. For a development cell it is written from the tree at start. */
export async function measurements(folder: string, cell: CellConfig, measure: (role: Role) => Promise<Registers>): Promise<Record<Role, Registers>> {
  const [broker, counter] = await Promise.all([measure('broker'), measure('counter')]);
  const [shownBroker, shownCounter] = await Promise.all([registersOf(platformOf(cell, 'broker'), broker), registersOf(platformOf(cell, 'counter'), counter)]);
  const lock = { v: 1, platform: cell.platform, ...(cell.brokerPlatform === undefined ? {} : { brokerPlatform: cell.brokerPlatform }), source: 'development', roles: { broker: shownBroker, counter: shownCounter } };
  await writeWhole(at(folder).lock, `${JSON.stringify(lock, null, 2)}\n`, 0o644);
  return { broker, counter };
}

type Dated = { revision: number; notAfter: number };

/** Keeps the signed document while its content is the same and it lasts; signs the next revision otherwise. */
export async function signed<T extends Dated>(path: string, type: string, content: Omit<T, keyof Dated>, key: CryptoKey, now: number, read: (jws: string) => Promise<T>): Promise<T> {
  const existing = await readOptional(path);
  const last = existing === undefined ? undefined : await read(existing.trim()).catch(() => undefined);
  if (last !== undefined) {
    const { revision: _, notAfter, ...rest } = last;
    if (canonicalJson(rest) === canonicalJson(content) && notAfter - now > RENEW_BEFORE) return last;
  }
  const next = { ...content, revision: (last?.revision ?? 0) + 1, notAfter: now + LIFETIME } as unknown as T;
  await writeWhole(path, await signJws(type, next, key), 0o644);
  return next;
}

export async function prepareCell(folder: string, options: PrepareOptions = {}): Promise<PreparedCell> {
  const now = Math.floor((options.now ?? Date.now)() / 1000);
  await makeFolders(folder);
  const owner = await ownerKeys(folder);
  const { cell, configDigest, machines } = await cellConfig(folder, owner.publicKey, options, now);
  const [roots, measured] = await Promise.all([developmentRoots(at(folder).simulated, cell, machines, now), measurements(folder, cell, options.measure ?? measureRole)]);

  const deployment = 'development';
  const appraisal = async (role: Role) => ({
    id: `${deployment}/${role}`, role, maxAgeSeconds: 300, allowDevelopment: true, scopes: [scopeOf(platformOf(cell, role))], references: [await referenceFor(cell, role, measured[role])],
  });
  const directory = await signed<CellDirectory>(at(folder).directory, DIRECTORY_TYPE, {
    deployment,
    cells: [{ name: cell.cell, cloud: cell.cloud, region: cell.region, url: origin(cell.gateway.public), configDigest: hex(configDigest), epoch: cell.epoch }],
  }, owner.privateKey, now, async (jws) => (await verifyDirectory(jws, owner.publicKey, now)).directory);
  const policy = await signed<OwnerPolicy>(at(folder).policy, POLICY_TYPE, {
    deployment,
    roles: { broker: await appraisal('broker'), counter: await appraisal('counter') },
    developmentRoots: roots,
    revoked: [],
    // A development root proves no region: the zone says that the cell's word is taken for it.
    zones: [{ name: 'local', regions: [cell.region], origin: 'asserted' }],
    tenants: [{ tenant: '*', zones: ['local'], classifications: [...CLASSIFICATIONS], scopes: [scopeOf(cell.platform)], egress: ['count', 'boxes', 'scores', 'image'] }],
    detectors: [{ name: DEFAULT_MODEL.name, digest: DEFAULT_MODEL.digest, threshold: DEFAULT_MODEL.threshold }],
    directoryRevision: directory.revision,
  }, owner.privateKey, now, async (jws) => (await verifyPolicy(jws, owner.publicKey, now)).policy);
  return { folder, cell, ownerKey: owner.publicKey, policyRevision: policy.revision, created: owner.created, machines };
}

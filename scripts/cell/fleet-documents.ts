/** The files of several cells under one owner: cell.json of each, then one directory of all, then the policy that goes with it, copied to each folder. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { b64u, type Bytes, hex } from '../../attestation/bytes.ts';
import { ROLES, type Role } from '../../attestation/evidence.ts';
import type { KeyRing } from '../../attestation/platforms/simulated/keys.ts';
import { encodeMachine, type MachineState } from '../../attestation/platforms/simulated/machine.ts';
import { DEFAULT_MODEL } from '../../workloads/detectors/model.ts';
import { openStore } from '../../workloads/observer/store.ts';
import { type CellConfig, origin, platformOf } from '../../workloads/protocol/cell.ts';
import { CLASSIFICATIONS } from '../../workloads/protocol/context.ts';
import { verifyDirectory, verifyPolicy } from '../../workloads/protocol/documents.ts';
import type { SigningKey } from '../../workloads/protocol/jws.ts';
import { makeKeyFile, readKeyFile } from '../../workloads/protocol/key-file.ts';
import { measureRole, type Registers } from '../../workloads/protocol/measure.ts';
import { type CellDirectory, DIRECTORY_TYPE, type OwnerPolicy, POLICY_TYPE } from '../../workloads/protocol/owner.ts';
import type { FleetCellSpec, FleetOptions, Link, OwnerPolicyContent } from './fleet-types.ts';
import { at, makeFolders, readOptional, writeWhole } from './folder.ts';
import { brokerPlatformOf, developmentRoots, machinesOf, referenceFor, scopeOf, vendorEndpoints } from './machines.ts';
import { cellConfig, freePorts, measurements, ownerKeys, signed } from './prepare.ts';

const DEPLOYMENT = 'development';
export const here = '127.0.0.1';
export type Via = NonNullable<FleetOptions['via']>;

export interface Owner { readonly folder: string; readonly publicKey: Bytes; readonly privateKey: CryptoKey }

export async function fleetOwner(folder: string): Promise<Owner> {
  await makeFolders(folder);
  return { folder, ...await ownerKeys(folder) };
}

/** Of all cells: machines of one platform are under the same vendors, whose lists are found at one address. */
export interface PlayedVendors { readonly machines: readonly MachineState[]; readonly collateral: CellConfig['collateral'] }

export async function planVendors(owner: Owner, specs: readonly FleetCellSpec[], keys: KeyRing, now: number): Promise<PlayedVendors> {
  const folder = at(owner.folder).simulated;
  const platforms = [...new Set(specs.flatMap(({ platform }) => [platform, brokerPlatformOf(platform) ?? platform]))];
  let machines = await machinesOf(folder, platforms, now, keys);
  if (machines.length === 0) return { machines, collateral: undefined };
  // There is one AMD: two roots of it would publish their lists under one name.
  const azure = machines.find((one) => one.platform === 'azure-cvm');
  if (azure?.platform === 'azure-cvm') machines = machines.map((one) => (one.platform === 'gke' ? { ...one, chip: azure.chip } : one));
  await Promise.all(machines.map((one) => writeWhole(join(folder, `${one.platform}.json`), encodeMachine(one))));
  const portFile = join(owner.folder, 'vendors-port');
  const port = Number(await readOptional(portFile)) || (await freePorts(1))[0] as number;
  await writeWhole(portFile, `${port}\n`);
  return { machines, collateral: await vendorEndpoints(origin({ host: here, port }), machines, now) as NonNullable<CellConfig['collateral']> };
}

/** What a cell has before anybody else is known. */
export interface PlannedCell {
  readonly spec: FleetCellSpec;
  readonly folder: string;
  readonly cell: CellConfig;
  readonly configDigest: Bytes;
  readonly machines: readonly MachineState[];
  readonly key: SigningKey;
  readonly observerPort: number;
}

export async function planCell(owner: Owner, spec: FleetCellSpec, vendors: PlayedVendors, keys: KeyRing, now: number): Promise<PlannedCell> {
  const folder = join(owner.folder, spec.name);
  await makeFolders(folder);
  await writeWhole(at(folder).ownerPublic, `${b64u(owner.publicKey)}\n`, 0o644);
  const own = [spec.platform, brokerPlatformOf(spec.platform)];
  await Promise.all(vendors.machines.filter(({ platform }) => own.includes(platform)).map((one) => writeWhole(join(at(folder).simulated, `${one.platform}.json`), encodeMachine(one))));
  const configured = await cellConfig(folder, owner.publicKey, { name: spec.name, region: spec.region, platform: spec.platform, keys, ...(vendors.collateral === undefined ? {} : { collateral: vendors.collateral }) }, now);
  const keyFile = join(folder, 'cell-key.jwk');
  const key = await readKeyFile(keyFile) ?? await makeKeyFile(keyFile);
  const portFile = join(folder, 'observer-port');
  const observerPort = Number(await readOptional(portFile)) || (await freePorts(1))[0] as number;
  await writeWhole(portFile, `${observerPort}\n`);
  return { spec, folder, ...configured, key, observerPort };
}

/** The observer's key, with its state in the cell's database: made together, once. */
export async function observerKey(folder: string, databaseUrl: string): Promise<SigningKey> {
  const file = join(folder, 'observer', 'key.jwk');
  const known = await readKeyFile(file);
  if (known !== undefined) return known;
  await mkdir(join(folder, 'observer'), { recursive: true, mode: 0o700 });
  const key = await makeKeyFile(file);
  try {
    await (await openStore({ url: databaseUrl, key: b64u(key.publicKey), fresh: true })).close();
  } catch (error) {
    await rm(file);
    throw error;
  }
  return key;
}

const LEASE_SECONDS = 4;
const CLOCK_BOUND_SECONDS = 0.25;

export async function signDirectory(owner: Owner, cells: readonly (PlannedCell & { readonly observer: SigningKey })[], options: FleetOptions, via: Via, now: number): Promise<CellDirectory> {
  const address = async (link: Omit<Link, 'from'>): Promise<string> => origin(await via({ from: link.what === 'public' ? 'client' : '*', ...link }));
  const entries = await Promise.all(cells.map(async ({ cell, configDigest, key, observer, observerPort }) => ({
    name: cell.cell, cloud: cell.cloud, region: cell.region, url: await address({ to: cell.cell, what: 'public', ...cell.gateway.public }), configDigest: hex(configDigest), epoch: cell.epoch,
    key: b64u(key.publicKey), observer: { url: await address({ to: cell.cell, what: 'observer', host: here, port: observerPort }), key: b64u(observer.publicKey) },
  })));
  const named = options.tenants.map(({ id, order, tier }) => ({ tenant: id, order: [...order], tier }));
  return signed<CellDirectory>(at(owner.folder).directory, DIRECTORY_TYPE, {
    deployment: DEPLOYMENT, cells: entries,
    tenants: [...named, { tenant: '*', order: cells.map(({ cell }) => cell.cell), tier: 'async' }],
    leaseSeconds: options.leaseSeconds ?? LEASE_SECONDS, clockBoundSeconds: options.clockBoundSeconds ?? CLOCK_BOUND_SECONDS,
  }, owner.privateKey, now, async (jws) => (await verifyDirectory(jws, owner.publicKey, now)).directory);
}

const unique = <T>(all: readonly T[], name: (one: T) => string): T[] => [...new Map(all.map((one) => [name(one), one])).values()];

/** The policy of a deployment of all these cells, as `ccc up` makes it for one. */
export async function policyContent(cells: readonly PlannedCell[], options: FleetOptions, directoryRevision: number, now: number): Promise<OwnerPolicyContent> {
  const measured = Object.fromEntries(await Promise.all(ROLES.map(async (role) => [role, await measureRole(role)] as const))) as Record<Role, Registers>;
  await Promise.all(cells.map(({ folder, cell }) => measurements(folder, cell, async (role) => measured[role])));
  const roots = (await Promise.all(cells.map(({ folder, cell, machines }) => developmentRoots(at(folder).simulated, cell, machines, now)))).flat();
  const appraisal = async (role: Role) => ({
    id: `${DEPLOYMENT}/${role}`, role, maxAgeSeconds: 300, allowDevelopment: true, scopes: [...new Set(cells.map(({ cell }) => scopeOf(platformOf(cell, role))))],
    references: unique((await Promise.all(cells.map(({ cell }) => referenceFor(cell, role, measured[role])))).map((one) => ({ ...one, id: `${one.id}/${one.platform}` })), ({ id }) => id),
  });
  const regionOf = (name: string): string => cells.find(({ spec }) => spec.name === name)?.cell.region ?? name;
  const zones = [{ name: 'local', cells: cells.map(({ spec }) => spec.name) }, ...options.zones ?? []];
  const content: OwnerPolicyContent = {
    deployment: DEPLOYMENT,
    roles: { broker: await appraisal('broker'), counter: await appraisal('counter') },
    developmentRoots: unique(roots, ({ certSha256, spkiSha256 }) => certSha256 + spkiSha256), revoked: [],
    // A development root proves no region: the zone says that the cell's word is taken for it.
    zones: zones.map((zone) => ({ name: zone.name, regions: [...new Set(zone.cells.map(regionOf))], origin: 'asserted' })),
    tenants: [{
      tenant: '*', zones: zones.map(({ name }) => name), classifications: [...CLASSIFICATIONS], scopes: [...new Set(cells.map(({ cell }) => scopeOf(cell.platform)))], egress: ['count', 'boxes', 'scores', 'image'],
    }],
    detectors: [{ name: DEFAULT_MODEL.name, digest: DEFAULT_MODEL.digest, threshold: DEFAULT_MODEL.threshold }],
    directoryRevision,
  };
  return options.policy?.(content) ?? content;
}

/** @returns the revision in force */
export async function signPolicy(owner: Owner, content: OwnerPolicyContent, now: number): Promise<number> {
  const policy = await signed<OwnerPolicy>(at(owner.folder).policy, POLICY_TYPE, content, owner.privateKey, now, async (jws) => (await verifyPolicy(jws, owner.publicKey, now)).policy);
  return policy.revision;
}

/** To each cell's folder, from where its processes take them at their start. */
export async function handOut(owner: Owner, folders: readonly string[]): Promise<void> {
  for (const name of ['policy', 'directory'] as const) {
    const jws = await readFile(at(owner.folder)[name], 'utf8');
    await Promise.all(folders.map((folder) => writeWhole(at(folder)[name], jws, 0o644)));
  }
}

/** `ccc measurements lock|check|policy`: the lock file of the images' measurements, and what the owner signs of it. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { b64u } from '../../attestation/bytes.ts';
import { ConfigurationError } from '../../modules/configuration-error.ts';
import { type Cloud, CLOUDS, type Environment, type EnvironmentName, ENVIRONMENTS } from '../../modules/environments.ts';
import { snpSizes } from '../../modules/generations.ts';
import { entriesOf, type Generation, GENERATIONS, LOCK_FILE, type MeasurementLock, parseLock, placeholders, WORKLOAD_ROLES, type WorkloadRole } from '../../modules/measurements.ts';
import { ownerPolicy } from '../../modules/owner-policy.ts';
import { DEFAULT_MODEL } from '../../workloads/detectors/model.ts';
import { signJws } from '../../workloads/protocol/jws.ts';
import { readKeyFile } from '../../workloads/protocol/key-file.ts';
import { POLICY_TYPE, policySchema } from '../../workloads/protocol/owner.ts';
import { EXIT, json, note, paint, say, table, UserError } from '../cli/output.ts';

interface LockOptions { readonly lock?: string; readonly json?: boolean }
const pathOf = ({ lock }: LockOptions): string => lock ?? fileURLToPath(LOCK_FILE);

async function text(path: string, what: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => { throw new UserError('FILE', `${path} cannot be read (${error.code ?? error.message}).`, what, EXIT.usage); });
}

/** @throws UserError with the field */
function checked<T>(work: () => T, next: string): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ConfigurationError) throw new UserError('MEASUREMENTS', `${error.message}.`, next);
    throw error;
  }
}

const readLockAt = async (options: LockOptions): Promise<MeasurementLock> => {
  const source = await text(pathOf(options), 'Name the lock file with --lock.');
  return checked(() => parseLock(source), 'Let the image build write the lock file.');
};

async function writeWhole(path: string, content: string, mode = 0o644): Promise<void> {
  await writeFile(`${path}.new`, content, { mode });
  await rename(`${path}.new`, path);
}

/** Puts what a build measured into the lock file; other entries stay as they are. */
export async function measurementsLock(options: LockOptions & { readonly role: WorkloadRole; readonly generation: Generation; readonly from: string }): Promise<number> {
  const { role, generation, from } = options;
  const before = await readLockAt(options);
  let entry: unknown;
  try {
    entry = JSON.parse(await text(from, 'Give the file that the image build wrote.'));
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError('BUILD_FORMAT', `${from} is no JSON.`, 'Give the file that the image build wrote.', EXIT.usage);
  }
  const after = checked(() => parseLock(JSON.stringify({ ...before, roles: { ...before.roles, [role]: { ...before.roles[role], [generation]: entry } } })), `${from} holds one entry: provenance, image, and for brokers and counters nitro, azure, gke.`);
  if (after.roles[role][generation]?.provenance.source !== 'built') throw new UserError('NOT_BUILT', `${from} is a placeholder.`, 'Only what a build measured gets into the lock file by this command.');
  await writeWhole(pathOf(options), `${JSON.stringify(after, null, 2)}\n`);
  if (options.json === true) json({ ok: true, role, generation, image: after.roles[role][generation]?.image });
  else note(`${role} ${generation}: locked. Sign a policy that holds it: ccc measurements policy`);
  return EXIT.ok;
}

/** Fails while anything was not built. */
export async function measurementsCheck(options: LockOptions): Promise<number> {
  const lock = await readLockAt(options);
  const waiting = placeholders(lock);
  const rows = WORKLOAD_ROLES.flatMap((role) => GENERATIONS.flatMap((generation) => {
    const entry = lock.roles[role][generation];
    return entry === undefined ? [] : [{ role, generation, source: entry.provenance.source, from: entry.provenance.source === 'built' ? entry.provenance.commit : entry.provenance.label, image: entry.image }];
  }));
  if (options.json === true) json({ ok: waiting.length === 0, placeholders: waiting, entries: rows });
  else {
    say(table(['role', 'generation', 'source', 'commit or label', 'image'], rows.map((r) => [r.role, r.generation, r.source, r.from, r.image])));
    if (waiting.length > 0) note(paint('red', `${waiting.length} placeholders: no plan passes until the images are built`, process.stderr));
  }
  return waiting.length === 0 ? EXIT.ok : EXIT.failed;
}

export interface PolicyOptions extends LockOptions {
  readonly env: EnvironmentName;
  readonly cloud?: readonly string[];
  readonly nodes?: boolean;
  readonly acceptMilan?: boolean;
  readonly revision: number;
  readonly directoryRevision: number;
  readonly days: number;
  readonly key?: string;
  readonly out?: string;
  /** Epoch milliseconds, and the table: for tests. */
  readonly now?: () => number;
  readonly environments?: Readonly<Record<EnvironmentName, Environment>>;
}

/** The unsigned document, or with a key the signed one. Placeholders are never signed: they name nothing that was ever built. */
export async function measurementsPolicy(options: PolicyOptions): Promise<number> {
  const lock = await readLockAt(options);
  const environment = (options.environments ?? ENVIRONMENTS)[options.env];
  const clouds = (options.cloud ?? CLOUDS) as readonly Cloud[];
  if (!clouds.every((cloud) => (CLOUDS as readonly string[]).includes(cloud))) throw new UserError('CLOUD', `${clouds.join(', ')}: not all of these are clouds.`, `Use ${CLOUDS.join(', ')}.`, EXIT.usage);
  const notAfter = Math.floor((options.now ?? Date.now)() / 1000) + options.days * 86_400;
  const { name, digest, threshold } = DEFAULT_MODEL;
  const policy = policySchema.parse(checked(() => ownerPolicy({ environment, lock, revision: options.revision, directoryRevision: options.directoryRevision, notAfter, clouds, nodes: options.nodes ?? true, milan: options.acceptMilan === true, detectors: [{ name, digest, threshold }] }), 'Change modules/environments.ts or the lock file.'));
  const denied = snpSizes(environment).filter((size) => clouds.includes(size.cloud) && size.roles.some((role) => policy.roles[role].snp?.deniedGenerations.includes(size.generation)));
  if (denied.length > 0) note(`Denied, so that cells there get no key: ${denied.map(({ size, generation }) => `${size} (${generation})`).join(', ')}.`);
  for (const { generation, until } of environment.acceptedGenerations) note(`${generation} is accepted until ${until.slice(0, 10)} (acceptedGenerations of ${options.env}): its keys can be extracted by software.`);
  let document = `${JSON.stringify(policy, null, 2)}\n`;
  if (options.key !== undefined) {
    const used = (['broker', 'counter'] as const).flatMap((role) => entriesOf(lock, role).flatMap(({ provenance: p }) => (p.source === 'placeholder' ? [p.label] : [])));
    if (used.length > 0) throw new UserError('PLACEHOLDERS', `The lock file holds placeholders (${used.join(', ')}), which nobody signs.`, 'Build the images, then ccc measurements lock.');
    const key = await readKeyFile(options.key).catch(() => undefined);
    if (key === undefined) throw new UserError('OWNER_KEY', `${options.key} holds no private Ed25519 key (JWK).`, 'Name the owner\'s key file with --key.', EXIT.usage);
    if (b64u(key.publicKey) !== environment.ownerKey) throw new UserError('OWNER_KEY', `${options.key} is not the key that environments.${options.env}.ownerKey names: cells of this environment would not believe it.`, 'Sign with the owner\'s key, or change the environment.');
    document = `${await signJws(POLICY_TYPE, policy, key.privateKey)}\n`;
  }
  if (options.out === undefined) process.stdout.write(document);
  else {
    await writeWhole(options.out, document);
    note(`wrote ${options.out}${options.key === undefined ? ', unsigned' : ''}`);
  }
  return EXIT.ok;
}

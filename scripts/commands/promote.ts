/**
 * `ccc promote --from dev --to staging`: moves what the source environment has recorded, by digest; nothing is built. Without --from, dev admits what the lock
 * file holds and its own registries have. Asks before each copy, so an interrupted run goes on where it was; records a cloud only when all of it is there.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { ConfigurationError } from '../../modules/configuration-error.ts';
import { type Cloud, CLOUDS, type Environment, type EnvironmentName, ENVIRONMENTS } from '../../modules/environments.ts';
import { LOCK_FILE, type MeasurementLock, parseLock } from '../../modules/measurements.ts';
import { environmentBefore, latest, lockedEntries, parsePromotions, type PromotedEntry, type Promotions, PROMOTIONS_FILE, sameEntries } from '../../modules/promotions.ts';
import { EXIT, json, note, say, UserError } from '../cli/output.ts';
import { type Artifact, artifactOf } from '../clouds/artifacts.ts';
import { headCommit } from '../clouds/head-commit.ts';
import { call, spelled } from '../clouds/tool.ts';

const COPY_TIMEOUT_MS = 3_600_000;

export interface PromoteOptions {
  readonly from?: EnvironmentName;
  readonly to: EnvironmentName;
  readonly cloud?: readonly string[];
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly lock?: string;
  readonly promotions?: string;
  /** Epoch milliseconds, and the commit of a lock file: for tests. */
  readonly now?: () => number;
  readonly commit?: (lock: string) => Promise<string>;
}

const lastLine = (err: string): string => err.trim().split('\n').at(-1)?.slice(0, 300) || 'nothing was said';

async function read<T>(path: string, parse: (text: string) => T): Promise<T> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => { throw new UserError('FILE', `${path} cannot be read (${error.code ?? error.message}).`, 'Run this in a checkout, or name the file with --lock or --promotions.', EXIT.usage); });
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof ConfigurationError) throw new UserError('PROMOTION_FILE', `${error.message}.`, 'Take the file from the last good commit.');
    throw error;
  }
}

/** Only from the environment right before. @throws UserError, usage */
function checkRoute(from: EnvironmentName | undefined, to: EnvironmentName): void {
  const before = environmentBefore(to);
  if (from === before) return;
  const need = before === undefined ? 'no --from: dev is where images enter' : `--from ${before}`;
  throw new UserError('SKIPS_ENVIRONMENT', `${to}: have ${from === undefined ? 'no --from' : `--from ${from}`}, need ${need}.`, `ccc promote ${before === undefined ? '' : `--from ${before} `}--to ${to}`, EXIT.usage);
}

function wantedClouds(given: readonly string[] | undefined): readonly Cloud[] {
  const wrong = given?.filter((cloud) => !(CLOUDS as readonly string[]).includes(cloud)) ?? [];
  if (wrong.length > 0) throw new UserError('CLOUD', `have ${wrong.join(', ')}, need some of ${CLOUDS.join(', ')}.`, `Use --cloud ${CLOUDS.join(',')}.`, EXIT.usage);
  return CLOUDS.filter((cloud) => given?.includes(cloud) ?? true);
}

/** @throws UserError when the source has no record, or another one than the lock file */
function entriesToPromote(cloud: Cloud, lock: MeasurementLock, promotions: Promotions, from: EnvironmentName | undefined): readonly PromotedEntry[] {
  let locked: PromotedEntry[];
  try {
    locked = lockedEntries(lock, cloud);
  } catch (error) {
    if (error instanceof ConfigurationError) throw new UserError('PLACEHOLDER', `${error.message}.`, 'Build the image, then ccc measurements lock.');
    throw error;
  }
  if (from === undefined) return locked;
  const recorded = latest(promotions, from, cloud)?.entries;
  const before = environmentBefore(from);
  const next = `ccc promote ${before === undefined ? '' : `--from ${before} `}--to ${from} --cloud ${cloud}`;
  if (recorded === undefined) throw new UserError('NOT_RECORDED', `${from}, ${cloud}: have no promotion, need one of what the lock file holds.`, next);
  const stripped = recorded.map(({ eif: _, ...entry }) => entry);
  if (isDeepStrictEqual(stripped, locked)) return recorded;
  const spell = (entries: readonly PromotedEntry[]): string => entries.map(({ role, generation, image, PCR0 }) => `${role} ${generation} ${image}${PCR0 === undefined ? '' : ` PCR0 ${PCR0}`}`).join(', ');
  const missing = locked.filter((entry) => !stripped.some((one) => isDeepStrictEqual(one, entry)));
  const extra = stripped.filter((entry) => !locked.some((one) => isDeepStrictEqual(one, entry)));
  throw new UserError('LOCK_DIFFERS', `${from}, ${cloud}: have ${spell(extra) || 'nothing else'} recorded, need ${spell(missing) || 'only what the lock file holds'}.`, next);
}

/** The digest that the cloud says; nothing: it has none. @throws UserError when that cannot be told */
async function ask(cloud: Cloud, { name, ask: command, read: judge }: Artifact, environment: Environment): Promise<string | undefined> {
  const args = command(environment);
  const { ok, out, err } = await call(cloud, args);
  if (!ok && /\(404\)|ImageNotFoundException|MANIFEST_UNKNOWN|NAME_UNKNOWN|NOT_FOUND|is not found|Image not found/.test(err)) return undefined;
  if (!ok) throw new UserError('ASK_FAILED', `${name} in ${environment.name}, ${cloud}: ${lastLine(err)}`, `Run by hand: ${spelled(cloud, args)}`);
  try {
    return judge(JSON.parse(out));
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof z.ZodError)) throw error;
    throw new UserError('DIGEST_UNKNOWN', `${name} in ${environment.name}, ${cloud}: have an answer without its digest, need a SHA-256 of the whole.`, `Look at: ${spelled(cloud, args)}. Enclave files are put whole, with --checksum-algorithm SHA256.`);
  }
}

/** As `ask`, and it must be there and be `need`. */
async function mustBe(cloud: Cloud, artifact: Artifact, environment: Environment, need: string | undefined, next: string): Promise<string> {
  const have = await ask(cloud, artifact, environment);
  if (have === undefined) throw new UserError('ARTIFACT_MISSING', `${artifact.name} in ${environment.name}, ${cloud}: have none, need ${need ?? 'one'}.`, next);
  return equal(cloud, artifact, environment, have, need ?? have);
}

function equal(cloud: Cloud, { name, ask: command }: Artifact, environment: Environment, have: string, need: string): string {
  if (have !== need) throw new UserError('DIGEST_DIFFERS', `${name} in ${environment.name}, ${cloud}: have ${have}, need ${need}.`, `Nothing was recorded. Find out who put it there: ${spelled(cloud, command(environment))}`);
  return have;
}

/** True: it was copied now. */
async function move(cloud: Cloud, artifact: Artifact, from: Environment, to: Environment): Promise<boolean> {
  const need = await mustBe(cloud, artifact, from, artifact.digest, `It was there when ${from.name} recorded it. Publish the same bytes again; never build them again.`);
  const have = await ask(cloud, artifact, to);
  if (have !== undefined) {
    equal(cloud, artifact, to, have, need);
    return false;
  }
  const { tool, args } = artifact.copy(from, to);
  const { ok, err } = await call(tool, args, COPY_TIMEOUT_MS);
  if (!ok && tool === 'crane' && /UNAUTHORIZED|DENIED|no basic auth credentials|\b40[13]\b/.test(err)) throw new UserError('NOT_LOGGED_IN', `crane has no login for ${from.name} or ${to.name}, ${cloud}: ${lastLine(err)}`, `Run: ${artifact.login(from)}; ${artifact.login(to)}`);
  if (!ok) throw new UserError('COPY_FAILED', `${artifact.name} to ${to.name}, ${cloud}: ${lastLine(err)}`, `Run by hand: ${spelled(tool, args)}`);
  await mustBe(cloud, artifact, to, need, `It was copied and is not there. Run by hand: ${spelled(tool, args)}`);
  return true;
}

/** Entries as they will be recorded: at dev with the enclave files' digests. */
async function admit(cloud: Cloud, entries: readonly PromotedEntry[], to: Environment): Promise<PromotedEntry[]> {
  const admitted: PromotedEntry[] = [];
  for (const entry of entries) {
    const digest = await mustBe(cloud, artifactOf(cloud, entry), to, artifactOf(cloud, entry).digest, 'Publish what the image build made, then run this again.');
    admitted.push(entry.PCR0 === undefined ? entry : { ...entry, eif: digest });
  }
  return admitted;
}

function commands(cloud: Cloud, entries: readonly PromotedEntry[], from: Environment | undefined, to: Environment): string[] {
  return entries.flatMap((entry) => {
    const artifact = artifactOf(cloud, entry);
    const asked = [...(from === undefined ? [] : [from]), to].map((environment) => spelled(cloud, artifact.ask(environment)));
    if (from === undefined) return asked;
    const { tool, args } = artifact.copy(from, to);
    return [...asked, spelled(tool, args)];
  });
}

/** Exit 0: promoted, or was before; 1: refused or failed; 2: wrong arguments. */
export async function promote(options: PromoteOptions): Promise<number> {
  const { to } = options;
  checkRoute(options.from, to);
  const clouds = wantedClouds(options.cloud);
  const [lockPath, path] = [options.lock ?? fileURLToPath(LOCK_FILE), options.promotions ?? fileURLToPath(PROMOTIONS_FILE)];
  const lock = await read(lockPath, parseLock);
  let promotions = await read(path, parsePromotions);
  const from = options.from === undefined ? undefined : ENVIRONMENTS[options.from];
  const target = ENVIRONMENTS[to];
  // All clouds are judged before anything is called.
  const plan = clouds.map((cloud) => ({ cloud, entries: entriesToPromote(cloud, lock, promotions, options.from) }));
  if (options.dryRun === true) {
    const lines = plan.map(({ cloud, entries }) => ({ cloud, commands: commands(cloud, entries, from, target) }));
    if (options.json === true) json({ ok: true, dryRun: true, to, clouds: lines });
    else for (const line of lines.flatMap((one) => one.commands)) say(line);
    return EXIT.ok;
  }
  const done: { cloud: Cloud; recorded: boolean; copied: string[] }[] = [];
  for (const { cloud, entries } of plan) {
    const last = latest(promotions, to, cloud);
    const copied: string[] = [];
    let recorded = false;
    if (last === undefined || !sameEntries({ cloud, entries: from === undefined ? last.entries.map(({ eif: _, ...entry }) => entry) : last.entries }, { cloud, entries: [...entries] })) {
      const commit = await (options.commit ?? headCommit)(lockPath);
      if (from !== undefined) for (const entry of entries) if (await move(cloud, artifactOf(cloud, entry), from, target)) copied.push(artifactOf(cloud, entry).name);
      const admitted = from === undefined ? await admit(cloud, entries, target) : [...entries];
      const record = { cloud, commit, at: new Date((options.now ?? Date.now)()).toISOString(), entries: admitted };
      const next = { ...promotions, environments: { ...promotions.environments, [to]: [...promotions.environments[to], record] } };
      const text = `${JSON.stringify(next, null, 2)}\n`;
      try {
        promotions = parsePromotions(text);
      } catch (error) {
        if (error instanceof ConfigurationError) throw new UserError('RECORD_INVALID', `${error.message}.`, 'Is the clock right? The copies stay; run this again.');
        throw error;
      }
      await writeFile(`${path}.new`, text);
      await rename(`${path}.new`, path);
      recorded = true;
    }
    done.push({ cloud, recorded, copied });
    if (options.json !== true) note(recorded ? `${cloud}: ${to} recorded, ${copied.length} copied` : `${cloud}: ${to} has it already`);
  }
  if (options.json === true) json({ ok: true, from: options.from ?? null, to, clouds: done });
  else if (done.some(({ recorded }) => recorded)) note('Commit promotions.json.');
  return EXIT.ok;
}

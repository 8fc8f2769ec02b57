/** `ccc collateral`: what vendors publish about their platforms, kept in the cell's folder; one signed file of it for where there is no network. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { b64u, bytes, type Bytes, fromB64u, hex, sha256 } from '../../attestation/bytes.ts';
import { type Bundle, checkBundleTime, openBundle, signBundle } from '../../attestation/collateral/bundle.ts';
import { CollateralCache, held } from '../../attestation/collateral/cache.ts';
import { COLLATERAL_KINDS, type CollateralKind } from '../../attestation/collateral/collateral.ts';
import { type Endpoints, PUBLIC_ENDPOINTS } from '../../attestation/collateral/endpoints.ts';
import { createFetcher, type Fetcher, type FetcherOptions, type Wanted } from '../../attestation/collateral/fetch.ts';
import { wantedFor } from '../../attestation/collateral/wanted.ts';
import { explain } from '../../attestation/refusal.ts';
import { importSigningKey } from '../../workloads/protocol/jws.ts';
import { at, cellFolder, readOptional, writeWhole } from '../cell/folder.ts';
import { EXIT, json, note, paint, say, table, UserError } from '../cli/output.ts';

export interface CollateralOptions { readonly data?: string; readonly json?: boolean; readonly cache?: string }

export const cacheFolder = (options: CollateralOptions): string => options.cache ?? join(cellFolder(options.data), 'collateral');
const seconds = (): number => Math.floor(Date.now() / 1000);

/** Addresses from the file that $CCC_ENDPOINTS names, else the public ones. */
async function endpoints(): Promise<Partial<Endpoints>> {
  const path = process.env['CCC_ENDPOINTS'];
  if (path === undefined || path === '') return {};
  let given: unknown;
  try {
    given = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new UserError('ENDPOINTS_UNREADABLE', `${path}: ${(error as Error).message}`, 'Name a JSON file of addresses in $CCC_ENDPOINTS, or leave it out.', EXIT.usage);
  }
  const unknown = typeof given !== 'object' || given === null ? ['another form'] : Object.keys(given).filter((name) => !Object.hasOwn(PUBLIC_ENDPOINTS, name));
  if (unknown.length > 0) throw new UserError('ENDPOINTS_FORMAT', `${path}: ${unknown.join(', ')}`, `Names are ${Object.keys(PUBLIC_ENDPOINTS).join(', ')}.`, EXIT.usage);
  return given as Partial<Endpoints>;
}

export async function openFetcher(options: CollateralOptions, change: Partial<FetcherOptions> = {}): Promise<Fetcher> {
  return createFetcher({ folder: cacheFolder(options), endpoints: await endpoints(), now: Date.now, attempts: 3, maxWaitMs: 15_000, ...change });
}

const kindOf = (name: string): CollateralKind => {
  const kind = COLLATERAL_KINDS.find((k) => k === name);
  if (kind === undefined) throw new UserError('KIND_UNKNOWN', `${name} is no kind of collateral.`, `Kinds are ${COLLATERAL_KINDS.join(', ')}.`, EXIT.usage);
  return kind;
};

/** KIND/KEY as `ccc collateral list` prints it. */
function wantedOf(name: string): Wanted {
  const slash = name.indexOf('/');
  if (slash < 1) throw new UserError('NAME_FORMAT', `${name} is no KIND/KEY.`, 'For example amd-crl/Genoa or intel-tcb-info/90c06f000000.', EXIT.usage);
  return { kind: kindOf(name.slice(0, slash)), key: name.slice(slash + 1) };
}

export async function collateralFetch(names: readonly string[], options: CollateralOptions & { readonly for?: readonly string[] }): Promise<number> {
  const wanted = names.map(wantedOf);
  for (const file of options.for ?? []) wanted.push(...wantedFor(bytes(await readFile(file))));
  if (wanted.length === 0) throw new UserError('NOTHING_WANTED', 'Nothing to fetch.', 'Name KIND/KEY, or evidence with --for FILE.', EXIT.usage);
  const { items, reasons } = await (await openFetcher(options)).collect(wanted);
  if (options.json === true) json({ ok: reasons.length === 0, items: items.map(({ kind, key, source, fetchedAt, bytes: data }) => ({ kind, key, source, fetchedAt, bytes: data.length })), reasons });
  else for (const { kind, key, source } of items) say(`${paint('green', source.padEnd(7))}  ${kind}/${key}`);
  for (const reason of reasons) note(paint('red', `refused: ${explain(reason)}`, process.stderr));
  return reasons.length === 0 ? EXIT.ok : reasons.every((r) => r.code === 'COLLATERAL_UNAVAILABLE') ? EXIT.unavailable : EXIT.refused;
}

export async function collateralList(options: CollateralOptions): Promise<number> {
  const items = await new CollateralCache(cacheFolder(options)).all(seconds());
  const day = (time: number | null): string => (time === null ? 'no end' : new Date(time * 1000).toISOString().slice(0, 16));
  if (options.json === true) json({ ok: true, items: await Promise.all(items.map(async (i) => ({ kind: i.kind, key: i.key, source: i.source, fetchedAt: i.fetchedAt, until: i.until, bytes: i.bytes.length, sha256: hex(await sha256(i.bytes)) }))) });
  else if (items.length === 0) note('nothing that holds now');
  else say(table(['until', 'bytes', 'source', 'kind/key'], items.map((i) => [day(i.until), String(i.bytes.length), i.source, `${i.kind}/${i.key}`])));
  return EXIT.ok;
}

async function signingKey(options: CollateralOptions & { readonly key?: string }): Promise<CryptoKey> {
  const path = options.key ?? at(cellFolder(options.data)).ownerKey;
  const content = await readOptional(path);
  try {
    if (content !== undefined) return await importSigningKey(JSON.parse(content) as JsonWebKey);
  } catch { /* said below */ }
  throw new UserError('NO_SIGNING_KEY', `${path} is no private Ed25519 key (JWK).`, 'Name one with --key FILE, or export where the owner\'s key is.', EXIT.usage);
}

export async function collateralExport(file: string, options: CollateralOptions & { readonly kind?: readonly string[]; readonly key?: string; readonly days?: number }): Promise<number> {
  const kinds = options.kind?.map(kindOf);
  const now = seconds();
  const items = (await new CollateralCache(cacheFolder(options)).all(now)).filter((i) => kinds === undefined || kinds.includes(i.kind));
  if (items.length === 0) throw new UserError('NOTHING_TO_EXPORT', 'The cache has nothing of it that holds now.', 'Fetch it first: ccc collateral fetch --for EVIDENCE.', EXIT.failed);
  const jws = await signBundle({ items, key: await signingKey(options), now, ttlSeconds: (options.days ?? 30) * 86_400 });
  await writeWhole(file, `${jws}\n`, 0o644);
  const digest = hex(await sha256(new TextEncoder().encode(jws)));
  if (options.json === true) json({ ok: true, file, items: items.length, sha256: digest });
  else say(`${items.length} items in ${file}\nSHA-256 ${digest}`);
  return EXIT.ok;
}

/** The key that a bundle has to be signed by: stated, or the owner's of this cell. Never one that a bundle names. */
export async function pinnedSigner(options: CollateralOptions & { readonly signer?: string }): Promise<Bytes> {
  const given = options.signer ?? process.env['CCC_OWNER_KEY'] ?? (await readOptional(at(cellFolder(options.data)).ownerPublic))?.trim();
  if (given === undefined || given === '') throw new UserError('NO_SIGNER_KEY', 'A bundle counts only when a key that you trust signed it.', 'Name the public key with --signer KEY (or $CCC_OWNER_KEY).', EXIT.usage);
  try {
    const key = fromB64u(given);
    if (key.length === 32) return key;
  } catch { /* said below */ }
  throw new UserError('SIGNER_KEY_FORMAT', 'The signer\'s key is not base64url of 32 bytes.', 'Copy it again; ccc up prints the owner\'s.', EXIT.usage);
}

export async function readBundle(file: string, options: CollateralOptions & { readonly signer?: string }): Promise<Bundle> {
  const signer = await pinnedSigner(options);
  const content = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => { throw new UserError('BUNDLE_UNREADABLE', `${file}: ${error.code ?? 'cannot be read'}`, 'Give the file that ccc collateral export wrote.', EXIT.usage); });
  const bundle = await openBundle(content, signer);
  checkBundleTime(bundle, seconds());
  return bundle;
}

export async function collateralImport(file: string, options: CollateralOptions & { readonly signer?: string }): Promise<number> {
  const bundle = await readBundle(file, options);
  const now = seconds();
  if (now > bundle.expiresAt) throw new UserError('BUNDLE_EXPIRED', `${file} ended ${new Date(bundle.expiresAt * 1000).toISOString()}.`, 'Export a new one where there is a network; stored evidence of that time can still be judged with ccc verify --offline FILE --at TIME.', EXIT.refused);
  const cache = new CollateralCache(cacheFolder(options));
  const [kept, left]: [string[], string[]] = [[], []];
  for (const record of bundle.records) {
    const name = `${record.kind}/${record.key}`;
    const known = await cache.get(record.kind, record.key, now);
    // What has ended helps nobody, and what is newer stays
    if (held(record, now) === undefined || (known !== undefined && known.fetchedAt > record.fetchedAt)) left.push(name);
    else {
      await cache.put(record);
      kept.push(name);
    }
  }
  if (options.json === true) json({ ok: true, sha256: bundle.sha256, signer: b64u(await pinnedSigner(options)), imported: kept, left });
  else say([...kept.map((name) => `${paint('green', 'imported')}  ${name}`), ...left.map((name) => `${paint('yellow', 'left    ')}  ${name} (ended, or older than what is here)`)].join('\n'));
  return EXIT.ok;
}

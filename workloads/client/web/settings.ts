/**
 * Where the page came from and whom it trusts. API key and owner key may come in the address's fragment, which browsers never send; it
 * is taken out of the address bar at once. Both live in this tab's session storage only.
 */
import { z } from 'zod';
import { b64uText, cellName, tenantId, zoneName } from '../../protocol/wire.ts';

const STORAGE = 'ccc.settings';
const SEEN = 'ccc.seen';

export type ServedBy = 'gateway' | 'page-server';
export interface Settings {
  readonly apiKey: string;
  /** base64url of the raw Ed25519 key. */
  readonly ownerKey: string;
  /** Whose keys are expected, and bound to which zone: a gateway that answers for another tenant is refused. */
  readonly tenant: string;
  readonly zone: string;
  /** The cell that must answer; any of the owner's directory when absent. */
  readonly cell?: string;
}

const settingsSchema = z.object({ apiKey: z.string(), ownerKey: z.string(), tenant: tenantId, zone: zoneName, cell: cellName.optional() });
const configSchema = z.object({ v: z.literal(1), gateway: z.string(), owner_key: b64uText(32), tenant: tenantId.optional(), zone: zoneName.optional(), cell: cellName.optional() });

const seenSchema = z.array(z.tuple([z.string(), z.string()]));
export type SeenEntries = readonly (readonly [string, string])[];

/** As the key is written: `ccc_live_<id>_<secret>`. Answers what is wrong, or undefined. */
export const apiKeyProblem = (value: string): string | undefined => (/^ccc_live_[A-Za-z0-9]+_[A-Za-z0-9_-]+$/.test(value) ? undefined : 'An API key looks like ccc_live_…_…; ccc key add prints it once.');
export const ownerKeyProblem = (value: string): string | undefined => (b64uText(32).safeParse(value).success ? undefined : 'An owner key is 43 characters of base64url; ccc up prints it.');

export const nameProblem = (value: string): string | undefined => (tenantId.safeParse(value).success ? undefined : 'a to z, 0 to 9 and hyphens.');

export const servedBy = (): ServedBy => (document.querySelector<HTMLMetaElement>('meta[name="ccc-served-by"]')?.content === 'page-server' ? 'page-server' : 'gateway');

function fromFragment(): Partial<Settings> {
  const fragment = new URLSearchParams(location.hash.slice(1));
  if ([...fragment.keys()].length === 0) return {};
  history.replaceState(null, '', location.pathname + location.search);
  const take = (name: string) => fragment.get(name)?.trim() || undefined;
  return clean({ apiKey: take('key'), ownerKey: take('owner'), tenant: take('tenant'), zone: take('zone'), cell: take('cell') });
}

const clean = <T extends object>(value: T): Partial<T> => Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as Partial<T>;

function stored(): Partial<Settings> {
  try {
    return clean(settingsSchema.partial().parse(JSON.parse(sessionStorage.getItem(STORAGE) ?? '{}')));
  } catch {
    return {};
  }
}

export function keepSettings(settings: Partial<Settings>): void {
  sessionStorage.setItem(STORAGE, JSON.stringify(settings));
}

/** What the page server pins wins: a link must not be able to name another owner. Then the fragment, then what this tab knew. */
export async function readSettings(): Promise<{ settings: Partial<Settings>; gateway: string; pinned: boolean }> {
  const fragment = fromFragment();
  let gateway = location.origin;
  let pinned: Partial<Settings> = {};
  if (servedBy() === 'page-server') {
    const config = configSchema.parse(await (await fetch('./config.json', { cache: 'no-store' })).json());
    gateway = config.gateway;
    pinned = clean({ ownerKey: config.owner_key, tenant: config.tenant, zone: config.zone, cell: config.cell });
  }
  const settings = { ...stored(), ...fragment, ...pinned };
  keepSettings(settings);
  return { settings, gateway, pinned: pinned.ownerKey !== undefined };
}

/** Highest revisions seen, kept across visits: an older manifest, policy or directory is then refused. Public values only. */
export function readSeen(): SeenEntries {
  try {
    return seenSchema.parse(JSON.parse(localStorage.getItem(SEEN) ?? '[]'));
  } catch {
    return [];
  }
}
export const keepSeen = (seen: SeenEntries): void => localStorage.setItem(SEEN, JSON.stringify(seen));
export const isComplete = (settings: Partial<Settings>): settings is Settings => settingsSchema.safeParse(settings).success;

/** Two policies compared: what differs, by path, and whether the second accepts more or less by it. References and exceptions are known by their ids. */
import { canonicalJson } from './canonical.ts';

export interface Difference {
  readonly path: string;
  /** JSON; absent: not there. */
  readonly before?: string;
  readonly after?: string;
  /** Of the second policy; `other` where it can be neither or both. */
  readonly effect: 'looser' | 'stricter' | 'other';
}

type Direction = 'more-is-looser' | 'more-is-stricter' | 'other';
/** Numbers that grow, sets that gain members, booleans that become true. */
const DIRECTIONS: readonly (readonly [RegExp, Direction])[] = [
  [/^maxAgeSeconds$/, 'more-is-looser'], [/^allowDevelopment$/, 'more-is-looser'], [/^scopes(\.|$)/, 'more-is-looser'], [/^references\.[^.]+$/, 'more-is-looser'], [/^references\..+\.registers\./, 'more-is-stricter'],
  [/^references\..+\.idKeyDigest$/, 'more-is-stricter'], [/^exceptions\.[^.]+$/, 'more-is-looser'], [/^exceptions\..+\.until$/, 'more-is-looser'], [/^exceptions\..+\.fmspc$/, 'more-is-stricter'],
  [/^confidentialSpace(\.|$)/, 'more-is-stricter'], [/^azureAttestation$/, 'more-is-looser'], [/^azureAttestation\.policyHashes\./, 'more-is-looser'],
  // Another generation is another kind of machine; a component is a floor
  [/^snp\.minimumTcb\.[^.]+$/, 'more-is-looser'], [/^snp\.minimumTcb\./, 'more-is-stricter'], [/^snp\.(deniedGenerations|deniedChips|require)(\.|$)/, 'more-is-stricter'], [/^snp\.minimum(Firmware|Abi|GuestSvn)/, 'more-is-stricter'],
  [/^snp\.allowProvisionalFirmware$/, 'more-is-looser'], [/^snp\.requireAliasCheck$/, 'more-is-stricter'], [/^snp\.(hostData|authorKeyDigests)$/, 'more-is-stricter'], [/^snp\.(hostData|authorKeyDigests)\./, 'more-is-looser'], [/^snp\.mitigations$/, 'more-is-stricter'],
];
const SMT = ['refuse', 'warn', 'allow'];

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

export function diffPolicies(before: unknown, after: unknown, at = ''): Difference[] {
  if (before === after || (before !== undefined && after !== undefined && canonicalJson(before) === canonicalJson(after))) return [];
  if (Array.isArray(before) && Array.isArray(after)) return diffPolicies(byName(before), byName(after), at);
  if (isObject(before) && isObject(after)) return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().flatMap((key) => diffPolicies(before[key], after[key], at === '' ? key : `${at}.${key}`));
  const show = (value: unknown): string => JSON.stringify(value);
  return [{ path: at, ...(before === undefined ? {} : { before: show(before) }), ...(after === undefined ? {} : { after: show(after) }), effect: effectOf(at, before, after) }];
}

/** Objects by their id, scalars by themselves: order is of no matter in a policy's lists. */
function byName(list: readonly unknown[]): Record<string, unknown> {
  const out: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  list.forEach((item, i) => { out[isObject(item) ? (typeof item['id'] === 'string' && !(item['id'] in out) ? item['id'] : `#${i}`) : String(item)] = item; });
  return out;
}

function effectOf(path: string, before: unknown, after: unknown): Difference['effect'] {
  const local = path.replace(/^roles\.[^.]+\./, '');
  if (local === 'snp.smt') return SMT.indexOf(String(after)) > SMT.indexOf(String(before)) ? 'looser' : 'stricter';
  const direction = DIRECTIONS.find(([pattern]) => pattern.test(local))?.[1] ?? 'other';
  const more = before === undefined ? true : after === undefined ? false : typeof before === 'number' && typeof after === 'number' ? after > before : typeof before === 'boolean' && typeof after === 'boolean' ? after : undefined;
  if (direction === 'other' || more === undefined) return 'other';
  return more === (direction === 'more-is-looser') ? 'looser' : 'stricter';
}

/**
 * What Google adds to TDX on its own machines. Both statements are as strong as what they come from: MR_OWNER is set by Google's host software
 * and signed with the TD report; the host registry is an unsigned document, its existence is the statement (https://storage.googleapis.com/
 * confidential-host-registry/<PPID>), so it proves what the connection proves by which it was fetched.
 */
import { equal, hex, sha384, utf8 } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import { readJsonObject } from '../../formats/json-span.ts';
import { iso } from '../../judge.ts';
import type { Collateral } from '../../collateral/collateral.ts';
import { printable } from '../../refusal.ts';
import type { TdxFacts } from './facts.ts';

export interface GceInstance {
  /** Above 2^53: never through a JS number. */
  readonly instanceId: bigint;
  readonly numericalProjectId: bigint;
  readonly zone: string;
}

/** `requireMatch`: this instance and no other. `allowZero`: a TD of before Google set MR_OWNER passes too. `ignore`: not looked at. */
export type OwnerMode = 'requireMatch' | 'allowZero' | 'ignore';

const U64 = 2n ** 64n;
const ZONE = /^[a-z0-9-]{1,63}$/;

/** What MR_OWNER is the SHA-384 of: exactly these bytes. */
export function gceOwnerText({ instanceId, numericalProjectId, zone }: GceInstance): string {
  const number = (value: unknown): string => (typeof value === 'bigint' && value >= 0n && value < U64 ? String(value) : '');
  const [instance, project] = [number(instanceId), number(numericalProjectId)];
  if (instance === '' || project === '' || !ZONE.test(zone)) throw new RangeError('a GCE instance is named by two 64-bit integers and a zone');
  return `{"instanceId":${instance},"numericalProjectId":${project},"zone":"${zone}"}`;
}

/** @returns what was found; undefined when it is refused (PZID_MISMATCH, PZID_ABSENT) */
export async function checkGceOwner(facts: TdxFacts, instance: GceInstance, mode: OwnerMode, checks: CheckList): Promise<'matched' | 'absent' | 'ignored' | undefined> {
  const path = 'quote.body.mrOwner';
  if (mode === 'ignore') {
    checks.skipped('TDX-GCE-OWNER', path);
    return 'ignored';
  }
  const { mrOwner } = facts.quote.body;
  const need = await sha384(utf8(gceOwnerText(instance)));
  if (mrOwner.every((b) => b === 0)) {
    const holds = checks.that('TDX-GCE-OWNER', path, mode === 'allowZero', () => ({ code: 'PZID_ABSENT', have: 'zeros', need: hex(need), next: 'Google does not name instances in the TDs of this host yet: restart the VM, or have the policy allow it.' }));
    return holds ? 'absent' : undefined;
  }
  const holds = checks.that('TDX-GCE-OWNER', path, equal(mrOwner, need), () => ({ code: 'PZID_MISMATCH', have: hex(mrOwner), need: `${hex(need)} of ${gceOwnerText(instance)}`, next: 'This is another instance, project or zone than the one that was asked.' }));
  return holds ? 'matched' : undefined;
}

const MAX_DOCUMENT = 16 * 1024;
const WEEK = 7 * 86_400;

export interface GceHost { readonly zone: string; readonly timestamp: string; readonly fetchedAt: number }

/**
 * Whether Google's registry knows the machine, by the PPID of a PCK certificate that was verified (facts exist only then).
 * @returns undefined when it is refused: COLLATERAL_ABSENT (also when the registry did not answer), COLLATERAL_EXPIRED, CLOUD_ORIGIN
 */
export function checkGceHost(facts: TdxFacts, collateral: Collateral | undefined, at: number, checks: CheckList, maxAgeSeconds = WEEK): GceHost | undefined {
  const key = hex(facts.pck.platform.ppid);
  const item = collateral?.get('gce-host', key);
  // The PPID names a machine: paths and reasons go into logs, it does not
  const path = 'collateral.gce-host';
  const next = 'Fetch the host\'s entry of Google\'s registry; where there is none, this is no machine of Google\'s.';
  if (!checks.that('TDX-GCE-HOST', path, item !== undefined, () => ({ code: 'COLLATERAL_ABSENT', have: 'nothing', need: `the entry of the host ${facts.pck.ppidSha256}`, next })) || item === undefined) return undefined;
  const age = at - item.fetchedAt;
  const young = checks.that('TDX-GCE-HOST-AGE', path, age <= maxAgeSeconds && age >= -60, () => ({ code: 'COLLATERAL_EXPIRED', have: `fetched ${iso(item.fetchedAt)}`, need: `at most ${maxAgeSeconds} s before ${iso(at)}`, next }));
  const members = checks.parse('TDX-GCE-HOST-FORMAT', path, () => readJsonObject(item.bytes, path, { maxBytes: MAX_DOCUMENT, maxDepth: 8, code: 'CLOUD_ORIGIN', next }));
  if (members === undefined) return undefined;
  const [zone, timestamp] = [members.get('zone')?.value, members.get('timestamp')?.value];
  const named = typeof zone === 'string' && zone !== '' && zone.length <= 256 && ((typeof timestamp === 'string' && timestamp !== '' && timestamp.length <= 64) || typeof timestamp === 'number');
  const formed = checks.that('TDX-GCE-HOST-ENTRY', path, named, () => ({ code: 'CLOUD_ORIGIN', have: [...members.keys()].map((k) => printable(k, 32)).join(', ').slice(0, 128), need: 'zone and timestamp', next }));
  return young && formed ? { zone: printable(zone as string, 256), timestamp: printable(timestamp as string | number, 64), fetchedAt: item.fetchedAt } : undefined;
}

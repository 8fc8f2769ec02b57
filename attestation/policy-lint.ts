/**
 * What is wrong with a policy before it refuses, or passes, anything. Errors: it is no policy, or it leaves open what decides whether evidence is worth something
 * (debugging, level of the report, measurements, floors of the TCB, scope of the binding). Warnings: it says so, and says something weak.
 */
import { type AppraisalPolicy, appraisalPolicySchema, type Reference, referenceRegisters } from './policy.ts';
import { PUBLISHED_FLOORS } from './appraise-snp.ts';
import { below } from './hardware/snp/generation.ts';
import { CONFIDENTIAL_SPACE_FLOOR } from './services/demands.ts';
import { iso } from './judge.ts';
import { AMD_PRODUCTS } from './trust/purposes.ts';

export interface Finding { readonly level: 'error' | 'warning'; readonly path: string; readonly message: string; readonly next: string }

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Appraisal policies of a document: it is one, or an owner's with one per role. */
export function policiesIn(document: unknown): { readonly path: string; readonly policy: unknown }[] {
  if (!isObject(document) || !isObject(document['roles'])) return [{ path: '', policy: document }];
  return Object.entries(document['roles']).map(([role, policy]) => ({ path: `roles.${role}`, policy }));
}

/** @param now epoch seconds: exceptions end */
export function lintPolicy(policy: unknown, now: number, at = ''): Finding[] {
  const where = (path: string): string => [at, path].filter((p) => p !== '').join('.');
  const error = (path: string, message: string, next: string): Finding => ({ level: 'error', path: where(path), message, next });
  const open = unspecified(policy, error);
  const parsed = appraisalPolicySchema.safeParse(policy);
  if (!parsed.success) {
    const said = new Set(open.map((f) => f.path));
    const form = parsed.error.issues.map((i) => error(i.path.map(String).join('.'), i.message, 'Correct it: an unknown or misspelled field is refused, because it would never decide anything.'));
    return [...open, ...form.filter((f) => !said.has(f.path))];
  }
  return [...open, ...weak(parsed.data, now).map((f) => ({ ...f, path: where(f.path) }))];
}

/** Hardware that a document's references are of. Azure's vTPM registers alone leave it open: both. */
function technologies(policy: Record<string, unknown>): Set<'nitro' | 'sev-snp' | 'tdx' | 'sev'> {
  const out = new Set<'nitro' | 'sev-snp' | 'tdx' | 'sev'>();
  for (const reference of Array.isArray(policy['references']) ? policy['references'] as unknown[] : []) {
    if (!isObject(reference)) continue;
    const registers = isObject(reference['registers']) ? Object.keys(reference['registers']) : [];
    if (reference['platform'] === 'aws-nitro') out.add('nitro');
    else if (registers.includes('LAUNCH') || 'idKeyDigest' in reference) out.add('sev-snp');
    else if (registers.includes('MRTD')) out.add('tdx');
    else if (reference['platform'] === 'gke') out.add('sev');
    else if (reference['platform'] === 'azure-cvm') out.add('sev-snp').add('tdx');
  }
  return out;
}

function unspecified(policy: unknown, error: (path: string, message: string, next: string) => Finding): Finding[] {
  if (!isObject(policy)) return [error('', 'no policy: not a JSON object', 'Give an appraisal policy as JSON.')];
  const out: Finding[] = [];
  const references = policy['references'];
  if (!Array.isArray(references) || references.length === 0) out.push(error('references', 'measurement set unspecified: nothing says which code is right', 'List the measurements of the released image (ccc measure).'));
  else references.forEach((reference: unknown, i) => {
    const registers = isObject(reference) && isObject(reference['registers']) ? Object.keys(reference['registers']) : [];
    if (registers.length === 0) out.push(error(`references.${i}.registers`, 'measurement set unspecified', 'List the registers of the released image.'));
    else if (registers.every((r) => r === 'RTMR3')) out.push(error(`references.${i}.registers`, 'only RTMR3 is pinned: whatever runs in the TD can extend it', 'Pin MRTD, RTMR1 and RTMR2 as well.'));
  });
  const { scopes } = policy;
  if (!Array.isArray(scopes) || scopes.length === 0) out.push(error('scopes', 'binding.scope unspecified', 'State which scopes hold this role: enclave, vm, node, container.'));
  if (policy['allowDevelopment'] === undefined) out.push(error('allowDevelopment', 'unspecified whether development roots count', 'State false; true for development cells.'));
  if (policy['maxAgeSeconds'] === undefined) out.push(error('maxAgeSeconds', 'age of evidence unspecified', 'State the oldest acceptable evidence in seconds.'));
  if (technologies(policy).has('sev-snp')) {
    const { snp } = policy;
    const rules = isObject(snp) ? snp : {};
    const floors = rules['minimumTcb'];
    if (!isObject(floors) || Object.keys(floors).length === 0) out.push(error('snp.minimumTcb', 'TCB floor unspecified for SEV-SNP', 'State minimum security versions for each generation that you accept.'));
    if (rules['vmpl'] === undefined) out.push(error('snp.vmpl', 'VMPL unspecified for SEV-SNP', 'State the level that reports are asked for at: 0 unless there is a paravisor.'));
    if (!isObject(snp)) out.push(error('snp', 'debugging, migration and other demands on SEV-SNP guests unspecified', 'State the rules for SEV-SNP; debugging is refused by any of them.'));
  }
  return out;
}

function weak(policy: AppraisalPolicy, now: number): Finding[] {
  const out: Finding[] = [];
  const warn = (path: string, message: string, next: string): void => { out.push({ level: 'warning', path, message, next }); };
  if (policy.allowDevelopment) warn('allowDevelopment', 'evidence of simulated hardware is accepted, with a warning', 'Set it to false outside of development.');
  if (policy.scopes.includes('node')) warn('scopes', 'node: proves a machine, not which container on it', 'Accept it only for pools that run nothing else.');
  if (policy.maxAgeSeconds > 300) warn('maxAgeSeconds', `evidence may be ${policy.maxAgeSeconds} s old`, '300 s or less suffices for a challenge.');
  repeated(policy.references.map((r) => r.id), (id, i) => warn(`references.${i}.id`, `${id} names two references`, 'Give each an id of its own: claims name what matched by it.'));
  repeated(policy.references.map(sameText), (_, i, first) => warn(`references.${i}`, `the same as references.${first}`, 'Leave one of them out.'));
  policy.references.forEach((r, i) => {
    if (r.platform === 'azure-cvm' && r.idKeyDigest === undefined && !referenceRegisters(r).has('LAUNCH') && !referenceRegisters(r).has('MRTD')) warn(`references.${i}`, 'the paravisor is not pinned: only a proven origin stands for it', 'Pin idKeyDigest, LAUNCH or MRTD.');
  });
  const used = new Set<string>(policy.references.map((r) => r.platform));
  if (used.has('confidential-space') && policy.confidentialSpace === undefined) warn('confidentialSpace', `any image of Confidential Space from ${CONFIDENTIAL_SPACE_FLOOR} on counts`, 'State the version that was released with (minVersion).');
  for (const [name, platform] of [['confidentialSpace', 'confidential-space'], ['azureAttestation', 'azure-cvm']] as const) if (policy[name] !== undefined && !used.has(platform)) warn(name, `no reference is of ${platform}: it decides nothing`, 'Leave it out.');
  const { snp } = policy;
  if (snp !== undefined) {
    for (const product of AMD_PRODUCTS) {
      const floor = snp.minimumTcb[product];
      const published = PUBLISHED_FLOORS[product];
      if (floor !== undefined && published !== undefined) {
        const low = below(floor, published);
        if (low.length > 0) warn(`snp.minimumTcb.${product}`, `below published floors: ${low.join(', ')}`, 'Raise it, or except old machines until a date (exceptions).');
      }
    }
    if (snp.minimumTcb.Milan !== undefined && !snp.deniedGenerations.includes('Milan')) warn('snp.deniedGenerations', 'Milan is accepted: keys of its chips can be extracted by software', 'Deny it where you have a choice.');
    if (snp.allowProvisionalFirmware) warn('snp.allowProvisionalFirmware', 'the host may go back to older firmware', 'Set it to false.');
    if (!snp.requireAliasCheck) warn('snp.requireAliasCheck', 'memory aliases (BadRAM) are not ruled out', 'Set it to true.');
    if (snp.smt === 'allow') warn('snp.smt', 'simultaneous multithreading without a warning', 'Set it to warn or refuse.');
    if (snp.vmpl !== 0) warn('snp.vmpl', `level ${snp.vmpl}: something more privileged runs in the guest`, 'Set it to 0 unless there is a paravisor that you know.');
  }
  policy.exceptions?.forEach((e, i) => {
    if (e.until <= now) warn(`exceptions.${i}`, `${e.id} ended ${iso(e.until)}: it does not apply`, 'Leave it out.');
    else if (e.until > now + 180 * 86_400) warn(`exceptions.${i}.until`, `${e.id} lasts until ${iso(e.until)}`, 'Shorten it: an exception that does not end is a rule.');
  });
  return out;
}

function repeated(values: readonly string[], say: (value: string, at: number, first: number) => void): void {
  const seen = new Map<string, number>();
  values.forEach((value, i) => {
    const first = seen.get(value);
    if (first === undefined) seen.set(value, i);
    else say(value, i, first);
  });
}

const sameText = (r: Reference): string => JSON.stringify([r.platform, [...referenceRegisters(r)].sort(), 'idKeyDigest' in r ? r.idKeyDigest : null]);

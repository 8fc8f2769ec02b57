/** `ccc policy lint|explain|diff|put`. */
import { diffPolicies } from '../../attestation/policy-diff.ts';
import { describePolicy, explainAppraisal } from '../../attestation/policy-explain.ts';
import { type Finding, lintPolicy, policiesIn } from '../../attestation/policy-lint.ts';
import { text } from '../../attestation/bytes.ts';
import { explain as explainReason, visible } from '../../attestation/refusal.ts';
import { decodeJwsUnverified } from '../../workloads/protocol/jws.ts';
import { policySchema } from '../../workloads/protocol/owner.ts';
import { admin } from '../cell/admin.ts';
import { at, cellFolder, writeWhole } from '../cell/folder.ts';
import { deploymentIn } from '../cell/handover.ts';
import { EXIT, json, note, paint, say, table, UserError } from '../cli/output.ts';
import { EVIDENCE_EXIT, exitOf } from './verify.ts';
import { type EvidenceOptions, prepare, readInput, readPolicy, verifyEvidence } from './verify-evidence.ts';

/** JSON, or the payload of an owner's signed policy: what it says is looked at here, not whether it holds. */
async function readDocument(path: string): Promise<unknown> {
  const source = text(await readInput(path)).trim();
  try {
    return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(source) ? decodeJwsUnverified(source).payload : JSON.parse(source) as unknown;
  } catch {
    throw new UserError('POLICY_FORMAT', `${path} is neither JSON nor a signed policy.`, 'Give an appraisal policy, or an owner\'s policy.', EXIT.usage);
  }
}

/** What an owner's policy says, or fails to say, besides the appraisal of each role: it would be refused as a whole. */
function lintOwner(document: unknown): Finding[] {
  if (policiesIn(document).every(({ path }) => path === '')) return [];
  const issues = policySchema.safeParse(document).error?.issues ?? [];
  return issues.filter(({ path }) => path[0] !== 'roles').map(({ path, message }) => ({ level: 'error', path: path.map(String).join('.'), message, next: 'Correct it: gateways, brokers and clients refuse a policy that is not of this form.' }));
}

export async function policyLint(files: readonly string[], options: { readonly json?: boolean }): Promise<number> {
  const now = Math.floor(Date.now() / 1000);
  const results: { file: string; findings: Finding[] }[] = [];
  for (const file of files) {
    const document = await readDocument(file);
    results.push({ file, findings: [...policiesIn(document).flatMap(({ path, policy }) => lintPolicy(policy, now, path)), ...lintOwner(document)] });
  }
  const bad = results.some((r) => r.findings.some((f) => f.level === 'error'));
  if (options.json === true) json({ ok: !bad, results });
  else for (const { file, findings } of results) {
    if (findings.length === 0) say(`${paint('green', 'ok')}  ${file}`);
    for (const f of findings) say(`${f.level === 'error' ? paint('red', 'error  ') : paint('yellow', 'warning')}  ${file}: ${visible(f.path) || '(document)'}: ${visible(f.message)}. ${f.next}`);
  }
  return bad ? EXIT.failed : EXIT.ok;
}

export async function policyExplain(policy: string, files: readonly string[], options: EvidenceOptions): Promise<number> {
  const parsed = await readPolicy(policy);
  if (files.length === 0) {
    if (options.json === true) json({ ok: true, demands: describePolicy(parsed) });
    else for (const line of describePolicy(parsed)) say(visible(line));
    return EXIT.ok;
  }
  const setting = await prepare({ ...options, policy });
  let exit: number = EXIT.ok;
  const results: unknown[] = [];
  for (const file of files) {
    const result = await verifyEvidence(file, await readInput(file), { ...options, policy }, setting);
    exit = Math.max(exit, exitOf(result));
    const rules = result.appraisal === undefined ? [] : explainAppraisal(result.appraisal);
    results.push({ file, verdict: result.verdict, status: result.appraisal?.status, reasons: result.reasons, rules, exceptionsUsed: result.appraisal?.exceptionsUsed ?? [] });
    if (options.json === true) continue;
    say(paint('bold', `${visible(file)}: ${result.verdict === 'invalid' ? 'not verifiable' : result.appraisal?.status ?? 'not appraised'}`));
    for (const reason of result.reasons) say(`  ${explainReason(reason)}`);
    if (rules.length > 0) say(table(['outcome', 'rule', 'have', 'need'], rules.map((r) => [r.outcome, r.rule, visible(r.have), visible(r.need)])));
    for (const r of rules.filter((x) => x.next !== undefined)) note(`  ${r.rule}: ${r.next}`);
  }
  if (options.json === true) json({ ok: exit === EVIDENCE_EXIT.affirming, exit, results });
  return exit;
}

export async function policyDiff(before: string, after: string, options: { readonly json?: boolean }): Promise<number> {
  const differences = diffPolicies(await readDocument(before), await readDocument(after));
  if (options.json === true) json({ ok: differences.length === 0, differences });
  else if (differences.length === 0) note('the same');
  else for (const d of differences) say(`${d.effect === 'looser' ? paint('red', 'looser  ') : d.effect === 'stricter' ? paint('green', 'stricter') : 'changed '}  ${visible(d.path)}: ${visible(d.before ?? 'absent')} -> ${visible(d.after ?? 'absent')}`);
  return differences.length === 0 ? EXIT.ok : EXIT.failed;
}

/** A signed revision into force, which ends all sessions: in a cell, or in every cell of a folder that several share. One that is down takes it from its folder when it starts. */
export async function policyPut(file: string, options: { readonly data?: string; readonly json?: boolean }): Promise<number> {
  const policy = text(await readInput(file)).trim();
  const folder = cellFolder(options.data);
  const several = await deploymentIn(folder).catch((error: unknown) => {
    if (error instanceof UserError && error.code === 'NO_CELLS') return undefined;
    throw error;
  });
  const results = await Promise.all([...several?.folders ?? [['the cell', folder] as const]].map(async ([cell, own]) => {
    try {
      return { cell, ...await admin<{ revision: number }>(own, 'PUT', '/policy', { policy }) };
    } catch (error) {
      if (several === undefined || !(error instanceof UserError && error.code === 'UNREACHABLE')) throw error;
      await writeWhole(at(own).policy, `${policy}\n`, 0o644);
      return { cell, down: true };
    }
  }));
  if (several !== undefined) await writeWhole(at(folder).policy, `${policy}\n`, 0o644);
  const reached = results.some((one) => 'revision' in one);
  if (options.json === true) json({ ok: reached, cells: results });
  else for (const one of results) say('revision' in one ? `${one.cell}: revision ${one.revision} is in force` : `${one.cell}: does not answer; takes it when it starts`);
  return reached ? EXIT.ok : EXIT.unavailable;
}

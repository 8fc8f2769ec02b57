/** `ccc verify FILE...`: receipts, and evidence of every kind that this version knows. */
import type { Tier } from '../../attestation/claims.ts';
import { detect } from '../../attestation/detect.ts';
import { explain, Refusal, visible } from '../../attestation/refusal.ts';
import { EXIT, fail, json, note, paint, say, UserError } from '../cli/output.ts';
import { type EvidenceOptions, type EvidenceResult, prepare, readInput, type Setting, verifyEvidence } from './verify-evidence.ts';
import { receiptVerdict, type ReceiptOptions, sayReceipt } from './verify-receipt.ts';

export type VerifyOptions = EvidenceOptions & ReceiptOptions & { readonly explain?: boolean };

/** Of evidence; receipts keep 0 and 3. Stable. */
export const EVIDENCE_EXIT = { affirming: 0, warning: 10, contraindicated: 20, unverifiable: 30 } as const;
/** From good to bad: the worst of several files is the exit code. */
const SEVERITY: readonly number[] = [EXIT.ok, EVIDENCE_EXIT.warning, EVIDENCE_EXIT.contraindicated, EXIT.refused, EVIDENCE_EXIT.unverifiable];

export async function verify(files: readonly string[], options: VerifyOptions): Promise<number> {
  const inputs = await Promise.all(files.map(async (file) => ({ file, data: await readInput(file) })));
  const receipt = (data: Parameters<typeof detect>[0]): boolean => {
    if (options.kind !== undefined) return options.kind === 'receipt';
    const seen = detect(data);
    return seen === undefined ? options.owner !== undefined : seen.kind === 'receipt';
  };
  if (inputs.length === 1 && receipt(inputs[0]?.data as never)) {
    const [{ file, data } = { file: '', data: new Uint8Array() }] = inputs;
    sayReceipt(await receiptVerdict(file, data, options), options.json === true);
    return EXIT.ok;
  }
  let setting: Setting | undefined;
  try {
    if (!inputs.every(({ data }) => receipt(data))) setting = await prepare(options);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    fail(error, options.json === true);
    return EVIDENCE_EXIT.unverifiable;
  }
  const codes: number[] = [];
  const results: unknown[] = [];
  for (const { file, data } of inputs) {
    if (setting === undefined || receipt(data)) {
      const outcome = await oneReceipt(file, data, options);
      codes.push(outcome.exit);
      results.push({ file, kind: 'receipt', ...outcome.body });
      continue;
    }
    const result = await verifyEvidence(file, data, options, setting);
    const status = statusOf(result);
    codes.push(exitOf(result));
    results.push({ file: result.file, platform: result.platform, kind: result.kind, detected: result.detected, at: result.at, verdict: result.verdict, status, ...(result.bundle === undefined ? {} : { bundle: result.bundle }), reasons: result.reasons, claims: result.claims, checks: result.checks, appraisal: result.appraisal, notes: result.notes });
    if (options.json !== true) print(result, options.explain === true);
  }
  const exit = codes.reduce((worst, code) => (SEVERITY.indexOf(code) > SEVERITY.indexOf(worst) ? code : worst), 0);
  if (options.json === true) json({ ok: exit === 0, exit, results });
  return exit;
}

async function oneReceipt(file: string, data: Parameters<typeof detect>[0], options: VerifyOptions): Promise<{ exit: number; body: object }> {
  try {
    const verdict = await receiptVerdict(file, data, options);
    if (options.json !== true) {
      say(paint('bold', `${file}  receipt`));
      sayReceipt(verdict, false);
    }
    return { exit: EXIT.ok, body: { ok: true, ...verdict } };
  } catch (error) {
    if (error instanceof UserError || !(error instanceof Refusal)) throw error;
    if (options.json !== true) {
      say(paint('bold', `${file}  receipt`));
      fail(error, false);
    }
    return { exit: EXIT.refused, body: { ok: false, reasons: error.reasons } };
  }
}

function statusOf({ verdict, appraisal, claims }: EvidenceResult): Tier | 'unverifiable' {
  if (verdict === 'invalid') return 'unverifiable';
  if (appraisal !== undefined) return appraisal.status;
  // A service's word that the guest can be debugged needs no policy
  return typeof claims === 'object' && claims !== null && 'debug' in claims && claims.debug === true ? 'contraindicated' : 'none';
}

/** Nothing said against it is a warning at best. */
export const exitOf = (result: EvidenceResult): number => {
  const status = statusOf(result);
  return EVIDENCE_EXIT[status === 'none' ? 'warning' : status];
};

const COLOUR = { affirming: 'green', warning: 'yellow', none: 'yellow', contraindicated: 'red', unverifiable: 'red' } as const;
const LABEL = { affirming: 'affirming', warning: 'warning', none: 'verified, not appraised', contraindicated: 'contraindicated', unverifiable: 'not verifiable' } as const;

function print(result: EvidenceResult, whole: boolean): void {
  const status = statusOf(result);
  say(`${paint('bold', visible(result.file))}  ${result.kind === '' ? 'unknown kind' : `${result.platform}/${result.kind}`}, judged at ${result.at}`);
  say(`  ${paint(COLOUR[status], LABEL[status])}`);
  for (const reason of result.reasons) say(`  ${paint('red', 'refused')}  ${explain(reason)}`);
  if (result.claims !== undefined) for (const line of summary(result.claims)) say(`  ${line}`);
  if (result.checks.length > 0) {
    const skipped = result.checks.filter((c) => c.result !== 'pass');
    say(`  checks    ${result.checks.length - skipped.length} passed${skipped.length === 0 ? '' : `, skipped: ${skipped.map((c) => c.id).join(', ')}`}`);
    if (whole) for (const check of result.checks) say(`    ${check.result === 'pass' ? paint('green', 'pass   ') : paint('yellow', 'skipped')}  ${check.id}  ${check.evidenceRef}`);
  }
  const { appraisal } = result;
  if (appraisal !== undefined) {
    say(`  appraisal ${appraisal.status} by ${visible(appraisal.policyId)}`);
    if (whole) say(`    ${Object.entries(appraisal.vector).map(([name, value]) => `${name} ${value}`).join(', ')}`);
    for (const rule of appraisal.rules.filter((r) => whole || r.outcome !== 'pass')) {
      const [colour, word] = rule.outcome === 'pass' ? ['green', 'pass   '] as const : rule.outcome === 'lowered' ? ['yellow', 'lowered'] as const : ['red', 'failed '] as const;
      say(`    ${paint(colour, word)}  ${rule.id}${rule.code === undefined ? '' : ` ${rule.code}`}: ${visible(rule.detail)}${rule.need === undefined || rule.outcome === 'pass' ? '' : `; need ${visible(rule.need)}`}${rule.next === undefined || rule.outcome === 'pass' ? '' : `. ${rule.next}`}`);
    }
  }
  for (const text of result.notes) note(`  note: ${text}`);
}

/** The claims that people ask for first. */
function summary(claims: unknown): string[] {
  if (typeof claims !== 'object' || claims === null) return [];
  if (!('hardware' in claims) || !('measurements' in claims)) return Object.entries(claims).filter(([, v]) => ['string', 'number', 'boolean'].includes(typeof v)).map(([name, v]) => `${name.padEnd(9)} ${visible(String(v))}`);
  const c = claims as import('../../attestation/examine.ts').ExaminedClaims;
  const { hardware: h, guest: g, tcb, cloud } = c;
  return [
    `hardware  ${h.technology}${h.generation === null ? '' : ` ${h.generation}`}, ${h.signer.kind} under a ${c.anchor} root, revocation ${h.revocation.status}`,
    `tcb       ${tcb.status}${tcb.components === undefined ? '' : `, reported ${Object.entries(tcb.components.reported).map(([n, v]) => `${n} ${v}`).join(' ')}`}${tcb.advisories === undefined || tcb.advisories.length === 0 ? '' : `, ${tcb.advisories.join(' ')}`}`,
    `guest     debug ${g.debug === null ? 'not proven to be off' : g.debug ? 'on' : 'off'}, migration ${g.migratable === null ? 'not proven to be off' : g.migratable ? 'allowed' : 'off'}${g.vmpl === null ? '' : `, VMPL ${g.vmpl}`}${g.secureBoot === null ? '' : `, Secure Boot ${g.secureBoot ? 'on' : 'off'}`}`,
    `cloud     ${cloud.provider ?? 'not stated'}, origin ${cloud.origin}${cloud.region === undefined ? '' : `, ${visible(cloud.region)}`}${cloud.instanceId === undefined ? '' : `, ${visible(cloud.instanceId)}`}`,
    `freshness ${c.time.freshness}`,
    ...c.measurements.filter((m) => !/^0+$/.test(m.value)).map((m) => `${m.register.padEnd(9)} ${m.value}${m.matchedReference === undefined ? '' : `  ${paint('green', `= ${m.matchedReference}`)}`}`),
  ];
}

/**
 * The HCL report's own statement: the hardware report inside holds the digest of the runtime data, and with it the vTPM's attestation key. Whether
 * that hardware report is genuine is for the verifier of its technology (SNP: the report itself; TDX: a TD quote over the same report_data,
 * since a TDREPORT has no signature that anybody outside the machine can verify).
 */
import { type Bytes, equal, hex } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import { expectedReportData, type HclReport, parseHclReport, parseRuntimeData, type RuntimeData } from '../../formats/hcl-report.ts';
import { Judge } from '../../judge.ts';

export interface HclFacts { readonly report: HclReport; readonly runtime: RuntimeData }

const NEXT = 'Read the HCL report again inside the VM, after a restart if it stays: it is made once per boot.';

/** @returns undefined when a check failed: HCL_FORMAT, HCL_REPORT_TYPE, HCL_BINDING, HCL_KEY */
export async function verifyHcl(data: Bytes, path: string, checks: CheckList): Promise<HclFacts | undefined> {
  const judge = new Judge(checks, 'HCL');
  const report = judge.parse('FORMAT', path, () => parseHclReport(data, path));
  if (report === undefined) return undefined;
  const runtime = judge.parse('RUNTIME-DATA', `${path}.runtimeData`, () => parseRuntimeData(report.runtimeData, `${path}.runtimeData`));
  const expected = await expectedReportData(report.runtimeData);
  for (const [id, from, to] of [['BINDING', 0, 32], ['BINDING-REST', 32, 64]] as const) {
    judge.that(id, `${path}.hardwareReport.reportData[${from}..${to}]`, equal(report.reportData.subarray(from, to), expected.subarray(from, to)), () => ({ code: 'HCL_BINDING', have: hex(report.reportData.subarray(from, to)), need: hex(expected.subarray(from, to)), next: NEXT }));
  }
  return judge.failed || runtime === undefined ? undefined : { report, runtime };
}

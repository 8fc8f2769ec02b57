/** The judge of checkov's findings: what it lets through and what it does not. The scan itself runs in CI. */
import { describe, expect, test } from 'vitest';
import { type Exception, EXCEPTIONS } from '../../scripts/stacks/exceptions.ts';
import { judge, MINIMUM, parseReport, type Report } from '../../scripts/stacks/scan.ts';

const full: Report = { passed: { ...MINIMUM }, failed: [], parsingErrors: 0 };
const finding = { id: 'CKV_AWS_1', stack: 'ccc-aws-prod', resource: 'aws_x.y', title: 'a title' };
const exception: Exception = { ids: ['CKV_AWS_1'], stack: /^ccc-aws-/, resource: /aws_x/, reason: 'because of a reason', expires: '2027-01-01' };
const TODAY = '2026-12-01';

describe('verdict', () => {
  test('a full scan without findings passes', () => expect(judge(full, [], TODAY)).toMatchObject({ ok: true, problems: [] }));

  test('a finding fails until it is excepted, and counts by kind of stack', () => {
    const report = { ...full, failed: [finding] };
    expect(judge(report, [], TODAY)).toMatchObject({ ok: false, problems: ['ccc-aws-prod aws_x.y: CKV_AWS_1 a title'] });
    const verdict = judge(report, [exception], TODAY);
    expect(verdict.ok).toBe(true);
    expect(verdict.counts[0]).toEqual({ kind: 'ccc-aws', passed: MINIMUM['ccc-aws'], excepted: 1, open: 0 });
  });

  test.each<[string, Partial<Exception>]>([
    ['another id', { ids: ['CKV_AWS_2'] }], ['another stack', { stack: /^ccc-gcp-/ }], ['another resource', { resource: /aws_z/ }],
  ])('an exception of %s excepts nothing, and says so', (_, change) => {
    const { problems } = judge({ ...full, failed: [finding] }, [{ ...exception, ...change }], TODAY);
    expect(problems).toEqual([expect.stringContaining('a title'), expect.stringContaining('excepts nothing')]);
  });

  test('an exception ends on its day', () => {
    expect(judge({ ...full, failed: [finding] }, [exception], '2027-01-01').ok).toBe(true);
    expect(judge({ ...full, failed: [finding] }, [exception], '2027-01-02').ok).toBe(false);
  });

  test('of several ids each must be used', () => {
    expect(judge({ ...full, failed: [finding] }, [{ ...exception, ids: ['CKV_AWS_1', 'CKV_AWS_9'] }], TODAY).problems).toEqual([expect.stringContaining('CKV_AWS_9')]);
  });

  test.each(Object.keys(MINIMUM))('few passed checks of %s: an empty scan is no good scan', (kind) => {
    expect(judge({ ...full, passed: { ...full.passed, [kind]: (full.passed[kind] ?? 0) - 1 } }, [], TODAY).problems).toEqual([expect.stringContaining(`${kind}:`)]);
  });

  test('files that checkov could not read', () => expect(judge({ ...full, parsingErrors: 1 }, [], TODAY).problems).toEqual([expect.stringContaining('1 files')]));
});

describe('report', () => {
  const check = (id: string): object => ({ check_id: id, check_name: 'name', file_path: '/ccc-gcp-k8s-dev/cdk.tf.json', resource: 'r' });
  const run = (passed: string[], failed: string[], errors: number): object => ({ check_type: 'terraform_json', results: { passed_checks: passed.map(check), failed_checks: failed.map(check), parsing_errors: [] }, summary: { parsing_errors: errors } });

  test('one run and several', () => {
    expect(parseReport(JSON.stringify(run(['a', 'b'], ['c'], 0)))).toEqual({ passed: { 'ccc-gcp-k8s': 2 }, parsingErrors: 0, failed: [{ id: 'c', stack: 'ccc-gcp-k8s-dev', resource: 'r', title: 'name' }] });
    expect(parseReport(JSON.stringify([run(['a'], [], 1), run(['b'], [], 1)]))).toMatchObject({ passed: { 'ccc-gcp-k8s': 2 }, parsingErrors: 2 });
  });

  test('nothing scanned is nothing passed; no JSON is an error', () => {
    expect(parseReport('{"passed":0,"failed":0,"parsing_errors":0}')).toEqual({ passed: {}, failed: [], parsingErrors: 0 });
    expect(() => parseReport('Traceback')).toThrow(/no JSON/);
  });
});

test('exceptions have a reason and an end within fourteen months', () => {
  for (const e of EXCEPTIONS) {
    expect(e.reason.length, e.ids.join()).toBeGreaterThan(40);
    expect(e.expires).toMatch(/^20\d\d-\d\d-\d\d$/);
    expect(Date.parse(e.expires) - Date.now()).toBeLessThan(430 * 86_400_000);
  }
});

/** `npm run scan:stacks`: checkov over the synthesized stacks. Every finding is mended or excepted with a reason; a scan that saw little fails too. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { EXIT, json as printJson, note, say, table, UserError, fail } from '../cli/output.ts';
import { synthesizeTo } from './built.ts';
import { type Exception, EXCEPTIONS } from './exceptions.ts';

const VENV = fileURLToPath(new URL('../../.cache/scanners', import.meta.url));
const USAGE = `usage: npm run scan:stacks -- [--json] [--report FILE]

  --json         one object on standard output
  --report FILE  judges checkov's JSON of an earlier run
checkov is the one of $CHECKOV, or of .cache/scanners, which this makes: python3 -m venv .cache/scanners && .cache/scanners/bin/pip install -r scripts/stacks/requirements.txt
exit: 0 nothing unexplained, 1 findings, stale exceptions or an empty scan, 2 usage
`;

export interface Finding { readonly id: string; readonly stack: string; readonly resource: string; readonly title: string }
export interface Report { readonly passed: Readonly<Record<string, number>>; readonly failed: readonly Finding[]; readonly parsingErrors: number }

/** Checks that must have passed in the stacks of a kind: far fewer means that checkov read nothing, which it says with exit 0. About two thirds of today's. */
export const MINIMUM = { 'ccc-aws': 2_100, 'ccc-azure': 370, 'ccc-gcp': 950, 'ccc-gcp-k8s': 350, 'edge': 3 } as const;
type Kind = keyof typeof MINIMUM;
export const kindOf = (stack: string): string => stack.replace(/-(?:dev|staging|prod)$/, '');

interface Check { check_id: string; check_name: string; file_path: string; resource: string }
interface Raw { check_type: string; results: { passed_checks: Check[]; failed_checks: Check[]; parsing_errors: string[] }; summary: { parsing_errors: number } }

/** checkov's `-o json`. @throws UserError when it is not that */
export function parseReport(text: string): Report {
  let value: Raw | Raw[];
  try {
    value = JSON.parse(text) as Raw | Raw[];
  } catch {
    throw new UserError('CHECKOV_OUTPUT', `checkov gave no JSON: ${text.trim().slice(0, 200)}`, 'Run it by hand: checkov -d cdktf.out/stacks --framework terraform_json');
  }
  // With nothing to scan checkov gives a summary alone.
  const runs = [value].flat().filter((run) => run.results !== undefined);
  const stackOf = (check: Check): string => check.file_path.split('/')[1] ?? '';
  const passed: Record<string, number> = {};
  for (const check of runs.flatMap((run) => run.results.passed_checks)) passed[kindOf(stackOf(check))] = (passed[kindOf(stackOf(check))] ?? 0) + 1;
  return {
    passed, parsingErrors: runs.reduce((sum, run) => sum + Math.max(run.summary.parsing_errors, run.results.parsing_errors.length), 0),
    failed: runs.flatMap((run) => run.results.failed_checks).map((check) => ({ id: check.check_id, stack: stackOf(check), resource: check.resource, title: check.check_name })),
  };
}

const excepts = (e: Exception, f: Finding): boolean => e.ids.includes(f.id) && e.stack.test(f.stack) && e.resource.test(f.resource);

export interface Verdict { readonly ok: boolean; readonly counts: readonly { kind: string; passed: number; excepted: number; open: number }[]; readonly problems: readonly string[] }

/** `today` as ISO date. */
export function judge(report: Report, exceptions: readonly Exception[], today: string): Verdict {
  const open = report.failed.filter((f) => !exceptions.some((e) => today <= e.expires && excepts(e, f)));
  const problems = [
    ...(report.parsingErrors > 0 ? [`checkov could not read ${report.parsingErrors} files`] : []),
    ...Object.entries(MINIMUM).filter(([kind, least]) => (report.passed[kind] ?? 0) < least).map(([kind, least]) => `${kind}: ${report.passed[kind] ?? 0} checks passed, at least ${least} are expected: did checkov read the stacks?`),
    ...open.map((f) => `${f.stack} ${f.resource}: ${f.id} ${f.title}`),
    ...exceptions.flatMap((e) => e.ids.filter((id) => !report.failed.some((f) => f.id === id && excepts(e, f))).map((id) => `exception ${id} ${String(e.stack)} ${String(e.resource)} excepts nothing: take it out`)),
  ];
  const counts = (Object.keys(MINIMUM) as Kind[]).map((kind) => {
    const mine = report.failed.filter((f) => kindOf(f.stack) === kind);
    const left = open.filter((f) => kindOf(f.stack) === kind).length;
    return { kind, passed: report.passed[kind] ?? 0, excepted: mine.length - left, open: left };
  });
  return { ok: problems.length === 0, counts, problems };
}

function checkov(): string {
  const own = process.env['CHECKOV'] ?? join(VENV, 'bin', 'checkov');
  if (!existsSync(own)) throw new UserError('CHECKOV_MISSING', `There is no checkov at ${own}.`, 'python3 -m venv .cache/scanners && .cache/scanners/bin/pip install -r scripts/stacks/requirements.txt');
  return own;
}

/** checkov reads nothing of a file whose `terraform` block asks for a version. */
function withoutVersion(file: string): void {
  const { terraform, ...rest } = JSON.parse(readFileSync(file, 'utf8')) as { terraform: Record<string, unknown> };
  const { required_version: _, ...kept } = terraform;
  writeFileSync(file, JSON.stringify({ ...rest, terraform: kept }, null, 2));
}

function scan(): string {
  const program = checkov();
  const root = mkdtempSync(join(tmpdir(), 'ccc-scan-'));
  try {
    synthesizeTo(root);
    for (const stack of readdirSync(join(root, 'stacks'))) withoutVersion(join(root, 'stacks', stack, 'cdk.tf.json'));
    note('checkov reads fifteen stacks: about a quarter of a minute');
    const { stdout, stderr, error } = spawnSync(program, ['-d', 'stacks', '--framework', 'terraform_json', '--skip-download', '--compact', '-o', 'json'], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 29, timeout: 600_000, env: { ...process.env, LOG_LEVEL: 'CRITICAL' } });
    if (error !== undefined || stdout.trim() === '') throw new UserError('CHECKOV_FAILED', `checkov did not run: ${error?.message ?? stderr.trim().slice(-300)}`, `Run it by hand: ${program} --version`);
    return stdout;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function main(): number {
  let options;
  try {
    options = parseArgs({ options: { json: { type: 'boolean' }, report: { type: 'string' }, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (error) {
    note(`${(error as Error).message}\n${USAGE}`);
    return EXIT.usage;
  }
  if (options.help) { say(USAGE); return EXIT.ok; }
  try {
    const verdict = judge(parseReport(options.report === undefined ? scan() : readFileSync(options.report, 'utf8')), EXCEPTIONS, new Date().toISOString().slice(0, 10));
    if (options.json) printJson(verdict);
    else say(table(['stacks', 'passed', 'excepted', 'open'], verdict.counts.map((c) => [c.kind, String(c.passed), String(c.excepted), String(c.open)])));
    for (const problem of verdict.problems) note(problem);
    return verdict.ok ? EXIT.ok : EXIT.failed;
  } catch (error) {
    return fail(error, options.json === true);
  }
}

if (import.meta.main) process.exitCode = main();

/** `npm test`: type check, then every test; the last line counts them. Arguments go to Vitest. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

function run(script: string, args: string[], env: NodeJS.ProcessEnv = {}): number {
  const { status } = spawnSync(process.execPath, [join(ROOT, 'node_modules', script), ...args], { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } });
  return status ?? 1;
}

interface Report { numPassedTests: number; numFailedTests: number; numPendingTests: number; numFailedTestSuites: number; success: boolean }

const typed = run('typescript/bin/tsc', ['-p', '.']);
if (typed !== 0) console.error('The type check failed.');
const folder = mkdtempSync(join(tmpdir(), 'ccc-test-'));
const reportFile = join(folder, 'report.json');
const tested = run('vitest/vitest.mjs', ['run', ...process.argv.slice(2)], { CCC_TEST_JSON: reportFile });
let report: Partial<Report> = {};
try {
  report = JSON.parse(readFileSync(reportFile, 'utf8')) as Report;
} catch { /* counted as a failure below */ }
rmSync(folder, { recursive: true, force: true });

const passed = report.numPassedTests ?? 0;
// A file that does not even load has no failed test, yet it fails.
const broken = Math.max(report.numFailedTests ?? 0, tested === 0 ? 0 : 1) + (typed === 0 ? 0 : 1);
const skipped = report.numPendingTests ?? 0;
const failed = passed === 0 ? Math.max(1, broken) : broken;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(failed === 0 ? 0 : 1);

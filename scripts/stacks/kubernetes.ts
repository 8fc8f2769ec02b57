/** `npm run scan:kubernetes`: the Kubernetes objects of every stack against the schemas of the API, unknown fields being errors. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT, note, say, UserError, fail } from '../cli/output.ts';
import { synthesizeTo } from './built.ts';
import type { Json } from './hollow.ts';
import { manifestsOf } from './manifests.ts';

const VERSION = '1.34';
const HERE = fileURLToPath(new URL('.', import.meta.url));
const PYTHON = process.env['SCANNERS_PYTHON'] ?? join(HERE, '../../.cache/scanners/bin/python');
/** Custom resources of GKE and of the Gateway API: no schema of Kubernetes has them. */
const CUSTOM = /^(?:gateway\.networking\.k8s\.io|networking\.gke\.io|cloud\.google\.com)\//;

function main(): number {
  const root = mkdtempSync(join(tmpdir(), 'ccc-kubernetes-'));
  try {
    synthesizeTo(root);
    const all = readdirSync(join(root, 'stacks')).filter((stack) => stack.includes('-k8s-')).sort()
      .flatMap((stack) => manifestsOf(JSON.parse(readFileSync(join(root, 'stacks', stack, 'cdk.tf.json'), 'utf8')) as Json).map((m) => ({ ...m, stack })));
    const { status, stdout, stderr, error } = spawnSync(PYTHON, [join(HERE, 'kubernetes.py'), VERSION], { input: JSON.stringify(all.map((m) => m.object)), encoding: 'utf8', maxBuffer: 1 << 28 });
    if (status !== 0) throw new UserError('VALIDATOR_MISSING', `kubernetes-validate did not run: ${(error?.message ?? stderr).trim().split('\n').at(-1)}`, 'python3 -m venv .cache/scanners && .cache/scanners/bin/pip install -r scripts/stacks/requirements.txt');
    const said = JSON.parse(stdout) as (string | null)[];
    const custom = all.filter((m, i) => said[i] === 'no schema' && CUSTOM.test(String(m.object['apiVersion'])));
    const problems = all.flatMap((m, i) => (said[i] === null || custom.includes(m) ? [] : [`${m.stack} ${m.address}: ${said[i] ?? 'not judged'}`]));
    for (const problem of problems) note(problem);
    const judged = all.length - custom.length;
    say(`${judged} objects judged by the schemas of Kubernetes ${VERSION}, ${problems.length} wrong; ${custom.length} custom resources have none`);
    return problems.length === 0 && judged >= 100 ? EXIT.ok : EXIT.failed;
  } catch (error) {
    return fail(error, false);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

if (import.meta.main) process.exitCode = main();

/** cdktf-cli from the checkout, on this Node: it synthesizes the app of cdktf.json, and a type error in a stack stops it. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const tree = mkdtempSync(join(tmpdir(), 'ccc-cli-'));

/** What the app reads, in a folder of its own: another run may be synthesizing in the checkout. */
beforeAll(() => {
  for (const part of ['cdktf.json', 'tsconfig.json', 'package.json', 'measurements.lock.json', 'promotions.json', 'modules', 'stacks', 'attestation']) cpSync(join(ROOT, part), join(tree, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
});
afterAll(() => rmSync(tree, { recursive: true, force: true }));

function cdktf(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(tree, 'node_modules/cdktf-cli/bundle/bin/cdktf.js'), ...args], {
    cwd: tree, encoding: 'utf8', timeout: 110_000, env: { ...process.env, PATH: join(tree, 'node_modules/.bin') + delimiter + (process.env['PATH'] ?? ''), CHECKPOINT_DISABLE: '1', CI: '1', NODE_OPTIONS: '' },
  });
  return { status, output: `${stdout}${stderr}` };
}

test('cdktf synth writes every stack', { timeout: 120_000 }, () => {
  const { status, output } = cdktf('synth');
  expect(status, output).toBe(0);
  const stacks = readdirSync(join(tree, 'cdktf.out', 'stacks'));
  expect(stacks).toHaveLength(15);
  for (const stack of stacks) expect(JSON.parse(readFileSync(join(tree, 'cdktf.out', 'stacks', stack, 'cdk.tf.json'), 'utf8'))).toHaveProperty('terraform.backend');
});

test('a type error in a stack fails the synthesis and writes nothing', { timeout: 120_000 }, () => {
  rmSync(join(tree, 'cdktf.out'), { recursive: true, force: true });
  const file = join(tree, 'stacks', 'edge.ts');
  writeFileSync(file, readFileSync(file, 'utf8').replace("healthPath: '/v1/health'", 'healthPath: 17'));
  const { status, output } = cdktf('synth');
  expect(status).not.toBe(0);
  expect(output).toContain('TS2322');
  expect(existsSync(join(tree, 'cdktf.out', 'stacks', 'edge-prod'))).toBe(false);
});

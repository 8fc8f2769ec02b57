/**
 * The way out of CDKTF, proven: the same sources synthesize under CDK Terrain (`cdktn`, its maintained fork) when package.json gives the name `cdktf` to it.
 * Nothing of the checkout changes: the move is made in a folder beside it, where `cdktf` is the fork and all else is what is installed here.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from '../cli/output.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const TERRAIN_VERSION = '0.24.0';

export interface Comparison {
  readonly stacks: number;
  /** Stacks whose JSON differs in more than the version of the core. */
  readonly different: readonly string[];
  readonly versions: { readonly before: string; readonly after: string };
}

/** @throws UserError when the fork cannot be fetched or does not synthesize */
export function compareWithTerrain(say: (text: string) => void = () => {}): Comparison {
  const folder = mkdtempSync(join(tmpdir(), 'ccc-terrain-'));
  try {
    say(`fetching cdktn ${TERRAIN_VERSION}`);
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> };
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies: { cdktf: `npm:cdktn@${TERRAIN_VERSION}`, constructs: manifest.devDependencies['constructs'] } }));
    run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], folder, 'The fork could not be fetched from the npm registry.');
    for (const name of ['zod', '@cdktf/provider-aws', '@cdktf/provider-azurerm', '@cdktf/provider-azuread', '@cdktf/provider-google', '@cdktf/provider-kubernetes']) {
      mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true });
      symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name));
    }
    for (const part of ['modules', 'stacks', 'attestation', 'measurements.lock.json', 'promotions.json']) cpSync(join(ROOT, part), join(folder, part), { recursive: true });

    say('synthesizing with both');
    const before = synthesized(ROOT, join(folder, 'before'), []);
    // Links are not followed, so that the providers find the fork beside them.
    const after = synthesized(folder, join(folder, 'after'), ['--preserve-symlinks', '--preserve-symlinks-main']);
    const versions = { before: versionOf(before), after: versionOf(after) };
    const names = [...new Set([...before.keys(), ...after.keys()])].sort();
    // The same JSON, whatever its white space: the two write an empty object differently.
    const blank = (text: string | undefined, version: string): string => JSON.stringify(JSON.parse((text ?? 'null').replaceAll(`"version": "${version}"`, '"version": ""')));
    return { stacks: names.length, different: names.filter((name) => blank(before.get(name), versions.before) !== blank(after.get(name), versions.after)), versions };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function synthesized(root: string, outdir: string, flags: readonly string[]): Map<string, string> {
  run(process.execPath, [...flags, 'stacks/main.ts'], root, 'The stacks did not synthesize.', { CDKTF_OUTDIR: outdir });
  return new Map(readdirSync(join(outdir, 'stacks')).map((name) => [name, readFileSync(join(outdir, 'stacks', name, 'cdk.tf.json'), 'utf8')]));
}

function versionOf(stacks: Map<string, string>): string {
  for (const text of stacks.values()) {
    const version = (JSON.parse(text) as { '//'?: { metadata?: { version?: string } } })['//']?.metadata?.version;
    if (version !== undefined) return version;
  }
  throw new UserError('SYNTHESIS_EMPTY', 'No stack was synthesized.', 'Run: npx cdktf synth');
}

function run(command: string, args: readonly string[], cwd: string, failed: string, env: Record<string, string> = {}): void {
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...process.env, ...env } });
  if (status !== 0) throw new UserError('STACKS_FAILED', `${failed} ${(error?.message ?? stderr).trim().split('\n').slice(-5).join(' ')}`, `Run by hand: ${command} ${args.join(' ')}`);
}

/** What the figures were taken on. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../../workloads/protocol/measure.ts';

const versionOf = (name: string): string => (JSON.parse(readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8')) as { version: string }).version;

export const load = (): string => loadavg().map((n) => n.toFixed(2)).join(' ');

function commit(): string {
  const git = (...args: string[]) => spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' }).stdout.trim();
  const changed = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!docs/figures.md');
  return `${git('rev-parse', '--short=12', 'HEAD')}${changed === '' ? '' : ' with uncommitted changes'}`;
}

/** Label and value. @param postgres as the server says it */
export function machine(postgres: string): [string, string][] {
  const processors = cpus();
  return [
    ['CPU', `${processors[0]?.model ?? 'unknown'}, ${processors.length} cores`],
    ['memory', `${(totalmem() / 2 ** 30).toFixed(1)} GiB`],
    ['system', `${process.platform}-${process.arch}`],
    ['Node', process.versions.node],
    ['OpenSSL', process.versions.openssl],
    ['PostgreSQL', postgres],
    ['onnxruntime-node', versionOf('onnxruntime-node')],
    ['sharp', versionOf('sharp')],
    ['commit', commit()],
  ];
}

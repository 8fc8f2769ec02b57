/** The command line as a user meets it: a real process each. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../workloads/protocol/measure.ts';

let folder: string;
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'ccc-cli-')); });
afterAll(() => rm(folder, { recursive: true, force: true }));

const ccc = (...args: string[]) => execa(process.execPath, [join(ROOT, 'scripts/ccc.ts'), ...args], { reject: false, env: { CCC_HOME: folder, CCC_URL: '', NO_COLOR: '' }, extendEnv: true });

const COMMANDS = [['up'], ['demo'], ['count'], ['jobs'], ['verify'], ['tenant'], ['tenant', 'add'], ['key'], ['key', 'add'], ['page'], ['model'], ['model', 'check'], ['doctor']];

describe.concurrent('ccc', () => {
  it.each(COMMANDS)('%s %s has --help on standard output', async (...command: (string | undefined)[]) => {
    const { exitCode, stdout, stderr } = await ccc(...command.filter((c) => c !== undefined) as string[], '--help');
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^Usage: ccc /);
  });

  it.each([
    ['an unknown command', ['meow']],
    ['no picture', ['count']],
    ['a wrong number', ['up', '--port', '99999']],
    ['a tenant without its zone', ['tenant', 'add', 'acme']],
    ['an unknown scope', ['key', 'add', 'acme', '--scope', 'everything']],
    ['a client that is not configured', ['jobs']],
    ['a picture that is not there', ['demo', 'no-such-picture.jpg']],
    ['a receipt without a pinned owner', ['verify', 'receipt.json']],
  ])('%s is a usage error: exit 2, nothing on standard output, a next step', async (_, args) => {
    const { exitCode, stdout, stderr } = await ccc(...args);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/next:|ccc help/);
  });

  it('says with --json what went wrong as one document', async () => {
    const { exitCode, stdout } = await ccc('jobs', '--json');
    expect(exitCode).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: 'NOT_CONFIGURED' } });
  });

  it('answers 4 where no cell runs', async () => {
    const { exitCode, stderr } = await ccc('tenant', 'add', 'acme', '--zone', 'local');
    expect(exitCode).toBe(4);
    expect(stderr).toContain('UNREACHABLE');
  });

  it('refuses a receipt that is none with exit 3', async () => {
    const path = join(folder, 'not-a-receipt.json');
    await writeFile(path, '{"v":"ccc-receipt/v1"}');
    const { exitCode, stderr } = await ccc('verify', path, '--owner', 'A'.repeat(43));
    expect(exitCode).toBe(3);
    expect(stderr).toContain('RECEIPT_FORMAT');
  });

  it('checks this machine and paints nothing when piped', async () => {
    const { stdout } = await ccc('doctor', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, cell: false });
    expect((await ccc('doctor')).stdout).not.toContain('\u001b[');
  });

  // A pipe whose reader is gone before anything is written, so that the first write finds nobody.
  it.each([
    ['an answer', '--help >&3'],
    ['JSON', 'jobs --json >&3'],
    ['what is said beside it', 'jobs >/dev/null 2>&3'],
  ])('ends quietly, with 141, when nobody reads %s', async (_, call) => {
    const { exitCode, stdout, stderr } = await execa('bash', ['-c', `exec 3> >(exit 0); wait $!; "$0" "$1" ${call}`, process.execPath, join(ROOT, 'scripts/ccc.ts')], { reject: false, env: { CCC_HOME: folder, CCC_URL: '', NO_COLOR: '' }, extendEnv: true });
    expect([exitCode, stdout, stderr]).toEqual([141, '', expect.not.stringMatching(/EPIPE|node:/)]);
  });
});

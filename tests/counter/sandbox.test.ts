import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createSandbox, type Sandbox, type SandboxOptions, type WorkResult } from '../../workloads/counter/sandbox.ts';
import { startProcess } from '../../workloads/counter/sandbox-process.ts';
import { DEFAULT_MODEL, ensureDefaultModel } from '../../workloads/detectors/model.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { gradient, pngBomb } from './pictures.ts';

const LINUX = process.platform === 'linux';
const program = fileURLToPath(new URL('./fixtures/child.ts', import.meta.url));
const open: Sandbox[] = [];
async function sandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const made = await createSandbox(options);
  open.push(made);
  return made;
}
afterEach(async () => { await Promise.all(open.splice(0).map((s) => s.close())); });
/** The process is gone, or a zombie that nobody has waited for yet. */
const gone = (pid: number): boolean => {
  try {
    return / [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return !LINUX ? (() => { try { process.kill(pid, 0); return false; } catch { return true; } })() : true;
  }
};

describe('the sandbox with the real workload', () => {
  let folder: string;
  let cat: Buffer;
  let modelFile: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ccc-sandbox-'));
    modelFile = await ensureDefaultModel();
    cat = (await demoPictures()).find((p) => p.file === 'cat-view-04.jpg')?.bytes as Buffer;
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('counts, takes the plaintext, and goes on after hostile files', async () => {
    const s = await sandbox();
    expect(s.modelDigest).toBe(DEFAULT_MODEL.digest);
    const mine = Buffer.from(cat);
    const result = await s.run(mine);
    expect(result).toMatchObject({ count: 1, method: 'object-detector', model: { digest: DEFAULT_MODEL.digest, threshold: 0.5 }, image: { width: 498, height: 330 } });
    expect(mine.every((byte) => byte === 0)).toBe(true);
    const { pid } = s;
    await expect(s.run(Buffer.alloc(0))).rejects.toMatchObject({ name: 'WorkRejected', code: 'IMAGE_EMPTY' });
    await expect(s.run(Buffer.from('hello'))).rejects.toMatchObject({ name: 'WorkRejected', code: 'IMAGE_FORMAT' });
    await expect(s.run(Buffer.concat([cat, Buffer.from('PK')]))).rejects.toMatchObject({ name: 'WorkRejected', code: 'IMAGE_TRAILING' });
    await expect(s.run(Buffer.alloc(20 * 2 ** 20, 0x55))).rejects.toMatchObject({ name: 'WorkRejected', code: 'IMAGE_FORMAT' });
    expect((await s.run(Buffer.from(cat))).count).toBe(1);
    expect(s.pid).toBe(pid);
  });
  it('has two in hand: answers in their order, and a bomb behind a picture does not hurt it', async () => {
    const s = await sandbox();
    expect(s.atOnce).toBe(2);
    const { pid } = s;
    const files = [cat, pngBomb(50_000, 50_000), cat, Buffer.from('hello'), await gradient(400, 300).jpeg().toBuffer(), cat];
    const order: number[] = [];
    const ends = await Promise.allSettled(files.map((file, i) => s.run(Buffer.from(file)).finally(() => order.push(i))));
    expect(ends.map((end) => (end.status === 'fulfilled' ? end.value.count : (end.reason as { code: string }).code))).toEqual([1, 'IMAGE_TOO_LARGE', 1, 'IMAGE_FORMAT', 0, 1]);
    expect(order).toEqual([0, 1, 2, 3, 4, 5]);
    expect(s.pid).toBe(pid);
  });
  it.skipIf(!LINUX)('serves the same picture from a fresh child when the first is killed in the middle of it', async () => {
    const s = await sandbox();
    const first = s.pid as number;
    process.kill(first, 'SIGSTOP');
    const counting = s.run(Buffer.from(cat));
    process.kill(first, 'SIGKILL');
    expect((await counting).count).toBe(1);
    expect(s.pid).not.toBe(first);
    process.kill(s.pid as number, 'SIGKILL'); // while it is idle
    expect((await s.run(Buffer.from(cat))).count).toBe(1);
  });
  it('refuses to start without its model or with another', async () => {
    await expect(createSandbox({ modelFile: join(folder, 'none.onnx') })).rejects.toMatchObject({ name: 'SandboxError', code: 'MODEL_MISSING' });
    const altered = await readFile(modelFile);
    altered[1000] = (altered[1000] as number) ^ 1;
    await writeFile(join(folder, 'altered.onnx'), altered);
    await expect(createSandbox({ modelFile: join(folder, 'altered.onnx') })).rejects.toMatchObject({ name: 'SandboxError', code: 'MODEL_ALTERED' });
  });
  it.skipIf(!LINUX)('ends its child when it is killed itself', async () => {
    const code = `import { createSandbox } from ${JSON.stringify(new URL('../../workloads/counter/sandbox.ts', import.meta.url).href)}; console.log((await createSandbox()).pid);`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = Number(String(await new Promise<Buffer>((done) => parent.stdout.once('data', done))));
    expect(gone(pid)).toBe(false);
    parent.kill('SIGKILL');
    await vi.waitFor(() => expect(gone(pid)).toBe(true), 60_000);
  });
});

describe('a child that misbehaves', () => {
  const say = (s: Sandbox, text: string): Promise<WorkResult> => s.run(Buffer.from(text));
  const child = (options: SandboxOptions = {}) => sandbox({ program, modelFile: 'any', ...options });
  const rejected = (code: string) => ({ name: 'WorkRejected', code });
  const ours = (code: string) => ({ name: 'SandboxError', code });

  it('is asked in order, one picture at a time, in one process', async () => {
    const s = await child();
    expect((await Promise.all(Array.from({ length: 5 }, () => say(s, 'n')))).map((r) => r.count)).toEqual([1, 2, 3, 4, 5]);
  });
  it.each(['crash', 'hang', 'stall'])('%s: tried once more in a fresh process, then rejected; the next picture works', async (how) => {
    const s = await child({ timeoutMs: how === 'crash' ? 20_000 : 250 });
    const first = s.pid;
    await say(s, 'n');
    await expect(say(s, how)).rejects.toMatchObject(rejected(how === 'crash' ? 'WORK_CRASHED' : 'WORK_TIMEOUT'));
    expect((await say(s, 'n')).count).toBe(1); // asked for its first: a fresh process
    expect(s.pid).not.toBe(first);
  });
  it.skipIf(!LINUX)('eats memory: killed at the cap', async () => {
    const s = await child({ maxRssBytes: 250 * 2 ** 20 });
    await expect(say(s, 'eat')).rejects.toMatchObject(rejected('WORK_MEMORY'));
    expect((await say(s, 'n')).count).toBe(1);
  });
  it.each(['junk', 'many', 'flood', 'invent', 'othermodel', 'extra', 'badcode'])('%s: not a result, not the picture\'s fault; the next picture works', async (how) => {
    const s = await child();
    await expect(say(s, how)).rejects.toMatchObject(ours('SANDBOX_PROTOCOL'));
    expect((await say(s, 'n')).count).toBe(1);
  });
  it('speaks when nobody asked: killed, and what it said is not the next answer', async () => {
    const s = await child();
    const { pid } = s;
    expect((await say(s, 'late')).count).toBe(1);
    await vi.waitFor(() => expect(s.pid).toBeUndefined(), 60_000);
    expect((await say(s, 'n')).count).toBe(1);
    expect(s.pid).not.toBe(pid);
  });
  it('passes on whose fault it was', async () => {
    const s = await child();
    await expect(say(s, 'bad')).rejects.toMatchObject(rejected('IMAGE_CORRUPT'));
    expect((await say(s, 'n')).count).toBe(2);
    await expect(say(s, 'ours')).rejects.toMatchObject(ours('WORK_FAILED'));
    expect((await say(s, 'n')).count).toBe(1);
  });
  it('prints to nowhere', async () => {
    const [out, err] = [vi.spyOn(process.stdout, 'write'), vi.spyOn(process.stderr, 'write')];
    const s = await child();
    expect((await say(s, 'print')).count).toBe(1);
    expect([...out.mock.calls, ...err.mock.calls].join()).not.toContain('canary');
    vi.restoreAllMocks();
  });
  it('fails to start, or never says ready', async () => {
    await expect(createSandbox({ program, modelFile: 'unready' })).rejects.toMatchObject(ours('MODEL_MISSING'));
    await expect(createSandbox({ program, modelFile: 'never-ready', startTimeoutMs: 300 })).rejects.toMatchObject(ours('SANDBOX_START'));
    await expect(createSandbox({ program: join(tmpdir(), 'no-such-program.ts') })).rejects.toMatchObject(ours('SANDBOX_START'));
  });
  it('has another model after a crash: refused', async () => {
    const s = await child({ modelFile: 'fickle' });
    expect((await say(s, 'n')).count).toBe(1);
    await expect(say(s, 'crash')).rejects.toMatchObject(ours('SANDBOX_MODEL'));
  });
  it('takes more at once than the sandbox allows: refused', async () => {
    await expect(createSandbox({ program, modelFile: 'too-many' })).rejects.toMatchObject(ours('SANDBOX_START'));
  });
  it('answers under another number: not a result', async () => {
    const s = await child();
    await expect(say(s, 'misnumber')).rejects.toMatchObject(ours('SANDBOX_PROTOCOL'));
  });
  it('is not started again after close', async () => {
    const s = await child();
    const { pid } = s;
    const running = say(s, 'stall');
    const settled = expect(running).rejects.toMatchObject(ours('SANDBOX_CLOSED'));
    await new Promise((done) => setImmediate(done));
    await s.close();
    await settled;
    await expect(say(s, 'n')).rejects.toMatchObject(ours('SANDBOX_CLOSED'));
    expect(gone(pid as number)).toBe(true);
  });
});

describe('a child with two pictures in hand', () => {
  const say = (s: Sandbox, text: string): Promise<WorkResult> => s.run(Buffer.from(text));
  const child = (options: SandboxOptions = {}) => sandbox({ program, modelFile: 'two', ...options });
  /** What became of them, in their order: a count or a code. */
  const all = async (s: Sandbox, ...texts: string[]) =>
    (await Promise.allSettled(texts.map((text) => say(s, text)))).map((r) => (r.status === 'fulfilled' ? r.value.count : (r.reason as { code: string }).code));

  it('has the second one before the first is answered, and a third only afterwards', async () => {
    const s = await child();
    expect(s.atOnce).toBe(2);
    expect(await all(s, 'wait', 'n', 'n', 'n')).toEqual([1, 2, 3, 4]);
    const one = await sandbox({ program, modelFile: 'any', timeoutMs: 250 });
    expect(one.atOnce).toBe(1);
    expect(await all(one, 'wait', 'n')).toEqual(['WORK_TIMEOUT', 1]);
  });
  it.each([['crash', 'WORK_CRASHED'], ['hang', 'WORK_TIMEOUT'], ['stall', 'WORK_TIMEOUT']])('second: %s. It alone is rejected, each tried by itself in a fresh process', async (how, code) => {
    const s = await child({ timeoutMs: how === 'crash' ? 20_000 : 600 });
    const { pid } = s;
    expect(await all(s, 'patient', how, 'n')).toEqual([1, code, 1]);
    expect(s.pid).not.toBe(pid);
  });
  it('first: crash. The second is counted', async () => {
    expect(await all(await child(), 'crash', 'patient')).toEqual(['WORK_CRASHED', 1]);
  });
  it.skipIf(!LINUX)('second: a bomb. The memory cap is that of the process, the bomb alone is rejected', async () => {
    expect(await all(await child({ maxRssBytes: 250 * 2 ** 20 }), 'patient', 'eat', 'n')).toEqual([1, 'WORK_MEMORY', 1]);
  });
  it('has the whole time for each picture: the clock of the second starts when the first is answered', async () => {
    expect(await all(await child({ timeoutMs: 1_700 }), 'nap', 'nap')).toEqual([1, 1]);
  });
  it.each(['junk', 'flood', 'misnumber'])('second: %s. Its fault, not the first one\'s', async (how) => {
    expect(await all(await child(), 'patient', how)).toEqual([1, 'SANDBOX_PROTOCOL']);
  });
  it('answers the second before the first: neither answer is taken, both are counted anew', async () => {
    const s = await child();
    const { pid } = s;
    expect(await all(s, 'patient', 'n')).toEqual([1, 1]);
    expect(s.pid).not.toBe(pid);
  });
  it('answers the first twice: the second answer is nobody\'s', async () => {
    const [first, second] = await all(await child(), 'many', 'n');
    // The first is believed when its second answer comes later, and is the fault of the process when both come together.
    expect([1, 'SANDBOX_PROTOCOL']).toContain(first);
    expect(second).toBe(1);
  });
  it('fails for one: the other is counted in a fresh process', async () => {
    expect(await all(await child(), 'ours', 'patient')).toEqual(['WORK_FAILED', 1]);
  });
  it('says whose a death can be: of a picture without company, in a process that nobody killed for another\'s sake', async () => {
    const caps = { timeoutMs: 20_000, maxRssBytes: 2 ** 40 };
    const started = async () => {
      const one = startProcess(program, 'two');
      expect(await one.ask(undefined, caps)).toMatchObject({ message: { kind: 'ready', at_once: 2 } });
      expect([one.alive, one.fresh]).toEqual([true, true]);
      return one;
    };
    const death = (mine: boolean) => ({ death: 'crashed', mine });
    const alone = await started();
    expect([await alone.ask(Buffer.from('crash'), caps), alone.fresh]).toEqual([death(true), false]);
    expect(await alone.ask(Buffer.from('n'), caps)).toEqual(death(false)); // it never got there
    const company = await started();
    expect(await Promise.all([company.ask(Buffer.from('n'), caps), company.ask(Buffer.from('crash'), caps)])).toMatchObject([{ message: { kind: 'result' } }, death(false)]);
    const killed = await started();
    const stalled = killed.ask(Buffer.from('stall'), caps);
    await killed.kill();
    expect([await stalled, killed.alive]).toEqual([death(false), false]);
  });
  it('close: both end, nothing is started again', async () => {
    const s = await child();
    const { pid } = s;
    const ended = all(s, 'stall', 'stall', 'n');
    await new Promise((done) => setImmediate(done));
    await s.close();
    expect(await ended).toEqual(['SANDBOX_CLOSED', 'SANDBOX_CLOSED', 'SANDBOX_CLOSED']);
    expect(gone(pid as number)).toBe(true);
    expect(s.pid).toBeUndefined();
  });
});

describe('what the child may do', () => {
  let s: Sandbox;
  beforeAll(async () => { s = await createSandbox({ program, modelFile: 'any' }); });
  afterAll(() => s.close());
  const tried = async (text: string) => (await s.run(Buffer.from(text))).count;

  it('sees an empty environment', async () => expect(await tried('env')).toBe(0));
  it('cannot write, not even its own code', async () => {
    expect(await tried('write')).toBe(1);
    expect(existsSync('/tmp/ccc-sandbox-escaped')).toBe(false);
    expect(await tried('writecode')).toBe(1);
  });
  it('reads its code and nothing outside: no system files, no data folder inside the checkout', async () => {
    expect(await tried(`read ${fileURLToPath(new URL('../../workloads/counter/workload.ts', import.meta.url))}`)).toBe(0);
    expect(await tried('read /etc/hostname')).toBe(1);
    expect(await tried(`read ${fileURLToPath(new URL('../../.ccc/owner/owner.jwk', import.meta.url))}`)).toBe(1);
    expect(await tried(`read ${fileURLToPath(new URL('../../.git/config', import.meta.url))}`)).toBe(1);
  });
  it('starts no processes, no workers, and makes no code of strings', async () => {
    expect(await tried('spawn')).toBe(1);
    expect(await tried('worker')).toBe(1);
    expect(await tried('evaluate')).toBe(1);
  });
});

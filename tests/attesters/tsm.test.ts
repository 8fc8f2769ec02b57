/**
 * TSM reports against a tree that behaves as the kernel's does (drivers/virt/coco/tsm.c): attributes appear with the folder, a write counts when it is
 * taken and is lost silently when it is not, reading outblob makes the report of what was written last, and a driver may be busy at any step.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, fromHex, hex, utf8 } from '../../attestation/bytes.ts';
import { readCertificateTable } from '../../attestation/devices/snp-certificates.ts';
import { kernelFiles, type TsmFiles, tsmReport } from '../../attestation/devices/tsm-configfs.ts';
import { u32le } from '../../attestation/platforms/simulated/binary.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { filled, refused } from '../attestation/support.ts';

const ROOT = '/config/tsm/report';
const errno = (code: string): Error => Object.assign(new Error(code), { code });

interface Entry { inblob: Bytes | null; generation: number; report: Bytes | null; made: number }
interface TreeOptions {
  readonly provider?: string;
  readonly auxiliary?: Bytes | null;
  /** Called before each step; may throw, and may change the entry: another writer. */
  readonly before?: (step: string, entry: Entry | undefined, tree: Tree) => void;
  readonly make?: (inblob: Bytes) => Bytes;
}

class Tree implements TsmFiles {
  readonly entries = new Map<string, Entry>();
  readonly steps: string[] = [];
  readonly options: TreeOptions;
  folders = 0;
  constructor(options: TreeOptions = {}) {
    this.options = options;
  }
  #step(step: string, folder: string): Entry | undefined {
    this.steps.push(step);
    this.options.before?.(step, this.entries.get(folder), this);
    return this.entries.get(folder);
  }
  async mkdir(path: string): Promise<void> {
    this.#step('mkdir', path);
    if (dirname(path) !== ROOT) throw errno('ENOENT');
    if (this.entries.has(path)) throw errno('EEXIST');
    this.folders++;
    this.entries.set(path, { inblob: null, generation: 0, report: null, made: -1 });
  }
  async rmdir(path: string): Promise<void> {
    this.#step('rmdir', path);
    if (!this.entries.delete(path)) throw errno('ENOENT');
  }
  async write(path: string, data: Bytes): Promise<void> {
    const entry = this.#step(`write ${basename(path)}`, dirname(path));
    if (entry === undefined || basename(path) !== 'inblob') throw errno('EACCES');
    // Lost without an error: the file was closed already
    if (data.length !== 64) return;
    entry.inblob = bytes(data);
    entry.generation++;
  }
  async read(path: string): Promise<Bytes> {
    const name = basename(path);
    const entry = this.#step(`read ${name}`, dirname(path));
    if (entry === undefined) throw errno('ENOENT');
    if (name === 'provider') return utf8(`${this.options.provider ?? 'sev_guest'}\n`);
    if (name === 'generation') return utf8(`${entry.generation}\n`);
    if (entry.inblob === null) throw errno('EINVAL');
    if (entry.made !== entry.generation) [entry.report, entry.made] = [(this.options.make ?? ((data) => concat(utf8('report over '), data)))(entry.inblob), entry.generation];
    if (name === 'outblob') return entry.report as Bytes;
    if (name === 'auxblob' && this.options.auxiliary !== null) return this.options.auxiliary ?? new Uint8Array();
    throw errno(name === 'auxblob' ? 'ENOENT' : 'EACCES');
  }
}

const run = (tree: TsmFiles, data = filled(64, 1)) => tsmReport(data, { root: ROOT, files: tree, wait: async () => {} });
const over = (data: Bytes): string => hex(concat(utf8('report over '), data));

describe('TSM reports', () => {
  test('one folder, one write, one report; nothing stays behind', async () => {
    const tree = new Tree({ auxiliary: filled(24, 0) });
    const { provider, report, auxiliary } = await run(tree);
    expect([provider, hex(report), auxiliary?.length]).toEqual(['sev_guest', over(filled(64, 1)), 24]);
    expect(tree.steps).toEqual(['mkdir', 'read provider', 'read generation', 'write inblob', 'read outblob', 'read auxblob', 'read generation', 'rmdir']);
    expect(tree.entries.size).toBe(0);
  });

  test.each([[null], [new Uint8Array()]])('no certificate table is none: %s', async (auxiliary) => {
    expect((await run(new Tree({ auxiliary }))).auxiliary).toBeNull();
  });

  test('many at once have a folder each and get their own report', async () => {
    const tree = new Tree();
    const data = Array.from({ length: 20 }, (_, i) => filled(64, i));
    expect((await Promise.all(data.map((d) => run(tree, d)))).map((r) => hex(r.report))).toEqual(data.map(over));
    expect([tree.folders, tree.entries.size]).toEqual([20, 0]);
  });

  test.each(['read outblob', 'read auxblob', 'read generation'])('a second writer before "%s": the report is not believed, and asked for again', async (at) => {
    let [hostile, seen] = [1, 0];
    const tree = new Tree({
      before(step, entry) {
        if (step !== at || entry === undefined || hostile === 0 || (at === 'read generation' && ++seen !== 2)) return;
        hostile--;
        entry.inblob = filled(64, 0xee);
        entry.generation++;
      },
    });
    expect(hex((await run(tree)).report)).toBe(over(filled(64, 1)));
    expect([tree.folders, hostile, tree.entries.size]).toEqual([2, 0, 0]);
  });

  test('a writer who never stops is a failure', async () => {
    const tree = new Tree({ before(step, entry) { if (step === 'read outblob' && entry !== undefined) entry.generation++; } });
    await refused(run(tree), 'ATTESTER_FAILED');
    expect([tree.folders, tree.entries.size]).toEqual([8, 0]);
  });

  test('a write that was lost is seen by the generation, even where an old report can be read', async () => {
    let lost = 1;
    const tree = new Tree({
      before(step, entry) {
        if (step !== 'read outblob' || entry === undefined || lost-- <= 0) return;
        [entry.inblob, entry.generation] = [filled(64, 9), entry.generation - 1];
      },
    });
    expect(hex((await run(tree)).report)).toBe(over(filled(64, 1)));
    expect(tree.folders).toBe(2);
  });

  test.each(['mkdir', 'write inblob', 'read outblob', 'read auxblob', 'read generation'].flatMap((step) => ['EBUSY', 'EAGAIN', 'EINTR'].map((code) => [step, code] as const)))('%s: %s is tried again', async (at, code) => {
    let times = 3;
    const tree = new Tree({ before(step) { if (step === at && times-- > 0) throw errno(code); } });
    expect(hex((await run(tree)).report)).toBe(over(filled(64, 1)));
    expect(tree.entries.size).toBe(0);
    await refused(run(new Tree({ before(step) { if (step === at) throw errno(code); } })), 'ATTESTER_FAILED');
  });

  test.each([['mkdir', 'EIO', 'ATTESTER_FAILED'], ['mkdir', 'ENOENT', 'ATTESTER_ABSENT'], ['mkdir', 'EACCES', 'ATTESTER_ABSENT'], ['write inblob', 'EINVAL', 'ATTESTER_FAILED'], ['read outblob', 'EIO', 'ATTESTER_FAILED'], ['read auxblob', 'EIO', 'ATTESTER_FAILED'], ['read provider', 'EIO', 'ATTESTER_FAILED']] as const)('%s: %s is not', async (at, code, refusal) => {
    const tree = new Tree({ before(step) { if (step === at) throw errno(code); } });
    await refused(run(tree), refusal);
    expect(tree.steps.filter((s) => s === at).length).toBe(1);
    expect(tree.entries.size).toBe(0);
  });

  test('another provider, an empty report, a generation that is no number, report_data of another length', async () => {
    await refused(run(new Tree({ provider: 'arm_cca_guest' })), 'ATTESTER_FAILED');
    await refused(run(new Tree({ make: () => new Uint8Array() })), 'ATTESTER_FAILED');
    await refused(run(new Tree({ make: () => new Uint8Array(40_000) })), 'ATTESTER_FAILED');
    await refused(run(new Tree({ before(step, entry) { if (step === 'write inblob' && entry !== undefined) entry.generation = Number.NaN; } })), 'ATTESTER_FAILED');
    await refused(run(new Tree(), filled(32, 1)), 'ATTESTER_FAILED');
  });

  test('a folder that cannot be removed is no reason to lose the report', async () => {
    expect(hex((await run(new Tree({ before(step) { if (step === 'rmdir') throw errno('EBUSY'); } }))).report)).toBe(over(filled(64, 1)));
  });

  test('the kernel\'s files: written without being made or truncated; without configfs there is no attester', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ccc-tsm-'));
    await refused(tsmReport(filled(64, 1), { root: join(folder, 'absent') }), 'ATTESTER_ABSENT');
    await expect(kernelFiles.write(join(folder, 'inblob'), filled(3, 1))).rejects.toThrow('ENOENT');
    await writeFile(join(folder, 'inblob'), 'abcde');
    await kernelFiles.write(join(folder, 'inblob'), utf8('xyz'));
    expect(await readFile(join(folder, 'inblob'), 'utf8')).toBe('xyzde');
    // A plain folder has none of the attributes
    await refused(tsmReport(filled(64, 1), { root: folder, wait: async () => {} }), 'ATTESTER_FAILED');
    await rm(folder, { recursive: true });
  });
});

const GUID = { vcek: '63da758de6644564adc5f4b93be8accd', vlek: 'a8074bc2a25a483eaae639c045a0b8a1', ask: '4ab7b379bbac4fe4a02f05aef327c782', ark: 'c0b406a4a803495297433fb6014cd0ae', other: '11'.repeat(16) };
export function certificateTable(...entries: readonly (readonly [guid: string, blob: Bytes])[]): Bytes {
  let at = 24 * (entries.length + 1);
  const header = entries.map(([guid, blob]) => {
    at += blob.length;
    return concat(fromHex(guid), u32le(at - blob.length), u32le(blob.length));
  });
  return concat(...header, new Uint8Array(24), ...entries.map(([, blob]) => blob));
}

describe('certificate table', () => {
  const der = (value: number): Bytes => concat(Uint8Array.of(0x30, 4), filled(4, value));
  const read = (table: Bytes) => readCertificateTable(table, 'aux');

  test('VCEK, ASK and ARK in any order; padding is cut, others are passed over', () => {
    expect(read(certificateTable([GUID.ark, der(3)], [GUID.other, der(9)], [GUID.vcek, concat(der(1), new Uint8Array(10))], [GUID.ask, der(2)]))).toEqual({ vek: der(1), issuers: [der(2), der(3)] });
    expect(read(certificateTable([GUID.vcek, der(1)], [GUID.vlek, der(2)]))).toEqual({ vek: der(2) });
    expect(read(certificateTable([GUID.vcek, der(1)]))).toEqual({ vek: der(1) });
    expect(read(certificateTable())).toEqual({});
    expect(read(new Uint8Array(16_384))).toEqual({});
  });

  test.each([
    ['a half entry', fromHex(GUID.vcek)], ['without an end', concat(fromHex(GUID.vcek), u32le(0), u32le(0))], ['outside', concat(fromHex(GUID.vcek), u32le(48), u32le(1), new Uint8Array(24))],
    ['far outside', concat(fromHex(GUID.vcek), u32le(0xffffffff), u32le(0xffffffff), new Uint8Array(24))], ['no certificate', certificateTable([GUID.vcek, utf8('text')])], ['more behind it', certificateTable([GUID.vcek, concat(der(1), filled(2, 7))])],
    ['twice', certificateTable([GUID.vcek, der(1)], [GUID.vcek, der(1)])], ['too many', certificateTable(...Array.from({ length: 17 }, () => [GUID.other, der(1)] as const))],
  ])('%s', async (_, table) => { await refused(() => read(table), 'ATTESTER_FAILED'); });

  test('whatever the host gives is read or refused', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (data, framed) => {
      const table = framed ? concat(fromHex(GUID.vcek), u32le(48), u32le(data.length), new Uint8Array(24), bytes(data)) : bytes(data);
      try {
        const { vek } = read(table);
        return vek === undefined || vek[0] === 0x30;
      } catch (error) {
        return error instanceof Refusal && error.code === 'ATTESTER_FAILED';
      }
    }), { seed: 7, numRuns: 500 });
  });
});

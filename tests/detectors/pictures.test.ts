import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CACHE, sha256Hex } from '../../workloads/detectors/cache.ts';
import { writeAtomically } from '../../workloads/detectors/fetch.ts';
import { ensureDefaultModel } from '../../workloads/detectors/model.ts';
import { type DemoPicture, demoPictures, licences } from '../../workloads/detectors/pictures.ts';
import { load, type Workload } from '../../workloads/counter/workload.ts';

let workload: Workload;
let pictures: DemoPicture[];
beforeAll(async () => {
  workload = await load({ modelFile: await ensureDefaultModel() });
  pictures = await demoPictures();
});

describe('the demo pictures', () => {
  it('are at least five with a known count, one without cats, one with several, and one hard case without', () => {
    const known = pictures.filter((p) => p.expected !== undefined);
    expect(known.length).toBeGreaterThanOrEqual(5);
    expect(known.some((p) => p.expected === 0)).toBe(true);
    expect(known.some((p) => (p.expected as number) > 1)).toBe(true);
    expect(pictures.filter((p) => p.hard === true).map((p) => p.expected)).toEqual([undefined]);
    expect(licences.length).toBeGreaterThan(0);
  });
  it('give their known counts, with a box inside the picture for each', async () => {
    for (const { file, bytes, expected } of pictures) {
      const result = await workload.work(bytes);
      if (expected !== undefined) expect([file, result.count]).toEqual([file, expected]);
      expect(result.boxes).toHaveLength(result.count);
      for (const { x, y, w, h } of result.boxes ?? []) {
        expect(Math.min(x, y)).toBeGreaterThanOrEqual(0);
        expect(w * h).toBeGreaterThan(0);
        expect(x + w).toBeLessThanOrEqual((result.image?.width as number) + 1);
        expect(y + h).toBeLessThanOrEqual((result.image?.height as number) + 1);
      }
    }
  });
  it('are found where they were pasted: left, right, below', async () => {
    const { boxes = [], image } = await workload.work(pictures.find((p) => p.file === 'three-cats.jpg')?.bytes as Buffer);
    const centres = boxes.map(({ x, y, w, h }) => `${(2 * x + w) / (image?.width as number) < 0.8 ? 'left' : (2 * x + w) / (image?.width as number) > 1.2 ? 'right' : 'middle'} ${y + h / 2 < (image?.height as number) / 2 ? 'top' : 'bottom'}`);
    expect(centres.sort()).toEqual(['left top', 'middle bottom', 'right top']);
  });
  it('are the same at the second call', async () => {
    const digests = (all: DemoPicture[]) => all.map((p) => `${p.file} ${sha256Hex(p.bytes)}`);
    expect(digests(await demoPictures())).toEqual(digests(pictures));
  });
  it('keep their counts when a big JPEG is shrunk while it is loaded', async () => {
    const three = pictures.find((p) => p.file === 'three-cats.jpg')?.bytes as Buffer;
    const big = await sharp(three).resize({ width: 4224 }).jpeg({ quality: 90 }).toBuffer();
    expect((await workload.work(big)).count).toBe(3);
  });
});

const CHELSEA = '596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb';

/** chelsea.png (CC0) out of a wheel from PyPI, kept in the cache; undefined where pip or the index is missing. */
async function chelsea(): Promise<Buffer | undefined> {
  const kept = join(DEFAULT_CACHE, 'pictures', 'chelsea.png');
  const present = await readFile(kept).catch(() => undefined);
  if (present !== undefined && sha256Hex(present) === CHELSEA) return present;
  const folder = await mkdtemp(join(tmpdir(), 'ccc-chelsea-'));
  try {
    const run = promisify(execFile);
    await run('pip', ['download', 'scikit-image==0.16.2', '--no-deps', '--only-binary', ':all:', '--python-version', '3.7', '--platform', 'manylinux1_x86_64', '-q', '-d', folder], { timeout: 50_000 });
    const [wheel] = (await readdir(folder)).filter((file) => file.endsWith('.whl'));
    await mkdir(join(folder, 'out'));
    await run('python3', ['-m', 'zipfile', '-e', join(folder, wheel as string), join(folder, 'out')]);
    const picture = await readFile(join(folder, 'out', 'skimage', 'data', 'chelsea.png'));
    if (sha256Hex(picture) !== CHELSEA) return undefined;
    await writeAtomically(kept, picture);
    return picture;
  } catch {
    return undefined;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('a photograph from elsewhere', () => {
  let picture: Buffer | undefined;
  beforeAll(async () => { picture = await chelsea(); });
  afterAll(() => { picture = undefined; });

  it('chelsea.png has one cat', async (context) => {
    if (picture === undefined && process.env['REQUIRE_ENGINES'] !== '1') return context.skip('the wheel scikit_image-0.16.2 could not be had');
    if (picture === undefined) throw new Error('the wheel scikit_image-0.16.2 could not be had');
    const result = await workload.work(picture);
    expect(result.count).toBe(1);
    expect(result.boxes?.[0]?.score).toBeGreaterThan(0.8);
  });
});

import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { sha256Hex } from '../../workloads/detectors/cache.ts';
import { fetchPackage, type PinnedPackage, unpackPinned } from '../../workloads/detectors/fetch.ts';
import { readTar } from '../../workloads/detectors/tar.ts';

function tarEntry(name: string, data: Buffer, type = '0'): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write(`${data.length.toString(8).padStart(11, '0')} `, 124);
  header.write('        ', 148);
  header.write(type, 156);
  header.write('ustar\x0000', 257);
  header.write(`${header.reduce((a, b) => a + b, 0).toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}
const END = Buffer.alloc(1024);
const DATA = Buffer.from('twenty-four views of a cat');
const TARBALL = gzipSync(Buffer.concat([tarEntry('package/a.txt', DATA), tarEntry('package/dir', Buffer.alloc(0), '5'), tarEntry('package/b.txt', Buffer.from('b')), END]));
const pinned: PinnedPackage = {
  name: '@scope/cats', version: '1.0.0', integrity: `sha512-${createHash('sha512').update(TARBALL).digest('base64')}`, files: { 'a.txt': sha256Hex(DATA) },
};

describe('readTar', () => {
  it('reads files and nothing else', () => {
    const files = readTar(Buffer.concat([tarEntry('package/a', DATA), tarEntry('link', Buffer.alloc(0), '2'), END]));
    expect([...files.keys()]).toEqual(['package/a']);
    expect(files.get('package/a')).toEqual(DATA);
  });
  it('refuses a cut archive, a missing end and a wrong checksum', () => {
    const whole = Buffer.concat([tarEntry('package/a', DATA), END]);
    expect(() => readTar(whole.subarray(0, 520))).toThrow(/cut off/);
    expect(() => readTar(whole.subarray(0, 1024))).toThrow(/no end/);
    const bad = Buffer.from(whole);
    bad[0] = 0x71;
    expect(() => readTar(bad)).toThrow(/checksum/);
  });
  it('never does anything but return or throw an Error', () => {
    const whole = Buffer.concat([tarEntry('package/a', DATA), END]);
    fc.assert(fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, value) => {
      const altered = Buffer.from(whole);
      altered[at] = value;
      try {
        expect(readTar(altered)).toBeInstanceOf(Map);
      } catch (error) {
        expect(String(error)).toMatch(/tar: /);
      }
    }));
  });
});

describe('unpackPinned', () => {
  it('gives the pinned files only', () => {
    expect([...unpackPinned(TARBALL, pinned).keys()]).toEqual(['a.txt']);
  });
  it('refuses another tarball, another file, a missing file', () => {
    const refused = (wanted: PinnedPackage, tarball = TARBALL) => expect(() => unpackPinned(tarball, wanted)).toThrow(expect.objectContaining({ code: 'FETCH_ALTERED' }));
    refused(pinned, gzipSync(END));
    refused({ ...pinned, files: { 'a.txt': sha256Hex(Buffer.from('other')) } });
    refused({ ...pinned, files: { 'c.txt': sha256Hex(DATA) } });
  });
});

describe('fetchPackage', () => {
  let folder: string;
  const packs = async () => (await readFile(join(folder, 'packs'), 'utf8').catch(() => '')).length;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ccc-fetch-'));
    await writeFile(join(folder, 'served.tgz'), TARBALL);
    // An npm that serves one tarball and notes each call.
    await writeFile(join(folder, 'npm-cli.js'), `
      const fs = require('node:fs'), path = require('node:path');
      const [verb, spec] = process.argv.slice(2);
      if (verb !== 'pack' || spec !== '@scope/cats@1.0.0') process.exit(2);
      fs.appendFileSync(path.join(__dirname, 'packs'), '.');
      fs.copyFileSync(path.join(__dirname, 'served.tgz'), path.join(process.argv[process.argv.indexOf('--pack-destination') + 1], 'scope-cats-1.0.0.tgz'));
    `);
    vi.stubEnv('npm_execpath', join(folder, 'npm-cli.js'));
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true, force: true });
  });

  it('downloads once, then serves the verified cache', async () => {
    expect((await fetchPackage(pinned, folder)).get('a.txt')).toEqual(DATA);
    expect((await fetchPackage(pinned, folder)).get('a.txt')).toEqual(DATA);
    expect(await packs()).toBe(1);
  });
  it('serves several callers at once', async () => {
    const all = await Promise.all(Array.from({ length: 3 }, () => fetchPackage(pinned, folder)));
    expect(all.map((files) => files.get('a.txt')?.toString())).toEqual(Array(3).fill(DATA.toString()));
    expect(await readdir(join(folder, 'packages', '@scope+cats-1.0.0'))).toEqual(['a.txt']);
  });
  it('downloads anew when the cache was altered', async () => {
    await fetchPackage(pinned, folder);
    await writeFile(join(folder, 'packages', '@scope+cats-1.0.0', 'a.txt'), 'a dog');
    expect((await fetchPackage(pinned, folder)).get('a.txt')).toEqual(DATA);
    expect(await packs()).toBe(2);
  });
  it('keeps nothing of an altered tarball', async () => {
    await writeFile(join(folder, 'served.tgz'), gzipSync(END));
    await expect(fetchPackage(pinned, folder)).rejects.toMatchObject({ code: 'FETCH_ALTERED' });
    expect(await readdir(folder)).not.toContain('packages');
  });
  it('says that the registry failed', async () => {
    await expect(fetchPackage({ ...pinned, version: '9.9.9' }, folder)).rejects.toMatchObject({ code: 'FETCH_FAILED' });
  });
});

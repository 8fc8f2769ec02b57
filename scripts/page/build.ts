/**
 * Builds the page with Vite at first use, and again when its sources changed. The same sources give the same bytes: names carry
 * hashes of the content, nothing carries a time or a path of the machine.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WEB = join(ROOT, 'workloads/client/web');
const DIST = join(WEB, 'dist');
const STAMP = '.stamp';
/** Everything that can change the bundle: the page, what it imports, how it is built, which packages. */
const SOURCES = ['attestation', 'workloads/client', 'workloads/protocol', 'scripts/page/build.ts', 'package-lock.json'];

/** Node's own modules, as packages written for both worlds name them. Only `buffer` has a stand-in; the others must not be reached. */
const BUILT_INS = /^(?:node:)?(?:assert|child_process|crypto|events|fs|http|https|net|os|path|process|querystring|stream|string_decoder|tls|tty|url|util|v8|vm|worker_threads|zlib)(?:\/.*)?$/;

export interface BuildOptions {
  /** Called with one line of progress at a time. */
  readonly onProgress?: (text: string) => void;
}

async function sourceFiles(): Promise<string[]> {
  const lists = await Promise.all(SOURCES.map(async (source) => {
    const path = join(ROOT, source);
    if (/\.\w+$/.test(source)) return [path];
    const entries = await readdir(path, { recursive: true, withFileTypes: true });
    return entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
  }));
  return lists.flat().filter((f) => !relative(WEB, f).startsWith('dist')).sort();
}

async function sourcesDigest(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of await sourceFiles()) hash.update(`${relative(ROOT, file)}\0`).update(await readFile(file)).update('\0');
  return hash.digest('hex');
}

async function stampOf(folder: string): Promise<string | undefined> {
  return readFile(join(folder, STAMP), 'utf8').catch(() => undefined);
}

/** Answers the folder of the built page. @throws when the sources do not build. */
export async function buildPage({ onProgress = () => undefined }: BuildOptions = {}): Promise<string> {
  const digest = await sourcesDigest();
  if (await stampOf(DIST) === digest) return DIST;
  onProgress('building the page (first use, or its sources changed)');
  const started = performance.now();
  // Built beside its place and then moved there: nobody sees half a page, and two builders do not mix.
  const fresh = join(WEB, `dist.${process.pid}.new`);
  try {
    await bundle(fresh);
    await writeFile(join(fresh, STAMP), digest);
    await replace(fresh, digest);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  onProgress(`page built in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return DIST;
}

async function replace(fresh: string, digest: string): Promise<void> {
  // Another builder was quicker with the same sources: what stands there is already served.
  if (await stampOf(DIST) === digest) return;
  const old = join(WEB, `dist.${process.pid}.old`);
  await rename(DIST, old).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
  try {
    await rename(fresh, DIST);
  } catch (error) {
    // Another builder was quicker; its page is as good when it comes from the same sources.
    if (await stampOf(DIST) !== digest) throw error;
  }
  await rm(old, { recursive: true, force: true });
}

async function bundle(outDir: string): Promise<void> {
  const { build } = await import('vite');
  const absent = join(WEB, 'absent.ts');
  await build({
    root: WEB,
    configFile: false,
    envFile: false,
    base: './',
    publicDir: join(WEB, 'public'),
    logLevel: 'error',
    mode: 'production',
    define: { global: 'globalThis', 'process.env.NODE_ENV': '"production"' },
    resolve: {
      alias: [
        { find: /^(?:node:)?buffer\/?$/, replacement: join(ROOT, 'node_modules/buffer/index.js') },
        { find: BUILT_INS, replacement: absent },
      ],
    },
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    worker: { format: 'es' },
    build: {
      outDir,
      emptyOutDir: true,
      target: 'es2022',
      // Inlined files would be `data:` URLs, which the content security policy refuses.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
      sourcemap: false,
      chunkSizeWarningLimit: 2048,
    },
  });
}

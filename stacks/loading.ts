/**
 * Loads the CDKTF packages without their source maps. These stand inline in every file and are two thirds of it: 30 MB of base64 that would be read, hashed,
 * scanned for exports and kept as long as the process lives. A process of a second has no use for them. Nor for the packer of assets, which brings
 * 230 modules along: no stack has an asset, and one that had would end with "archiver is not a function".
 */
import { readFileSync } from 'node:fs';
import { enableCompileCache, registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

const PACKER = /\/node_modules\/archiver\/index\.js$/;
const BINDINGS = /\/node_modules\/(?:@cdktf\/provider-[a-z]+|cdktf)\/lib\/.*\.js$/;

/** To be called before the first of them is imported. */
export function loadLightly(): void {
  registerHooks({
    load(url, context, next) {
      if (PACKER.test(url)) return { format: 'commonjs', shortCircuit: true, source: '' };
      if (!BINDINGS.test(url)) return next(url, context);
      const source = readFileSync(fileURLToPath(url));
      const map = source.lastIndexOf('//# sourceMappingURL=');
      return { format: 'commonjs', shortCircuit: true, source: source.toString('utf8', 0, map < 0 ? source.length : map) };
    },
  });
  // Compiled code by the hash of its source: never stale. Already on when start.mjs was the entry.
  enableCompileCache(fileURLToPath(new URL('../.cache/compiled', import.meta.url)));
  // Every token and element asks for the stack that created it; of 30,000 traces none is read, and all would be kept.
  Error.captureStackTrace = () => {};
}

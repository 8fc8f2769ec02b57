/** One module of an entry and all that it imports, minified for browsers; nothing is left outside. */
import { fileURLToPath } from 'node:url';
import { build, type Rolldown } from 'vite';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Bundle {
  readonly code: string;
  /** Files of it by path from the root, packages by name; bytes before minifying. */
  readonly parts: ReadonlyMap<string, number>;
  /** What it would import when loaded. */
  readonly imports: readonly string[];
}

/** @param entry path from this folder */
export async function bundle(entry: string): Promise<Bundle> {
  const built = await build({
    root: ROOT, configFile: false, envFile: false, publicDir: false, logLevel: 'error', mode: 'production',
    build: {
      write: false, target: 'es2022', minify: true, modulePreload: false, reportCompressedSize: false,
      // Not `lib`: that leaves white space in ES modules.
      rolldownOptions: { input: fileURLToPath(new URL(entry, import.meta.url)), preserveEntrySignatures: 'strict', output: { format: 'es', codeSplitting: false } },
    },
  });
  const { output } = (Array.isArray(built) ? built[0] : built) as Rolldown.RolldownOutput;
  const chunk = output[0];
  if (output.length !== 1 || chunk.type !== 'chunk') throw new Error(`one module expected: ${output.map((o) => o.fileName).join(', ')}`);
  const parts = new Map<string, number>();
  for (const [id, module] of Object.entries(chunk.modules)) {
    const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id)?.[1] ?? id.replace(ROOT, '');
    parts.set(name, (parts.get(name) ?? 0) + module.renderedLength);
  }
  return { code: chunk.code, parts: new Map([...parts].sort(([, a], [, b]) => b - a)), imports: [...chunk.imports, ...chunk.dynamicImports] };
}

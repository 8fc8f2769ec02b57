/** What cdktf.json starts. No TypeScript, so that nothing has to be stripped before there is a cache: with a warm one the 10 MB of Node's stripper are never loaded. */
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

enableCompileCache(fileURLToPath(new URL('../.cache/compiled', import.meta.url)));
await import('./main.ts');

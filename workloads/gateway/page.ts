/** The web page, as built files; its policy lets it run its own scripts and talk to its own origin, nothing else. */
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import { PAGE_HEADERS } from '../protocol/page-headers.ts';

export async function servePage(app: FastifyInstance, folder: string): Promise<void> {
  await app.register(fastifyStatic, {
    root: folder,
    dotfiles: 'deny',
    // Only files that are there now become routes, so nothing else of the folder can be reached.
    wildcard: false,
    cacheControl: false,
    setHeaders: (response, path) => {
      for (const [name, value] of Object.entries(PAGE_HEADERS)) response.header(name, value);
      // The build puts a digest into the names of assets.
      response.header('cache-control', /[\\/]assets[\\/]/.test(path) ? 'public, max-age=31536000, immutable' : 'no-cache');
    },
  });
}

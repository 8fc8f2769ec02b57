/** The web page, as built files; its policy lets it run its own scripts and talk to its own origin, nothing else. */
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';

export const PAGE_POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "font-src 'self'", "connect-src 'self'", "worker-src 'self'", "manifest-src 'self'",
  "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
].join('; ');

export async function servePage(app: FastifyInstance, folder: string): Promise<void> {
  await app.register(fastifyStatic, {
    root: folder,
    dotfiles: 'deny',
    // Only files that are there now become routes, so nothing else of the folder can be reached.
    wildcard: false,
    cacheControl: false,
    setHeaders: (response, path) => {
      response.header('content-security-policy', PAGE_POLICY);
      // The build puts a digest into the names of assets.
      response.header('cache-control', /[\\/]assets[\\/]/.test(path) ? 'public, max-age=31536000, immutable' : 'no-cache');
    },
  });
}

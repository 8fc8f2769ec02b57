/** A page in a real Chromium, of a server on this machine that has nothing but the given modules. */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium, type Page } from 'playwright-core';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
export const hasChromium = CHROMIUM !== undefined;

export interface Loaded { readonly page: Page; readonly complaints: string[]; close(): Promise<void> }

/** @param modules code by path */
export async function load(modules: Readonly<Record<string, string>>): Promise<Loaded> {
  const server = createServer((request, response) => {
    const code = modules[request.url ?? ''];
    if (request.url === '/') response.setHeader('content-type', 'text/html').end('<!doctype html><meta charset=utf-8><link rel=icon href="data:,"><title>Verifier</title>');
    else if (code !== undefined) response.setHeader('content-type', 'text/javascript').end(code);
    else { response.statusCode = 404; response.end(); }
  });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--no-proxy-server'] });
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(`console ${message.type()}: ${message.text()}`); });
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return {
    page, complaints,
    async close() {
      await browser.close();
      await new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
    },
  };
}

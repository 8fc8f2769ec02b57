/** A real Chromium with a profile of its own, all of whose traffic goes through a proxy. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';

const EXECUTABLE = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
export const hasChromium = EXECUTABLE !== undefined;

export interface Browser {
  /** A page of its own; what it complained about is gathered. */
  open(): Promise<Page>;
  /** Errors on consoles (pages and workers), uncaught ones, violations of the content security policy. */
  readonly complaints: string[];
  /** Hosts that pages asked for anything. */
  readonly hosts: Set<string>;
  close(): Promise<void>;
}

export async function openBrowser(proxy: string): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'ccc-chromium-'));
  const context: BrowserContext = await chromium.launchPersistentContext(profile, {
    executablePath: EXECUTABLE, headless: true, acceptDownloads: true, viewport: { width: 1280, height: 900 },
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      `--proxy-server=${proxy}`, '--proxy-bypass-list=<-loopback>',
    ],
  });
  context.setDefaultTimeout(120_000);
  const complaints: string[] = [];
  const hosts = new Set<string>();
  context.on('request', (asked) => { if (asked.url().startsWith('http')) hosts.add(new URL(asked.url()).host); });
  return {
    complaints, hosts,
    async open() {
      const page = await context.newPage();
      page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(`console ${message.type()}: ${message.text()}`); });
      page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
      await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`)));
      return page;
    },
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

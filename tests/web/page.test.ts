/**
 * The page in a real Chromium against a whole cell of real processes. Everything that the browser sends goes through a recording proxy:
 * no window of a picture's file or pixels, no file name and no metadata is in it.
 */
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { b64u, fromB64u, randomBytes } from '../../attestation/bytes.ts';
import { leakSearch } from '../../scripts/cell/leak-search.ts';
import { buildPage } from '../../scripts/page/build.ts';
import { servePage } from '../../scripts/page/serve.ts';
import { verifyReceipt } from '../../workloads/client/receipt.ts';
import { testCell, type TestCell } from '../cell/harness.ts';
import { type Browser, hasChromium, openBrowser } from './browser.ts';
import { catWithExif, decoded, noise, TELLING } from './pictures.ts';
import { type Recorder, SINK, startRecorder } from './recorder.ts';

const required = process.env['REQUIRE_ENGINES'] === '1';
if (!hasChromium) it.skipIf(!required)('needs Chromium', () => expect.fail('REQUIRE_ENGINES=1, and Chromium is not installed'));

const fragment = (values: Record<string, string>): string => `#${new URLSearchParams(values)}`;
const settled = (page: Page) => page.waitForFunction(() => {
  const cards = [...document.querySelectorAll<HTMLElement>('.picture-card')];
  return cards.length > 0 && cards.every((c) => c.dataset['state'] === 'done' || c.dataset['state'] === 'refused');
}, undefined, { timeout: 120_000 });
const states = (page: Page) => page.locator('.step').evaluateAll((steps) => Object.fromEntries(steps.map((s) => [(s as HTMLElement).dataset['step'], (s as HTMLElement).dataset['state']])));
const uploads = (recorder: Recorder) => recorder.requests.filter((r) => r.startsWith('POST') && r.endsWith(' /v1/jobs'));

describe.skipIf(!hasChromium)('the page in Chromium', () => {
  let cell: TestCell;
  let recorder: Recorder;
  let browser: Browser;
  let served: Awaited<ReturnType<typeof servePage>>;
  let settings: Record<string, string>;

  beforeAll(async () => {
    const folder = await buildPage();
    cell = await testCell(1);
    served = await servePage({ gatewayUrl: cell.url, ownerKey: b64u(cell.ownerKey), folder });
    recorder = await startRecorder();
    browser = await openBrowser(recorder.url);
    settings = { key: cell.apiKey, owner: b64u(cell.ownerKey), tenant: cell.tenant, zone: cell.zone };
  });
  afterAll(async () => {
    await browser?.close();
    await recorder?.close();
    await served?.close();
    await cell?.close();
  });

  it('counts a picture, shows its boxes and hands out a receipt that verifies elsewhere', async () => {
    const page = await browser.open();
    await page.goto(`${served.url}/${fragment(settings)}`);
    await page.waitForSelector('.verified');
    expect(new URL(page.url()).hash, 'the fragment is taken out of the address bar').toBe('');
    expect(await page.locator('.banner-good').textContent()).toContain('Served by your own machine');
    expect(await page.locator('.banner-amber').textContent()).toContain('simulated TEE: proves nothing about hardware');

    await page.setInputFiles('.drop-input', { name: TELLING.file, mimeType: 'image/jpeg', buffer: await catWithExif() });
    await settled(page);
    expect(await states(page), await cell.logs()).toEqual({
      owner: 'done', evidence: 'done', manifest: 'done', encrypted: 'done', accepted: 'done', leased: 'done', released: 'done', counted: 'done', verified: 'done',
    });
    expect(await page.locator('.count').textContent()).toBe('1');
    const [box, image] = [await page.locator('.box-line').first().boundingBox(), await page.locator('.picture img').boundingBox()];
    if (box === null || image === null) throw new Error('nothing drawn');
    expect(await page.locator('.box-line').count()).toBe(1);
    expect(box.x).toBeGreaterThanOrEqual(image.x - 4);
    expect(box.x + box.width).toBeLessThanOrEqual(image.x + image.width + 4);
    expect(box.width * box.height, 'the cat fills a good part of the picture').toBeGreaterThan(0.2 * image.width * image.height);

    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download receipt' }).click()]);
    const receipt: unknown = JSON.parse(await readFile(await download.path(), 'utf8'));
    const verdict = await verifyReceipt(receipt, cell.ownerKey, Math.floor(Date.now() / 1000));
    expect(verdict).toMatchObject({ outcome: 'completed', simulated: true, result: { count: 1 } });

    await page.getByRole('button', { name: 'Verify it again, here' }).click();
    await page.waitForSelector('.checks');
    expect(await page.locator('.checks summary').textContent()).toMatch(/^(\d+) of \1 checks passed$/);

    await page.locator('[data-step=evidence] .step-head').press('Enter');
    expect(await page.locator('[data-step=evidence] .raw pre').nth(1).textContent()).toMatch(/^00000 {2}84 44 a1 01 38 22/);
    expect(await page.locator('.operator').textContent()).toContain('confidential');
    await page.close();
  });

  it('lets no plaintext out of the browser', async () => {
    const page = await browser.open();
    await page.goto(`${cell.url}/${fragment(settings)}`);
    await page.waitForSelector('.verified');
    expect(await page.locator('.banner-plain').textContent()).toContain('This page is code from the operator');
    const [cat, canary] = [await catWithExif(), await noise()];
    const before = uploads(recorder).length;
    await page.setInputFiles('.drop-input', [
      { name: TELLING.file, mimeType: 'image/jpeg', buffer: cat }, { name: 'canary-of-noise.png', mimeType: 'image/png', buffer: canary.file },
    ]);
    await settled(page);
    expect(await page.locator('.picture-card[data-state=done]').count(), await cell.logs()).toBe(2);
    expect(uploads(recorder).length).toBe(before + 2);

    const sent = recorder.bytes();
    expect(sent.reduce((n, s) => n + s.length, 0), 'the recorder saw the uploads').toBeGreaterThan(cat.length + canary.file.length);
    for (const [what, plaintext] of Object.entries({ 'JPEG file': cat, 'JPEG pixels': await decoded(cat), 'PNG file': canary.file, 'PNG pixels': canary.pixels, 'PNG pixels with alpha': canary.rgba })) {
      const { windows, search } = leakSearch(plaintext);
      expect(windows, `${what}: enough windows to look for`).toBeGreaterThan(1000);
      expect(sent.map(search).filter(Boolean), what).toEqual([]);
    }
    const all = Buffer.concat(sent);
    for (const secret of [TELLING.file, TELLING.file.slice(0, -4), 'canary-of-noise', TELLING.description, TELLING.camera]) {
      for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString('hex'), Buffer.from(secret).toString('base64').slice(0, -4)]) expect(all.includes(form), form).toBe(false);
    }
    expect(all.includes(cell.apiKey), 'what does leave is found').toBe(true);

    // The search finds what is really there: some of the same bytes, sent on purpose, as they are and as base64.
    const { search } = leakSearch(canary.pixels);
    const found = () => recorder.bytes().map(search).filter((hit) => hit !== undefined).map((hit) => hit.encoding.split('+')[0]);
    const send = (data: string | number[]) => page.evaluate(([path, body]) => fetch(path as string, { method: 'POST', body: typeof body === 'string' ? body : new Uint8Array(body as number[]) }).then((r) => r.status), [SINK, data] as const);
    expect(await send(canary.pixels.subarray(2001, 2100).toString('base64'))).toBe(204);
    expect(found()).toEqual(['base64']);
    const other = await noise();
    expect(await send([...other.pixels.subarray(1000, 1040)])).toBe(204);
    expect(recorder.bytes().map(leakSearch(other.pixels).search).filter(Boolean)).toMatchObject([{ encoding: 'raw' }]);
    await page.close();
  });

  it('refuses another owner\'s policy, and then takes no picture', async () => {
    const page = await browser.open();
    const before = uploads(recorder).length;
    await page.goto(`${cell.url}/${fragment({ ...settings, owner: b64u(randomBytes(32)) })}`);
    await page.waitForSelector('.connection .refusal');
    expect(await page.locator('.refusal-title').textContent()).toContain('POLICY_SIGNATURE');
    expect(await page.locator('.drop-input').isDisabled()).toBe(true);
    expect(await page.locator('.drop').textContent()).toContain('nothing is sent');
    expect(uploads(recorder).length).toBe(before);
    await page.close();
  });

  it('does not let a link name another owner than the one that the page server pins', async () => {
    const page = await browser.open();
    await page.goto(`${served.url}/${fragment({ ...settings, owner: b64u(randomBytes(32)) })}`);
    await page.waitForSelector('.verified');
    await page.close();
  });

  it('refuses evidence that was altered on the way, for each picture anew', async () => {
    const page = await browser.open();
    await page.goto(`${cell.url}/${fragment(settings)}`);
    await page.waitForSelector('.verified');
    const before = uploads(recorder).length;
    recorder.change('/v1/key-manifest', (body) => {
      const answer = JSON.parse(body.toString()) as { evidence: { document: string } };
      const document = fromB64u(answer.evidence.document);
      document[document.length - 1] = (document.at(-1) as number) ^ 1;
      answer.evidence.document = b64u(document);
      return Buffer.from(JSON.stringify(answer));
    });
    try {
      await page.setInputFiles('.drop-input', { name: 'cat.jpg', mimeType: 'image/jpeg', buffer: await catWithExif() });
      await settled(page);
      expect(await page.locator('.picture-card .refusal-title').textContent()).toContain('SIG_INVALID');
      expect(await states(page)).toMatchObject({ owner: 'done', evidence: 'refused', manifest: 'skipped', accepted: 'skipped', verified: 'skipped' });
      expect(await page.locator('.count').count()).toBe(0);
      expect(uploads(recorder).length).toBe(before);
      await page.reload();
      await page.waitForSelector('.connection .refusal');
      expect(await page.locator('.refusal-title').textContent()).toContain('SIG_INVALID');
    } finally {
      recorder.change('/v1/key-manifest', undefined);
      await page.close();
    }
  });

  it('refuses what is no picture, in the browser', async () => {
    const page = await browser.open();
    await page.goto(`${cell.url}/${fragment(settings)}`);
    await page.waitForSelector('.verified');
    const before = uploads(recorder).length;
    await page.setInputFiles('.drop-input', { name: 'notes.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('no picture at all') });
    await settled(page);
    expect(await page.locator('.picture-card .refusal-title').textContent()).toContain('PICTURE_FORMAT');
    expect(uploads(recorder).length).toBe(before);
    await page.close();
  });

  it('works by keyboard, fits 360 pixels, and nothing complained', async () => {
    const page = await browser.open();
    await page.setViewportSize({ width: 360, height: 740 });
    await page.goto(`${cell.url}/${fragment(settings)}`);
    await page.waitForSelector('.verified');
    const names: string[] = [];
    for (let i = 0; i < 12; i++) {
      await page.keyboard.press('Tab');
      names.push(await page.evaluate(() => document.activeElement?.className || (document.activeElement as HTMLInputElement | null)?.name || ''));
    }
    expect(names).toContain('skip');
    expect(names).toContain('drop-input');
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    await page.getByLabel('dark', { exact: true }).check();
    expect(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme)).toBe('dark');
    await page.close();
    expect(browser.complaints).toEqual([]);
    expect([...browser.hosts].sort(), 'pages speak to their own origin only').toEqual([new URL(served.url).host, new URL(cell.url).host].sort());
  });
});

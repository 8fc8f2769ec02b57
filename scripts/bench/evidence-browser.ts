/** The same loops in Chromium: the modules as a browser loads them, bundled and minified. */
import { bundle } from '../../tests/browser/bundle.ts';
import { hasChromium, load as open } from '../../tests/browser/chromium.ts';
import type * as Loop from './evidence-loop.ts';
import { load } from './machine.ts';
import { ms, ratio, type Section } from './section.ts';

/** @returns undefined without Chromium */
export async function evidenceBrowser(keys: Loop.Keys, now: number, batches: number, size: number): Promise<Section | undefined> {
  if (!hasChromium) return undefined;
  const { code } = await bundle('../../scripts/bench/evidence-loop.ts');
  const { page, close } = await open({ '/loop.js': code });
  try {
    const version = page.context().browser()?.version() ?? 'unknown';
    const found = await page.evaluate(async (given) => {
      const path = '/loop.js';
      const loop = await import(path) as typeof Loop;
      return loop.inBatches(given.keys, given.now, given.batches, given.size);
    }, { keys, now, batches, size });
    return {
      title: 'Verifying evidence in Chromium',
      about: [`Chromium ${version}, headless, one verification after the other; milliseconds, medians of ${batches} batches of ${size}. Columns as above: all signatures bare, those of the evidence itself, everything anew, and with the chain cache.`],
      head: ['evidence', 'bare', 'own signatures', 'cold', 'warm', 'warm/s', 'warm / bare', 'warm / own'],
      rows: found.map(({ name, times: t }) => [name, ms(t.bare), ms(t.own), ms(t.cold), ms(t.warm), (1000 / t.warm).toFixed(0), ratio(t.warm / t.bare), ratio(t.warm / t.own)]),
      goals: [], load: load(),
    };
  } finally {
    await close();
  }
}

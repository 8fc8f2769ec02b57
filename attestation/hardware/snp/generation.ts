/**
 * Generations of AMD EPYC and what depends on them: whose roots, and where in the eight bytes of a TCB each security version is. Never guessed: a
 * layout that is read wrong compares the wrong versions.
 *
 * | generation | CPUID family, models | roots of | TCB bytes |
 * |---|---|---|---|
 * | Milan (7003) | 19h, 00h to 0Fh | Milan | 0 bootloader, 1 tee, 6 snp, 7 microcode; 2 to 5 zero |
 * | Genoa (9004), Bergamo, Siena | 19h, 10h to 1Fh and A0h to AFh | Genoa | the same |
 * | Turin (9005) | 1Ah, 00h to 11h | Turin | 0 fmc, 1 bootloader, 2 tee, 3 snp, 7 microcode; 4 to 6 zero |
 *
 * Sources: AMD 56860 (TCB_VERSION), 57230 (product names of the key distribution service).
 */
import { type Bytes, hex } from '../../bytes.ts';
import type { TcbComponents } from '../../claims.ts';
import type { SnpReport } from '../../formats/snp-report.ts';
import { refuse } from '../../refusal.ts';
import type { AmdProduct } from '../../trust/purposes.ts';

type Layout = Readonly<Record<string, number>>;
const ZEN3: Layout = { bootloader: 0, tee: 1, snp: 6, microcode: 7 };
const ZEN5: Layout = { fmc: 0, bootloader: 1, tee: 2, snp: 3, microcode: 7 };
const LAYOUTS: Readonly<Record<AmdProduct, Layout>> = { Milan: ZEN3, Genoa: ZEN3, Turin: ZEN5 };
const MODELS: readonly (readonly [generation: AmdProduct, family: number, first: number, last: number])[] = [
  ['Milan', 0x19, 0x00, 0x0f], ['Genoa', 0x19, 0x10, 0x1f], ['Genoa', 0x19, 0xa0, 0xaf], ['Turin', 0x1a, 0x00, 0x11],
];
/** Names of the products in certificates; a stepping may follow: "Milan-B0". */
const PRODUCTS: Readonly<Record<AmdProduct, RegExp>> = { Milan: /^Milan(-[A-Z0-9]{1,4})?$/, Genoa: /^(Genoa|Bergamo|Siena)(-[A-Z0-9]{1,4})?$/, Turin: /^Turin(-[A-Z0-9]{1,4})?$/ };

/** How long a HWID is. */
export const HWID_LENGTH: Readonly<Record<AmdProduct, number>> = { Milan: 64, Genoa: 64, Turin: 8 };
export const COMPONENTS: Readonly<Record<AmdProduct, readonly string[]>> = { Milan: Object.keys(ZEN3), Genoa: Object.keys(ZEN3), Turin: Object.keys(ZEN5) };

export const generationOf = (cpuid: NonNullable<SnpReport['cpuid']>): AmdProduct | undefined =>
  MODELS.find(([, family, first, last]) => cpuid.family === family && cpuid.model >= first && cpuid.model <= last)?.[0];

export const namesProduct = (productName: string, generation: AmdProduct): boolean => PRODUCTS[generation].test(productName);

/** @throws Refusal TCB_LAYOUT where a byte is set that this generation does not use */
export function decodeTcb(tcb: Bytes, generation: AmdProduct, path: string): TcbComponents {
  const layout = LAYOUTS[generation];
  const used = Object.values(layout);
  if (tcb.some((byte, i) => byte !== 0 && !used.includes(i))) refuse('TCB_LAYOUT', path, 'This is no report of this generation.', { have: hex(tcb), need: `the layout of ${generation}: ${Object.entries(layout).map(([name, i]) => `${i} ${name}`).join(', ')}, others zero` });
  return Object.fromEntries(Object.entries(layout).map(([name, i]) => [name, tcb[i] as number]));
}

/** The inverse of {@link decodeTcb}: eight bytes. */
export function encodeTcb(components: TcbComponents, generation: AmdProduct): Bytes {
  const out = new Uint8Array(8);
  for (const [name, i] of Object.entries(LAYOUTS[generation])) out[i] = components[name] ?? 0;
  return out;
}

/** Components of `a` that are below those of `b`, as "snp 23 < 24". */
export const below = (a: TcbComponents, b: TcbComponents): string[] => Object.keys(b).filter((name) => (a[name] ?? -1) < (b[name] as number)).map((name) => `${name} ${a[name] ?? 'absent'} < ${b[name]}`);

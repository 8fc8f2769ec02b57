/** Small line charts as SVG text: no script, no fonts of others, colours by the page's custom properties, so that light, dark and paper look right. Pure. */

export interface Line {
  readonly label: string;
  /** One value per second; a gap where there is none. */
  readonly values: readonly (number | undefined)[];
  /** A custom property of the page, `--a`. */
  readonly colour: string;
  readonly dash?: boolean;
}
export interface Mark { readonly at: number; readonly label: string }
export interface Span { readonly from: number; readonly to: number }

export interface ChartOptions {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line[];
  /** Vertical lines. */
  readonly marks: readonly Mark[];
  /** Shaded: while the cell was hurt. */
  readonly shade?: Span | undefined;
}

const WIDTH = 960;
const HEIGHT = 240;
const PAD = { left: 56, right: 16, top: 64, bottom: 30 } as const;

export const escape = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const round = (n: number): number => Math.round(n * 10) / 10;

/** 1, 2 or 5 times a power of ten, so that about `count` of them reach `max`. */
export function niceStep(max: number, count: number): number {
  if (!(max > 0)) return 1;
  const raw = max / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return ([1, 2, 5, 10].find((n) => n * power >= raw) ?? 10) * power;
}

export function chart({ title, unit, lines, marks, shade }: ChartOptions): string {
  const seconds = Math.max(1, ...lines.map(({ values }) => values.length));
  const largest = lines.reduce((most, { values }) => values.reduce<number>((m, v) => Math.max(m, v ?? 0), most), 0);
  const step = niceStep(largest, 4);
  const top = Math.max(step, Math.ceil(largest / step) * step);
  const [w, h] = [WIDTH - PAD.left - PAD.right, HEIGHT - PAD.top - PAD.bottom];
  const x = (second: number): number => round(PAD.left + (second / seconds) * w);
  const y = (value: number): number => round(PAD.top + h - (value / top) * h);
  const out: string[] = [`<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(title)}"><title>${escape(title)}</title><text class="charttitle" x="${PAD.left}" y="16">${escape(title)}</text>`];
  if (shade !== undefined) out.push(`<rect class="shade" x="${x(shade.from)}" y="${PAD.top}" width="${round(Math.max(0, x(shade.to) - x(shade.from)))}" height="${h}"/>`);
  for (let value = 0; value <= top + step / 2; value += step) out.push(`<line class="grid" x1="${PAD.left}" x2="${WIDTH - PAD.right}" y1="${y(value)}" y2="${y(value)}"/><text class="tick" x="${PAD.left - 6}" y="${y(value) + 4}" text-anchor="end">${escape(Number(value.toPrecision(6)).toLocaleString('en'))}</text>`);
  const every = niceStep(seconds, 8);
  for (let second = 0; second <= seconds; second += every) out.push(`<text class="tick" x="${x(second)}" y="${HEIGHT - 10}" text-anchor="middle">${second} s</text>`);
  for (const line of lines) {
    const style = `fill="none" stroke="var(${line.colour})" stroke-width="2" stroke-linejoin="round"${line.dash ? ' stroke-dasharray="5 4"' : ''}`;
    for (const run of runs(line.values)) {
      if (run.length === 1) out.push(`<circle cx="${x((run[0] as Point).at + 0.5)}" cy="${y((run[0] as Point).value)}" r="2" fill="var(${line.colour})"/>`);
      else out.push(`<polyline ${style} points="${run.map(({ at, value }) => `${x(at + 0.5)},${y(value)}`).join(' ')}"/>`);
    }
  }
  // Labels beside each other where marks are close: every other one a row lower.
  marks.forEach(({ at, label }, i) => out.push(`<line class="mark" x1="${x(at)}" x2="${x(at)}" y1="${PAD.top - 4}" y2="${PAD.top + h}"/><text class="marklabel" x="${at > 0.9 * seconds ? x(at) - 3 : x(at) + 3}"${at > 0.9 * seconds ? ' text-anchor="end"' : ''} y="${PAD.top + 8 + (i % 2) * 13}">${escape(label)}</text>`));
  let left = PAD.left;
  for (const { label, colour, dash } of lines) {
    out.push(`<line x1="${left}" x2="${left + 18}" y1="36" y2="36" stroke="var(${colour})" stroke-width="3"${dash ? ' stroke-dasharray="5 4"' : ''}/><text class="legend" x="${left + 24}" y="40">${escape(label)}</text>`);
    left += 40 + label.length * 7.2;
  }
  out.push(`<text class="tick" x="${WIDTH - PAD.right}" y="40" text-anchor="end">${escape(unit)}</text></svg>`);
  return out.join('');
}

interface Point { readonly at: number; readonly value: number }

/** Values without a gap in between belong to one line. */
function runs(values: Line['values']): Point[][] {
  const all: Point[][] = [];
  let run: Point[] = [];
  values.forEach((value, at) => {
    if (value !== undefined) run.push({ at, value });
    else if (run.length > 0) {
      all.push(run);
      run = [];
    }
  });
  if (run.length > 0) all.push(run);
  return all;
}

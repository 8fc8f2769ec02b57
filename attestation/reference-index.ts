/**
 * The references of a policy, prepared once: evidence is looked up by its values, so a policy of a hundred thousand references appraises what it accepts as fast as
 * one of a single reference. Kept for as long as the policy is, under the array of its references, which is frozen: nobody changes a policy below its index.
 */
import type { NormalizedClaims } from './claims.ts';
import type { Platform } from './evidence.ts';
import type { Reference } from './policy.ts';
import { isComplete, referenceRegisters } from './policy-registers.ts';

type Proven = Pick<NormalizedClaims, 'measurements' | 'guest'>;
export interface Mismatch { readonly register: string; readonly have: string; readonly need: string }

/** References of one platform. */
export interface References {
  readonly count: number;
  /** At least one, and each pins all that its platform must have. */
  readonly complete: boolean;
  /** Registers that any of them names, sorted. */
  readonly registers: readonly string[];
  /** The first complete one whose every value is proven. */
  match(claims: Proven): Reference | undefined;
  /** The first of those with the fewest differences. */
  nearest(claims: Proven): Reference | undefined;
}

const HEX_DIGITS: Readonly<Record<string, number>> = { sha256: 64, sha384: 96 };
const ID_KEY = 'idKeyDigest';

/** What evidence proves of a register, by a digest of so many hex digits. */
function provenOf(claims: Proven, register: string, digits: number): string | undefined {
  return register === ID_KEY ? claims.guest.idKeyDigest : claims.measurements.find((m) => m.register === register && HEX_DIGITS[m.alg] === digits)?.value;
}

function valuesOf(reference: Reference): [name: string, value: string][] {
  const key = ID_KEY in reference ? reference.idKeyDigest : undefined;
  return [...referenceRegisters(reference), ...(key === undefined ? [] : [[ID_KEY, key] as [string, string]])];
}

/** All differences, in the order of the reference. */
export function mismatches(reference: Reference, claims: Proven): Mismatch[] {
  return valuesOf(reference).flatMap(([register, need]) => {
    const have = provenOf(claims, register, need.length);
    return have === need ? [] : [{ register, have: have ?? 'absent', need }];
  });
}

/** References that name the same registers with digests of the same lengths. */
class Shape {
  /** Position of the first complete reference with these values, written one behind the other: each has its length in every reference of the shape. */
  readonly #first = new Map<string, number>();
  readonly fields: readonly (readonly [name: string, digits: number])[];
  readonly #positions: number[] = [];
  /** A number for each value of a register, and each reference's numbers. */
  readonly #numbers: readonly Map<string, number>[];
  readonly #columns: readonly number[][];

  constructor(fields: readonly (readonly [name: string, digits: number])[]) {
    this.fields = fields;
    this.#numbers = fields.map(() => new Map());
    this.#columns = fields.map(() => []);
  }

  add(values: readonly string[], position: number, complete: boolean): void {
    this.#positions.push(position);
    values.forEach((value, i) => {
      const numbers = this.#numbers[i] as Map<string, number>;
      const number = numbers.get(value) ?? numbers.size;
      numbers.set(value, number);
      this.#columns[i]?.push(number);
    });
    const key = values.join('');
    if (complete && !this.#first.has(key)) this.#first.set(key, position);
  }

  #proven(claims: Proven): (string | undefined)[] {
    return this.fields.map(([name, digits]) => provenOf(claims, name, digits));
  }

  match(claims: Proven): number | undefined {
    const values = this.#proven(claims);
    return values.every((value, i) => value?.length === this.fields[i]?.[1]) ? this.#first.get(values.join('')) : undefined;
  }

  /** Goes through all of them, a comparison of small numbers for each register: what is refused has no short cut. */
  nearest(claims: Proven): { wrong: number; position: number } {
    const columns = this.#proven(claims).flatMap((value, i) => {
      const number = value === undefined ? undefined : this.#numbers[i]?.get(value);
      return number === undefined ? [] : [{ column: this.#columns[i] as number[], number }];
    });
    let best = -1;
    let at = 0;
    for (let row = 0; row < this.#positions.length && best < columns.length; row++) {
      let same = 0;
      for (const { column, number } of columns) if (column[row] === number) same += 1;
      if (same > best) [best, at] = [same, row];
    }
    return { wrong: this.fields.length - best, position: this.#positions[at] as number };
  }
}

function prepare(references: readonly Reference[]): References {
  const shapes = new Map<string, Shape>();
  let complete = references.length > 0;
  for (const [position, reference] of references.entries()) {
    const values = valuesOf(reference).sort(([a], [b]) => (a < b ? -1 : 1));
    const fields = values.map(([name, value]) => [name, value.length] as const);
    const name = JSON.stringify(fields);
    const shape = shapes.get(name) ?? new Shape(fields);
    shapes.set(name, shape);
    const whole = isComplete(reference);
    complete &&= whole;
    shape.add(values.map(([, value]) => value), position, whole);
  }
  const all = [...shapes.values()];
  return {
    count: references.length, complete,
    registers: [...new Set(all.flatMap((s) => s.fields.map(([name]) => name)))].filter((name) => name !== ID_KEY).sort(),
    match(claims) {
      const found = all.flatMap((s) => s.match(claims) ?? []);
      return found.length === 0 ? undefined : references[Math.min(...found)];
    },
    nearest(claims) {
      const [best] = all.map((s) => s.nearest(claims)).sort((a, b) => a.wrong - b.wrong || a.position - b.position);
      return best === undefined ? undefined : references[best.position];
    },
  };
}

const NONE = prepare([]);
const prepared = new WeakMap<readonly Reference[], ReadonlyMap<string, References>>();

export function referencesOf({ references }: { readonly references: readonly Reference[] }, platform: string): References {
  let known = prepared.get(references);
  if (known === undefined) {
    const by = new Map<string, Reference[]>();
    for (const reference of deepFreeze(references)) {
      const list = by.get(reference.platform);
      if (list === undefined) by.set(reference.platform, [reference]);
      else list.push(reference);
    }
    known = new Map([...by].map(([name, list]) => [name, prepare(list)]));
    prepared.set(references, known);
  }
  return known.get(platform) ?? NONE;
}

/** Registers that evidence of this platform has to prove, sorted: what a vTPM must be asked to quote, exactly. */
export const requiredRegisters = (policy: { readonly references: readonly Reference[] }, platform: Platform): readonly string[] => referencesOf(policy, platform).registers;

/** Of a tree of JSON. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}

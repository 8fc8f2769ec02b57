/** What each part of the benchmark hands over. */

export interface Goal { readonly what: string; readonly have: number; readonly need: string; readonly holds: boolean }

export interface Section {
  readonly title: string;
  /** What was measured, and what is in it. */
  readonly about: readonly string[];
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** A second table. */
  readonly more?: { readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] };
  readonly goals: readonly Goal[];
  readonly load: string;
}

export const ms = (value: number): string => (value < 1 ? value.toFixed(3) : value < 100 ? value.toFixed(2) : value.toFixed(0));
export const ratio = (value: number): string => value.toFixed(2);

export const atMost = (what: string, have: number, limit: number): Goal => ({ what, have, need: `<= ${limit}`, holds: have <= limit });
export const atLeast = (what: string, have: number, limit: number): Goal => ({ what, have, need: `>= ${limit}`, holds: have >= limit });

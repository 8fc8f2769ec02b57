/** A configuration that must not be synthesized: one sentence, the field, what it has and what it needs. */
export class ConfigurationError extends Error {
  readonly field: string;

  constructor(field: string, have: unknown, need: string) {
    super(`${field}: have ${JSON.stringify(have) ?? 'nothing'}, need ${need}`);
    this.name = 'ConfigurationError';
    this.field = field;
  }
}

/** @throws ConfigurationError unless `ok` */
export function need(ok: boolean, field: string, have: unknown, what: string): asserts ok {
  if (!ok) throw new ConfigurationError(field, have, what);
}

/** @throws ConfigurationError unless it is a whole number from min to max */
export function needWhole(field: string, value: number, min: number, max: number, unit = ''): void {
  need(Number.isInteger(value) && value >= min && value <= max, field, value, `a whole number from ${min} to ${max}${unit && ` ${unit}`}`);
}

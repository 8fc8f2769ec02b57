/**
 * Readers of parsed JSON: each takes a value to what it has to be, or says where and why it is not. A validation library would be most of the verifier's
 * bundle. Members that no reader names are passed over.
 */
export type Reader<T> = (value: unknown) => T;
export type Read<R> = R extends Reader<infer T> ? T : never;

/** Not what it has to be: `need` at `path`, from the inside out. */
export class FieldError extends Error {
  override readonly name = 'FieldError';
  readonly need: string;
  readonly path: (string | number)[] = [];

  constructor(need: string) {
    super(need);
    this.need = need;
  }
}

const fail = (need: string): never => { throw new FieldError(need); };

function inside<T>(name: string | number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof FieldError) error.path.unshift(name);
    throw error;
  }
}

export const integer = (min: number, max: number): Reader<number> => (value) => (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max ? value as number : fail(`an integer from ${min} to ${max}`));

export const textOf = (pattern: RegExp, need: string): Reader<string> => (value) => (typeof value === 'string' && pattern.test(value) ? value : fail(need));

export const oneOf = <const T extends readonly (string | number)[]>(...values: T): Reader<T[number]> => (value) => (values.includes(value as T[number]) ? value as T[number] : fail(values.join(' or ')));

/** What `read` takes, taken further. */
export const mapped = <A, B>(read: Reader<A>, further: (value: A) => B): Reader<B> => (value) => further(read(value));

export const that = <T>(read: Reader<T>, holds: (value: T) => boolean, need: string): Reader<T> => (value) => {
  const taken = read(value);
  return holds(taken) ? taken : fail(need);
};

export const listOf = <T>(read: Reader<T>, min: number, max: number): Reader<T[]> => (value) => (Array.isArray(value) && value.length >= min && value.length <= max ? value.map((item, i) => inside(i, () => read(item))) : fail(`a list of ${min === max ? min : `${min} to ${max}`}`));

type Shape = Readonly<Record<string, Reader<unknown>>>;
type Required<S extends Shape> = { [K in keyof S]: Read<S[K]> };
type Optional<S extends Shape> = { [K in keyof S]?: Read<S[K]> };

/** @param optional members that may be absent */
export const objectOf = <S extends Shape, O extends Shape = Record<never, never>>(shape: S, optional?: O): Reader<Required<S> & Optional<O>> => (value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail('an object');
  const out: Record<string, unknown> = {};
  for (const [name, read] of Object.entries(shape)) out[name] = inside(name, () => (Object.hasOwn(value, name) ? read((value as Record<string, unknown>)[name]) : fail('a member that is absent')));
  for (const [name, read] of Object.entries(optional ?? {})) if (Object.hasOwn(value, name)) out[name] = inside(name, () => read((value as Record<string, unknown>)[name]));
  return out as Required<S> & Optional<O>;
};

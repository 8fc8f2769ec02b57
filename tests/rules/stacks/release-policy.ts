/**
 * Evaluates Azure Key Vault release policies, as far as ours go. Grammar: Microsoft Learn, "Azure Key Vault secure key release policy grammar": a policy has
 * `version` and `anyOf` authorities; each has `authority` and `allOf` or `anyOf` conditions; a condition is `claim` and one operator, or a group again.
 * Claims are named by path, with dots. What it does not know is an error.
 */
export type Claims = Readonly<Record<string, unknown>>;

export function releases(policy: unknown, token: { readonly issuer: string; readonly claims: Claims }): boolean {
  const p = object(policy, 'policy');
  fields(p, ['version', 'anyOf'], 'policy');
  if (p['version'] !== '1.0.0') throw new Error(`version ${JSON.stringify(p['version'])}`);
  return group(p['anyOf'], 'anyOf').some((entry) => {
    const authority = object(entry, 'authority');
    fields(authority, ['authority', 'allOf', 'anyOf'], 'authority');
    if (typeof authority['authority'] !== 'string' || !authority['authority'].startsWith('https://')) throw new Error('an authority without an address');
    return authority['authority'].replace(/\/$/, '') === token.issuer.replace(/\/$/, '') && conditions(authority, token.claims);
  });
}

function conditions(node: Record<string, unknown>, claims: Claims): boolean {
  const [all, any] = [node['allOf'], node['anyOf']];
  if ((all === undefined) === (any === undefined)) throw new Error('either allOf or anyOf');
  return all !== undefined ? group(all, 'allOf').every((c) => condition(c, claims)) : group(any, 'anyOf').some((c) => condition(c, claims));
}

function condition(node: unknown, claims: Claims): boolean {
  const c = object(node, 'condition');
  if (c['claim'] === undefined) { fields(c, ['allOf', 'anyOf'], 'group'); return conditions(c, claims); }
  fields(c, ['claim', 'equals'], 'condition');
  if (typeof c['claim'] !== 'string') throw new Error('a claim without a name');
  if (!['string', 'boolean', 'number'].includes(typeof c['equals'])) throw new Error(`equals ${JSON.stringify(c['equals'])}`);
  const have = claimAt(claims, c['claim']);
  return have !== undefined && have === c['equals'];
}

function claimAt(claims: Claims, path: string): unknown {
  let here: unknown = claims;
  for (const step of path.split('.')) {
    if (here === null || typeof here !== 'object' || Array.isArray(here)) return undefined;
    here = (here as Record<string, unknown>)[step];
  }
  return here;
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Error(`${what} is no object`);
  return value as Record<string, unknown>;
}

function group(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw new Error(`${what} is no list of conditions`);
  return value;
}

function fields(value: Record<string, unknown>, known: readonly string[], what: string): void {
  for (const field of Object.keys(value)) if (!known.includes(field)) throw new Error(`${what}: unknown field ${field}`);
}

/**
 * A stack without its providers: every block becomes a `terraform_data` whose input is its body, every reference follows. Terraform itself then reads all
 * expressions, runs those that are pure functions, and finds references to nothing and circles, wherever a Terraform is and no provider.
 */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Body = { [key: string]: Json };
type Blocks = { [type: string]: { [name: string]: Body } };

/** Written on a block for Terraform, not for its provider; `provider` names what is gone, the rest of `lifecycle` names attributes. */
const META = ['depends_on', 'count', 'for_each'] as const;
const DROPPED = new Set<string>([...META, 'provider', 'lifecycle', 'connection', 'provisioner', '//']);

export function hollow(stack: Json): Body {
  const { data, resource, locals, output } = stack as Body;
  const kept: { [name: string]: Body } = {};
  const known = new Map<string, string>();
  const every = [...blocksOf(resource, ''), ...blocksOf(data, 'data.')];
  for (const { address } of every) known.set(address, `terraform_data.${address.replaceAll('.', '__')}`);
  const follow = (value: Json): Json => rewrite(value, known);
  for (const { address, type, body } of every) {
    const lifecycle = body['lifecycle'] as Body | undefined;
    const conditions = Object.fromEntries(Object.entries(lifecycle ?? {}).filter(([key]) => key === 'precondition'));
    kept[address.replaceAll('.', '__')] = {
      // A stack's own `terraform_data` stays what it is.
      input: follow(type === 'terraform_data' ? body['input'] ?? null : Object.fromEntries(Object.entries(body).filter(([key]) => !DROPPED.has(key)))),
      ...Object.fromEntries(META.filter((key) => body[key] !== undefined).map((key) => [key, key === 'depends_on' ? (body[key] as string[]).map((other) => known.get(other) ?? other) : follow(body[key] as Json)])),
      ...(Object.keys(conditions).length > 0 ? { lifecycle: follow(conditions) } : {}),
    };
  }
  return { resource: { terraform_data: kept }, ...(locals === undefined ? {} : { locals: follow(locals) }), ...(output === undefined ? {} : { output: follow(output) }) };
}

function* blocksOf(kind: Json | undefined, prefix: string): Generator<{ address: string; type: string; body: Body }> {
  for (const [type, named] of Object.entries((kind ?? {}) as Blocks)) for (const [name, body] of Object.entries(named)) yield { address: `${prefix}${type}.${name}`, type, body };
}

const REFERENCE = /(?<![\w.$-])(?:data\.)?[a-z][a-z0-9]*_[a-z0-9_]+\.[A-Za-z_][\w-]*/g;

/** References inside of `${...}`: `aws_lb.edge.arn` becomes `jsondecode(terraform_data.aws_lb__edge.id).arn`. The id is unknown until applied, and so is all that is read from it, as a provider's answers are. */
function rewrite(value: Json, known: ReadonlyMap<string, string>): Json {
  if (typeof value === 'string') return value.includes('${') ? value.replace(REFERENCE, (address) => { const to = known.get(address); return to === undefined ? address : `jsondecode(${to}.id)`; }) : value;
  if (Array.isArray(value)) return value.map((each) => rewrite(each, known));
  if (value !== null && typeof value === 'object') return Object.fromEntries(Object.entries(value).filter(([key]) => key !== '//').map(([key, each]) => [key, rewrite(each, known)]));
  return value;
}

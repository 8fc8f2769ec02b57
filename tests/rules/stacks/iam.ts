/**
 * Evaluates AWS policies as far as ours go: `aws_iam_policy_document` data sources with actions, principals and conditions. Whatever it does not know (an
 * operator, a condition key, a field) is an error, never a guess. Source: AWS IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements".
 */
import { at, type Body, type Json, list } from './template.ts';

export interface Request {
  /** As policies name it: an ARN, a reference as `${aws_iam_role.x.arn}`, or `service:kms.amazonaws.com`. */
  readonly principal: string;
  readonly action: string;
  readonly resource?: string;
  /** Condition keys of the request; a key that is absent is not in the request. */
  readonly context?: Readonly<Record<string, string>>;
}
export type Decision = 'allow' | 'explicit-deny' | 'implicit-deny';

const STATEMENT_FIELDS = new Set(['sid', 'effect', 'actions', 'not_actions', 'resources', 'not_resources', 'principals', 'not_principals', 'condition']);

export function evaluate(document: Body, request: Request): Decision {
  for (const field of Object.keys(document)) if (!['statement', 'version', 'policy_id', '//', 'source_policy_documents', 'override_policy_documents', 'provider', 'depends_on'].includes(field)) throw new Error(`policy document: unknown field ${field}`);
  if (document['source_policy_documents'] !== undefined || document['override_policy_documents'] !== undefined) throw new Error('policy document: merged documents are not evaluated');
  let decision: Decision = 'implicit-deny';
  for (const statement of list(document['statement']) as Body[]) {
    if (!applies(statement, request)) continue;
    if (statement['effect'] === 'Deny') return 'explicit-deny';
    decision = 'allow';
  }
  return decision;
}

function applies(statement: Body, request: Request): boolean {
  for (const field of Object.keys(statement)) if (!STATEMENT_FIELDS.has(field)) throw new Error(`statement: unknown field ${field}`);
  const effect = statement['effect'] ?? 'Allow';
  if (effect !== 'Allow' && effect !== 'Deny') throw new Error(`statement: effect ${JSON.stringify(effect)}`);
  const texts = (field: string): string[] => list(statement[field]).map((v) => { if (typeof v !== 'string') throw new Error(`statement: ${field} that is no text`); return v; });
  const [actions, notActions, notResources] = [texts('actions'), texts('not_actions'), texts('not_resources')];
  if ((actions.length === 0) === (notActions.length === 0)) throw new Error('statement: either actions or not_actions');
  if (notResources.length > 0) throw new Error('statement: not_resources is not evaluated');
  const named = (patterns: string[]): boolean => patterns.some((p) => glob(p.toLowerCase(), request.action.toLowerCase()));
  if (actions.length > 0 ? !named(actions) : named(notActions)) return false;
  const resources = texts('resources');
  if (resources.length > 0 && !resources.includes('*') && (request.resource === undefined || !resources.some((r) => glob(r, request.resource as string)))) return false;
  if (statement['principals'] !== undefined && statement['not_principals'] !== undefined) throw new Error('statement: both principals and not_principals');
  if (statement['not_principals'] !== undefined) { if (principalMatches(statement['not_principals'], request.principal)) return false; } else if (statement['principals'] !== undefined && !principalMatches(statement['principals'], request.principal)) return false;
  return list(statement['condition']).every((c) => conditionHolds(c as Body, request));
}

function principalMatches(principals: Json, principal: string): boolean {
  return (list(principals) as Body[]).some((p) => {
    const type = p['type'];
    if (!['AWS', 'Service', '*', 'Federated'].includes(String(type))) throw new Error(`principals: type ${JSON.stringify(type)}`);
    return list(p['identifiers']).some((id) => {
      if (type === '*' || (type === 'AWS' && id === '*')) return true;
      if (type === 'Service') return principal === `service:${String(id)}`;
      if (type === 'Federated') return principal === `federated:${String(id)}`;
      // An account in a principal stands for everyone that the account's own policies let in: ours give nobody that, so it is the root user alone here.
      return principal === id;
    });
  });
}

const KNOWN_KEYS = /^(?:kms:(?:RecipientAttestation:(?:PCR(?:[0-9]|[12][0-9]|3[01])|ImageSha384)|ViaService|CallerAccount|GrantIsForAWSResource|GranteePrincipal|GrantOperations|EncryptionContext:[\w:/-]+|EncryptionContextKeys|KeySpec|ResourceAliases|PrimaryRegion|ReplicaRegion|ScheduleKeyDeletionPendingWindowInDays)|aws:(?:PrincipalArn|PrincipalAccount|PrincipalOrgID|PrincipalIsAWSService|PrincipalTag\/[\w-]+|SecureTransport|SourceAccount|SourceArn|SourceVpce|SourceVpc|RequestedRegion|MultiFactorAuthPresent|CalledVia|ResourceAccount|ViaAWSService|ResourceTag\/[\w-]+|RequestTag\/[\w-]+|TagKeys)|s3:[\w-]+|sts:[\w-]+|iam:[\w-]+|token\.actions\.githubusercontent\.com:(?:aud|sub|repository|ref|environment|job_workflow_ref)|ec2:[\w/-]+|autoscaling:[\w/-]+|cloudwatch:namespace|logs:[\w-]+|sns:[\w-]+|rds-db:[\w-]+)$/;

function conditionHolds(condition: Body, request: Request): boolean {
  const [operator, key] = [String(condition['test']), String(condition['variable'])];
  if (!KNOWN_KEYS.test(key)) throw new Error(`condition: unknown key ${key}`);
  const values = list(condition['values']).map(String);
  if (values.length === 0) throw new Error(`condition on ${key}: no values`);
  const have = request.context?.[key];
  if (operator === 'Null') {
    if (values.length !== 1 || !['true', 'false'].includes(values[0] as string)) throw new Error(`condition Null on ${key}: ${values.join()}`);
    return (have === undefined) === (values[0] === 'true');
  }
  const ifExists = operator.endsWith('IfExists');
  const name = ifExists ? operator.slice(0, -'IfExists'.length) : operator;
  const negated = /^(?:String|Arn)Not/.test(name);
  // An absent key: positive operators do not hold, negated ones do, IfExists holds.
  if (have === undefined) return ifExists || negated;
  switch (name) {
    case 'StringEquals': case 'ArnEquals': return name === 'ArnEquals' ? values.some((v) => glob(v, have)) : values.includes(have);
    case 'StringEqualsIgnoreCase': return values.some((v) => v.toLowerCase() === have.toLowerCase());
    case 'StringNotEquals': return !values.includes(have);
    case 'StringLike': case 'ArnLike': return values.some((v) => glob(v, have));
    case 'StringNotLike': case 'ArnNotLike': return !values.some((v) => glob(v, have));
    case 'ArnNotEquals': return !values.some((v) => glob(v, have));
    case 'Bool': return values.includes(have);
    case 'NumericLessThan': return values.some((v) => Number(have) < Number(v));
    case 'NumericLessThanEquals': return values.some((v) => Number(have) <= Number(v));
    default: throw new Error(`condition: unknown operator ${operator}`);
  }
}

function glob(pattern: string, text: string): boolean {
  return new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')}$`, 's').test(text);
}

/** Actions and condition keys that a document names, to be looked up in AWS's own list. */
export function vocabulary(document: Body): { actions: string[]; keys: string[] } {
  const statements = list(document['statement']) as Body[];
  return {
    actions: statements.flatMap((s) => [...list(s['actions']), ...list(s['not_actions'])].map(String)),
    keys: statements.flatMap((s) => list(s['condition']).map((c) => String(at(c, 'variable')))),
  };
}

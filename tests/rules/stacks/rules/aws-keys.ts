/** Rule 2: data keys open for attested enclaves of the lock file and for nobody else, on the primary and on every replica; separated duties. */
import { entriesOf, readLock } from '../../../../modules/measurements.ts';
import { evaluate, vocabulary } from '../iam.ts';
import type { Rule, Say } from '../rule.ts';
import { at, type Block, blocks, type Body, list, resources, type Template } from '../template.ts';

const PCRS = ['PCR0', 'PCR1', 'PCR2', 'PCR8'] as const;
const USE = ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:GenerateDataKeyWithoutPlaintext', 'kms:GenerateDataKeyPair', 'kms:GenerateDataKeyPairWithoutPlaintext', 'kms:ReEncryptFrom', 'kms:DeriveSharedSecret', 'kms:Sign', 'kms:CreateGrant', 'kms:PutKeyPolicy'] as const;

/** The policy document that a key's `policy` names. */
export function policyOf(t: Template, key: Block): Block | undefined {
  const name = /^\$\{data\.aws_iam_policy_document\.([\w-]+)\.json\}$/.exec(String(key.body['policy']))?.[1];
  return blocks(t, 'aws_iam_policy_document').find((b) => b.name === name);
}

/** Roles of the stack, as key policies name them. */
export function principals(document: Body): string[] {
  return [...new Set((list(document['statement']) as Body[]).flatMap((s) => list(s['principals']) as Body[]).filter((p) => p['type'] === 'AWS').flatMap((p) => list(p['identifiers']).map(String)))].filter((p) => p !== '*');
}

export const attestation = (pcrs: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries([...Object.entries(pcrs).map(([k, v]) => [`kms:RecipientAttestation:${k}`, v]), ['kms:RecipientAttestation:ImageSha384', pcrs['PCR0'] ?? '']]);

export const isDataKey = (b: Block): boolean => /data/.test(b.name) && !/infra|database/.test(b.name);

export const awsKeys: Rule = {
  id: 'aws-keys',
  title: 'rotation, deletion window, attestation conditions on primary and replicas, Null-deny, no kms:* and no grants for administrators',
  check(t, say) {
    if (t.cloud !== 'aws') return;
    const keys = resources(t, 'aws_kms_key');
    const data = keys.filter(isDataKey);
    if (data.length === 0) say('aws_kms_key', 'there is no data key');
    for (const key of keys) {
      if (key.body['enable_key_rotation'] !== true || Number(key.body['rotation_period_in_days'] ?? 365) > 90) say(key, 'not rotated every 90 days');
      if (Number(key.body['deletion_window_in_days'] ?? 30) < 30) say(key, 'deletion window below 30 days');
      if (key.body['policy'] === undefined) say(key, 'the default policy gives the account kms:*');
      if (t.environment === 'prod' && at(key.body, 'lifecycle', 'prevent_destroy') !== true) say(key, 'no prevent_destroy in prod');
      if (key.body['bypass_policy_lockout_safety_check'] === true) say(key, 'the lockout check is bypassed');
      const document = policyOf(t, key);
      if (key.body['policy'] !== undefined && document === undefined) say(key, 'its policy is no policy document of this stack');
      if (document !== undefined) duties(document, say);
    }
    for (const key of data) {
      if (key.body['multi_region'] !== true) say(key, 'not a multi-region key: the standby region cannot open anything');
      const document = policyOf(t, key);
      if (document === undefined) continue;
      attested(document, say);
      const replicas = resources(t, 'aws_kms_replica_key').filter((r) => String(r.body['primary_key_arn']).includes(`aws_kms_key.${key.name}.`));
      if (replicas.length === 0) say(key, 'no replica in the standby region');
      for (const replica of replicas) {
        if (replica.body['policy'] !== key.body['policy']) say(replica, 'its policy is not that of the primary');
        if (Number(replica.body['deletion_window_in_days'] ?? 30) < 30) say(replica, 'deletion window below 30 days');
      }
    }
  },
};

/** Requests that decide, asked of the policy itself. */
function attested(document: Block, say: Say): void {
  const lock = readLock();
  const entries = entriesOf(lock, 'broker').map((e) => e.nitro as Record<string, string>);
  const who = [...principals(document.body), 'arn:aws:iam::999999999999:role/stranger', 'account-root'];
  const asks = (principal: string, action: string, context: Record<string, string>): boolean => evaluate(document.body, { principal, action, context }) === 'allow';
  const allowed = who.filter((p) => entries.every((pcrs) => asks(p, 'kms:Decrypt', attestation(pcrs))));
  if (allowed.length !== 1) say(document, `${allowed.length} principals may decrypt under attestation, need exactly one: ${allowed.join(', ')}`);
  for (const p of who) {
    for (const action of USE) {
      if (action !== 'kms:PutKeyPolicy' && action !== 'kms:CreateGrant' && asks(p, action, {})) say(document, `${p} may ${action} without attestation`);
      if (action === 'kms:CreateGrant' && asks(p, action, {})) say(document, `${p} may create grants`);
    }
    for (const action of ['kms:GenerateDataKeyPair', 'kms:GenerateDataKeyPairWithoutPlaintext', 'kms:DeriveSharedSecret', 'kms:ReEncryptFrom'] as const) {
      if (entries.some((pcrs) => asks(p, action, attestation(pcrs)))) say(document, `${p} may ${action}`);
    }
    for (const pcr of PCRS) {
      const wrong = { ...(entries[0] as Record<string, string>), [pcr]: 'e'.repeat(96) };
      if (asks(p, 'kms:Decrypt', attestation(wrong))) say(document, `${p} may decrypt whatever ${pcr} is`);
    }
    const zero = Object.fromEntries(PCRS.map((pcr) => [pcr, '0'.repeat(96)]));
    if (asks(p, 'kms:Decrypt', attestation(zero))) say(document, `${p} may decrypt in debug mode`);
  }
  // A later Allow for somebody else must not open the key: the Null-deny has to hold by itself.
  const opened: Body = { ...document.body, statement: [...list(document.body['statement']), { effect: 'Allow', actions: ['kms:*'], resources: ['*'], principals: [{ type: 'AWS', identifiers: ['*'] }] }] };
  for (const action of ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:GenerateDataKeyWithoutPlaintext'] as const) {
    if (evaluate(opened, { principal: 'arn:aws:iam::999999999999:role/stranger', action }) !== 'explicit-deny') say(document, `no explicit deny of ${action} without attestation`);
  }
  if (evaluate(opened, { principal: 'arn:aws:iam::999999999999:role/stranger', action: 'kms:PutKeyPolicy', context: { 'aws:PrincipalArn': 'arn:aws:iam::999999999999:role/stranger' } }) !== 'explicit-deny') say(document, 'no explicit deny of PutKeyPolicy outside the break-glass role');
  for (const statement of list(document.body['statement']) as Body[]) {
    for (const condition of list(statement['condition']) as Body[]) {
      if (!/RecipientAttestation:PCR/.test(String(condition['variable']))) continue;
      const register = String(condition['variable']).split(':').pop() as string;
      for (const value of list(condition['values']).map(String)) {
        if (!/^[0-9a-f]{96}$/.test(value) || /^0+$/.test(value)) say(document, `${register} is compared with ${value.slice(0, 12)}..., which is no SHA-384`);
        else if (!entries.some((pcrs) => pcrs[register] === value)) say(document, `${register} has a value that the lock file has not`);
      }
    }
  }
}

function duties(document: Block, say: Say): void {
  const { actions } = vocabulary(document.body);
  for (const statement of list(document.body['statement']) as Body[]) {
    if ((statement['effect'] ?? 'Allow') !== 'Allow') continue;
    const wide = list(statement['actions']).map(String).filter((a) => a === '*' || a === 'kms:*' || a === 'kms:Create*' || a === 'kms:Put*');
    if (wide.length > 0) say(document, `${wide.join(', ')} is allowed: actions are listed one by one`);
  }
  if (actions.length === 0) say(document, 'an empty policy');
  for (const p of principals(document.body).filter((name) => /admin/.test(name))) {
    for (const action of ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:CreateGrant', 'kms:ReEncryptFrom', 'kms:GenerateDataKeyWithoutPlaintext'] as const) {
      if (evaluate(document.body, { principal: p, action, context: { 'kms:GrantIsForAWSResource': 'true', 'kms:ViaService': 's3.eu-central-1.amazonaws.com' } }) === 'allow') say(document, `the administrator ${p} may ${action}`);
    }
  }
}

/** Policy documents as data sources: Terraform renders references and quotes rightly, which `JSON.stringify` with tokens does not. */
import { DataAwsIamPolicyDocument, type DataAwsIamPolicyDocumentStatement } from '@cdktf/provider-aws/lib/data-aws-iam-policy-document/index.js';
import { IamRole } from '@cdktf/provider-aws/lib/iam-role/index.js';
import { IamRolePolicy } from '@cdktf/provider-aws/lib/iam-role-policy/index.js';
import type { Construct } from 'constructs';

export interface Condition { readonly test: string; readonly variable: string; readonly values: readonly string[] }
export interface Principal { readonly type: 'AWS' | 'Service' | 'Federated'; readonly identifiers: readonly string[] }
export interface Statement {
  readonly sid: string;
  readonly effect?: 'Allow' | 'Deny';
  readonly actions?: readonly string[];
  readonly notActions?: readonly string[];
  readonly resources?: readonly string[];
  readonly principals?: readonly Principal[];
  readonly condition?: readonly Condition[];
}

export const aws = (...identifiers: string[]): Principal[] => [{ type: 'AWS', identifiers }];
export const service = (...identifiers: string[]): Principal[] => [{ type: 'Service', identifiers }];
export const when = (test: string, variable: string, ...values: string[]): Condition => ({ test, variable, values });
/** Everyone: only ever in a Deny, or in an Allow with a condition that names the account. */
export const ANYONE: Principal[] = [{ type: 'AWS', identifiers: ['*'] }];

/** JSON of the policy, rendered by Terraform. */
export function policyDocument(scope: Construct, id: string, statements: readonly Statement[]): string {
  return new DataAwsIamPolicyDocument(scope, id, { statement: statements as unknown as DataAwsIamPolicyDocumentStatement[] }).json;
}

/** A service acts for resources of this account only, whoever asked it to (the confused deputy). */
export const fromAccount = (account: string): Condition => when('StringEquals', 'aws:SourceAccount', account);

export interface ServiceRole { readonly name: string; readonly principal: string; readonly account: string; readonly boundary: string }

/** A role that one service assumes, for this account's resources only where the service says whose they are. */
export function serviceRole(scope: Construct, id: string, { name, principal, account, boundary }: ServiceRole): IamRole {
  // EC2 and S3's replication give no source account when they assume a role.
  const condition = ['ec2.amazonaws.com', 's3.amazonaws.com'].includes(principal) ? [] : [fromAccount(account)];
  return new IamRole(scope, id, {
    name, maxSessionDuration: 3_600, permissionsBoundary: boundary,
    assumeRolePolicy: policyDocument(scope, `${id}-trust`, [{ sid: 'Service', actions: ['sts:AssumeRole'], principals: service(principal), condition }]),
  });
}

/** What the role may do. What the service checks at creation, or uses at once, depends on the answer: a reference to the role alone does not wait for this. */
export function permit(scope: Construct, id: string, role: IamRole, statements: readonly Statement[]): IamRolePolicy {
  return new IamRolePolicy(scope, `${id}-permissions`, { name: 'permissions', role: role.name, policy: policyDocument(scope, `${id}-document`, statements) });
}

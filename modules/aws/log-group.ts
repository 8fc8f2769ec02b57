import { CloudwatchLogGroup } from '@cdktf/provider-aws/lib/cloudwatch-log-group/index.js';
import type { Construct } from 'constructs';
import { need } from '../configuration-error.ts';

/** Days that CloudWatch Logs knows (PutRetentionPolicy), from a year on. */
const RETENTIONS = [365, 400, 545, 731, 1_096, 1_827, 2_192, 2_557, 2_922, 3_288, 3_653] as const;

export interface LogSettings { readonly keyArn: string; /** At least. */ readonly retentionDays: number }

/** The shortest retention of the service that is no shorter than what is asked for. */
export function retentionOf(days: number): number {
  const retention = RETENTIONS.find((known) => known >= days);
  need(retention !== undefined && days >= 365, 'retention.logs', days, 'from 365 to 3653 days');
  return retention;
}

export function logGroup(scope: Construct, id: string, name: string, { keyArn, retentionDays }: LogSettings): CloudwatchLogGroup {
  return new CloudwatchLogGroup(scope, id, { name, retentionInDays: retentionOf(retentionDays), kmsKeyId: keyArn });
}

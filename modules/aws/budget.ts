/** What the cell may cost a month, and the tags that say what for. */
import { BudgetsBudget } from '@cdktf/provider-aws/lib/budgets-budget/index.js';
import { CeCostAllocationTag } from '@cdktf/provider-aws/lib/ce-cost-allocation-tag/index.js';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';

export interface BudgetProps {
  readonly named: Namer;
  /** US dollars a month. */
  readonly limit: number;
  readonly environment: string;
  readonly contact: string;
  readonly alertTopic: string;
}

export class Budget extends Construct {
  constructor(scope: Construct, id: string, { named, limit, environment, contact, alertTopic }: BudgetProps) {
    super(scope, id);
    needWhole('budget.aws', limit, 1, 1_000_000, 'US dollars');
    const notice = (notificationType: 'ACTUAL' | 'FORECASTED', threshold: number) => ({
      notificationType, threshold, thresholdType: 'PERCENTAGE', comparisonOperator: 'GREATER_THAN', subscriberEmailAddresses: [contact], subscriberSnsTopicArns: [alertTopic],
    });
    new BudgetsBudget(this, 'monthly', {
      name: named('aws-generic', 'monthly'), budgetType: 'COST', limitAmount: limit.toFixed(1), limitUnit: 'USD', timeUnit: 'MONTHLY', costFilter: [{ name: 'TagKeyValue', values: [`user:env$${environment}`] }],
      notification: [notice('ACTUAL', 50), notice('ACTUAL', 80), notice('ACTUAL', 100), notice('FORECASTED', 100)],
    });
    // Works in the payer's account, a day after a tag was first used (`ccc preflight aws` looks).
    for (const tag of ['app', 'env', 'cost-center', 'data-class']) new CeCostAllocationTag(this, `tag-${tag}`, { tagKey: tag, status: 'Active' });
  }
}

/** Notices before the month's money is gone, by what is spent and by what will be. */
import { BillingBudget } from '@cdktf/provider-google/lib/billing-budget/index.js';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';

export interface BudgetProps {
  readonly named: Namer;
  readonly billingAccount: string;
  readonly projectNumber: string;
  /** US dollars a month. */
  readonly limit: number;
  readonly channels: readonly string[];
}

export class Budget extends Construct {
  constructor(scope: Construct, id: string, { named, billingAccount, projectNumber, limit, channels }: BudgetProps) {
    super(scope, id);
    needWhole(`${id}.limit`, limit, 1, 1_000_000, 'US dollars');
    new BillingBudget(this, 'month', {
      billingAccount, displayName: named('gcp-generic', 'month'), budgetFilter: { projects: [`projects/${projectNumber}`], calendarPeriod: 'MONTH', creditTypesTreatment: 'EXCLUDE_ALL_CREDITS' }, amount: { specifiedAmount: { currencyCode: 'USD', units: String(limit) } },
      thresholdRules: [{ thresholdPercent: 0.5, spendBasis: 'CURRENT_SPEND' }, { thresholdPercent: 0.9, spendBasis: 'CURRENT_SPEND' }, { thresholdPercent: 1, spendBasis: 'FORECASTED_SPEND' }],
      allUpdatesRule: { monitoringNotificationChannels: [...channels], disableDefaultIamRecipients: false },
    });
  }
}

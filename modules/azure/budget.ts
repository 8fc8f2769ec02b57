/** Notices at shares of the month's budget, spent and forecast. Azure budgets only tell; nothing is switched off. */
import { ConsumptionBudgetResourceGroup } from '@cdktf/provider-azurerm/lib/consumption-budget-resource-group/index.js';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import type { AzureScope } from './scope.ts';

export interface BudgetProps {
  readonly scope: AzureScope;
  /** Part of the name: one budget per resource group. */
  readonly part: string;
  /** US dollars a month. */
  readonly amount: number;
  /** First of a month, RFC 3339. */
  readonly startDate: string;
  readonly contact: string;
  readonly actionGroupId: string;
}

export class Budget extends Construct {
  constructor(parent: Construct, id: string, { scope, part, amount, startDate, contact, actionGroupId }: BudgetProps) {
    super(parent, id);
    needWhole('budget.azure', amount, 1, 1_000_000, 'US dollars');
    need(/^20\d\d-\d\d-01T00:00:00Z$/.test(startDate), 'budgetStart', startDate, 'the first of a month');
    const notice = (threshold: number, thresholdType: 'Actual' | 'Forecasted') => ({ enabled: true, operator: 'GreaterThan', threshold, thresholdType, contactEmails: [contact], contactGroups: [actionGroupId] });
    new ConsumptionBudgetResourceGroup(this, 'month', {
      name: scope.named('azure-generic', `budget-${part}`), resourceGroupId: scope.group.id, amount, timeGrain: 'Monthly', timePeriod: { startDate, endDate: '2036-12-01T00:00:00Z' },
      notification: [notice(50, 'Actual'), notice(80, 'Actual'), notice(100, 'Actual'), notice(100, 'Forecasted')],
    });
  }
}

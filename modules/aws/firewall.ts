/** The web application firewall in front of the public load balancer, and its log. */
import { Wafv2WebAclAssociation } from '@cdktf/provider-aws/lib/wafv2-web-acl-association/index.js';
import { Wafv2WebAclLoggingConfiguration } from '@cdktf/provider-aws/lib/wafv2-web-acl-logging-configuration/index.js';
import { Wafv2WebAcl } from '@cdktf/provider-aws/lib/wafv2-web-acl/index.js';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import { type LogSettings, logGroup } from './log-group.ts';

export interface FirewallProps { readonly named: Namer; readonly resourceArn: string; readonly logs: LogSettings; /** In five minutes. */ readonly requestsPerAddress: number }

export class Firewall extends Construct {
  readonly name: string;

  constructor(scope: Construct, id: string, { named, resourceArn, logs, requestsPerAddress }: FirewallProps) {
    super(scope, id);
    needWhole('requestsPerAddress', requestsPerAddress, 10, 2_000_000_000);
    const seen = (metricName: string) => ({ cloudwatchMetricsEnabled: true, metricName, sampledRequestsEnabled: false });
    const managed = (priority: number, group: string, counted: readonly string[] = []) => ({
      name: group, priority, overrideAction: { none: {} }, visibilityConfig: seen(group),
      statement: { managed_rule_group_statement: { vendor_name: 'AWS', name: group, ...(counted.length === 0 ? {} : { rule_action_override: counted.map((name) => ({ name, action_to_use: { count: {} } })) }) } },
    });
    const acl = new Wafv2WebAcl(this, 'acl', {
      name: named('aws-generic', 'public'), description: 'Public API', scope: 'REGIONAL', defaultAction: { allow: {} }, visibilityConfig: seen(named('aws-generic', 'public')),
      rule: [
        managed(0, 'AWSManagedRulesAmazonIpReputationList'),
        { name: 'rate', priority: 1, action: { block: { customResponse: { responseCode: 429 } } }, statement: { rate_based_statement: { limit: requestsPerAddress, aggregate_key_type: 'IP', evaluation_window_sec: 300 } }, visibilityConfig: seen('rate') },
        // Log4JRCE_HEADER and its like are in this group.
        managed(2, 'AWSManagedRulesKnownBadInputsRuleSet'),
        // Bodies are ciphertext, larger than what the firewall looks at and free to contain any bytes: rules on bodies count, all others block.
        managed(3, 'AWSManagedRulesCommonRuleSet', ['SizeRestrictions_BODY', 'CrossSiteScripting_BODY', 'GenericLFI_BODY', 'GenericRFI_BODY', 'EC2MetaDataSSRF_BODY']),
        // Counts only: clients in clouds and behind VPNs are welcome, and its labels say where an attack comes from.
        managed(4, 'AWSManagedRulesAnonymousIpList', ['AnonymousIPList', 'HostingProviderIPList']),
      ],
    });
    this.name = acl.name;
    new Wafv2WebAclAssociation(this, 'association', { resourceArn, webAclArn: acl.arn });
    // The service demands this beginning of the name.
    const group = logGroup(this, 'log', `aws-waf-logs-${named('aws-generic', 'public')}`, logs);
    new Wafv2WebAclLoggingConfiguration(this, 'logging', { resourceArn: acl.arn, logDestinationConfigs: [group.arn], redactedFields: [{ singleHeader: { name: 'authorization' } }, { singleHeader: { name: 'cookie' } }] });
  }
}

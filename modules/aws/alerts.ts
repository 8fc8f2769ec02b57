/** Where alarms go. A construct of its own, since almost everything names the topic. */
import { SnsTopicPolicy } from '@cdktf/provider-aws/lib/sns-topic-policy/index.js';
import { SnsTopicSubscription } from '@cdktf/provider-aws/lib/sns-topic-subscription/index.js';
import { SnsTopic } from '@cdktf/provider-aws/lib/sns-topic/index.js';
import { Construct } from 'constructs';
import type { Namer } from '../naming.ts';
import { ANYONE, fromAccount, policyDocument, service, when } from './policy.ts';

export interface AlertsProps {
  readonly named: Namer;
  readonly account: string;
  readonly keyArn: string;
  /** E-mail address; confirms its subscription once. */
  readonly contact: string;
  /** Arn of the trail. */
  readonly trail: string;
}

export class Alerts extends Construct {
  readonly topicArn: string;
  readonly deliveryTopicName: string;
  readonly deliveryPolicy: SnsTopicPolicy;

  constructor(scope: Construct, id: string, { named, account, keyArn, contact, trail }: AlertsProps) {
    super(scope, id);
    const topic = (part: string, from: readonly string[], condition: ReturnType<typeof when>): { made: SnsTopic; policy: SnsTopicPolicy } => {
      const made = new SnsTopic(this, part, { name: named('aws-generic', part), kmsMasterKeyId: keyArn });
      const policy = new SnsTopicPolicy(this, `${part}-policy`, {
        arn: made.arn,
        policy: policyDocument(this, `${part}-document`, [
          { sid: 'Services', actions: ['sns:Publish'], resources: [made.arn], principals: service(...from), condition: [condition] },
          { sid: 'TlsOnly', effect: 'Deny', actions: ['sns:Publish'], resources: [made.arn], principals: ANYONE, condition: [when('Bool', 'aws:SecureTransport', 'false')] },
        ]),
      });
      return { made, policy };
    };
    const { made: alerts } = topic('alerts', ['cloudwatch.amazonaws.com', 'budgets.amazonaws.com', 'backup.amazonaws.com'], fromAccount(account));
    new SnsTopicSubscription(this, 'contact', { topicArn: alerts.arn, protocol: 'email', endpoint: contact });
    this.topicArn = alerts.arn;
    // CloudTrail tells of each file it delivers: too much for people, wanted by whoever copies the trail away.
    const deliveries = topic('trail-deliveries', ['cloudtrail.amazonaws.com'], when('StringEquals', 'aws:SourceArn', trail));
    this.deliveryTopicName = deliveries.made.name;
    this.deliveryPolicy = deliveries.policy;
  }
}

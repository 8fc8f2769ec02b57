/** Keys for data at rest of Google's services, one ring per region that has such data. Never the attested key: those services decrypt without evidence. */
import { KmsCryptoKey } from '@cdktf/provider-google/lib/kms-crypto-key/index.js';
import type { KmsCryptoKeyIamBinding } from '@cdktf/provider-google/lib/kms-crypto-key-iam-binding/index.js';
import { KmsKeyRing } from '@cdktf/provider-google/lib/kms-key-ring/index.js';
import { Construct } from 'constructs';
import type { Namer } from '../naming.ts';
import { checkKeySettings, encryptionKey, type KeySettings } from './key-settings.ts';
import { grantToAgents, type ServiceAgent } from './service-agents.ts';

export interface InfraKeyProps extends KeySettings {
  readonly named: Namer;
  /** Part of the ring's name. */
  readonly part: string;
  readonly location: string;
  readonly projectNumber: string;
  /** Services that encrypt with it. */
  readonly agents: readonly ServiceAgent[];
}

export class InfraKey extends Construct {
  readonly keyId: string;
  readonly ringId: string;
  /** What uses the key must wait for this. */
  readonly grant: KmsCryptoKeyIamBinding;

  constructor(scope: Construct, id: string, props: InfraKeyProps) {
    super(scope, id);
    checkKeySettings(id, props);
    const ring = new KmsKeyRing(this, 'ring', { name: props.named('key-ring', props.part), location: props.location, lifecycle: { preventDestroy: props.protect } });
    const key = new KmsCryptoKey(this, 'key', encryptionKey('at-rest', ring.id, props));
    this.ringId = ring.id;
    this.keyId = key.id;
    this.grant = grantToAgents(this, 'agents', key.id, props.projectNumber, props.agents);
  }
}

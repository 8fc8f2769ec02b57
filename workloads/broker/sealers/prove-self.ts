/** A broker judges itself as others will: its own evidence, over a challenge of its own, under the owner's policy in force. */
import { b64u, randomBytes } from '../../../attestation/bytes.ts';
import type { Collateral, CollateralSupply } from '../../../attestation/collateral/collateral.ts';
import { requiredRegisters } from '../../../attestation/policy.ts';
import { vtpmIndexes } from '../../../attestation/registers.ts';
import { verifyAttested } from '../../protocol/appraised.ts';
import { type Clock, seconds } from '../../protocol/clock.ts';
import type { PolicySource } from '../../protocol/policy-source.ts';
import { NO_PAYLOAD } from '../core/attest.ts';
import { vouch, type VouchDeps } from '../core/manifest.ts';

export interface SelfProof extends VouchDeps {
  readonly policy: Pick<PolicySource, 'current'>;
  readonly collateral: Collateral | CollateralSupply | undefined;
  readonly now: Clock;
}

/** @returns indexes of the vTPM's registers that the policy compared. @throws Refusal with every reason */
export async function proveSelf({ policy, collateral, now, ...deps }: SelfProof): Promise<readonly number[]> {
  const inForce = await policy.current();
  const [challengeId, nonce, audience] = [randomBytes(16), randomBytes(32), deps.identity.instance];
  const attested = await vouch(deps, { challenge_id: b64u(challengeId), nonce: b64u(nonce), audience }, inForce.digest, NO_PAYLOAD);
  await verifyAttested({
    attested, policy: inForce.policy, now: seconds(now), mode: 'live', collateral,
    expect: { role: 'broker', cell: deps.cell, challengeId, nonce, audience, policyDigest: inForce.digest, payloadDigest: NO_PAYLOAD, configDigest: deps.configDigest },
  });
  return vtpmIndexes(requiredRegisters(inForce.policy.roles.broker, deps.platform));
}

/**
 * Tokens of Azure Attestation: signature by a key of the set among the companions, validity, and the binding of the runtime data that a companion brings.
 * The issuer is the token's own, if it is an instance of Azure: a stored token has no verifier that configured one.
 */
import { CheckList } from '../checks.ts';
import { collateralOf } from '../collateral/collateral.ts';
import { claimedIssuer, MAA_ISSUER, maaServiceClaims, verifyMaa } from '../services/maa.ts';
import { corpusTrust, type CorpusFile, type Judge, judged, type Vector } from './judge.ts';
import { scenarioOf, timeOf } from './token-scenario.ts';

async function facts(token: CorpusFile, companions: readonly CorpusFile[], vector: Vector, at: number): Promise<unknown> {
  const claimed = claimedIssuer(token.bytes);
  const issuer = claimed !== undefined && MAA_ISSUER.test(claimed) ? claimed : 'https://<instance>.<region>.attest.azure.net';
  const keySet = companions.find((c) => c.kind === 'jwks');
  const collateral = collateralOf(keySet === undefined ? [] : [{ kind: 'jwks', key: issuer, bytes: keySet.bytes, source: 'offline', fetchedAt: at }]);
  const runtimeData = companions.find((c) => c.kind === 'runtime-data-json')?.bytes;
  const checks = new CheckList();
  const found = await verifyMaa({ token: token.bytes, issuer, expect: { verdict: true, ...(runtimeData === undefined ? {} : { runtimeData }) } }, { ...corpusTrust(vector), now: at, collateral }, at, checks);
  checks.refuseIfFailed();
  return found === undefined ? undefined : { ...maaServiceClaims(found), bound: found.bound, checks: checks.done.map((c) => `${c.id} ${c.result}`) };
}

export const judgeMaaToken: Judge = (vector) => judged(() => facts(vector, vector.companions, vector, timeOf(vector)));

/** `{token, jwks, verify_at}`: an unchanged token at another time. */
export const judgeMaaScenario: Judge = (vector) => judged(async () => {
  const { token, at } = scenarioOf(vector);
  return facts(token, vector.companions.filter((c) => c.file !== token.file), vector, at);
});

/**
 * Tokens of Google Cloud Attestation: with a key set among the companions, signed by one of its keys; without one, certificates in the token must lead to the
 * root that is pinned here (a root among the companions is not trusted for being there). Debug images are no matter of the verdict.
 */
import { CheckList } from '../checks.ts';
import { collateralOf } from '../collateral/collateral.ts';
import { GOOGLE_ISSUER, googleServiceClaims, verifyGoogle } from '../services/google.ts';
import { corpusTrust, type CorpusFile, type Judge, judged, type Vector } from './judge.ts';
import { scenarioOf, timeOf } from './token-scenario.ts';

async function facts(token: CorpusFile, companions: readonly CorpusFile[], vector: Vector, at: number): Promise<unknown> {
  const keySet = companions.find((c) => c.kind === 'jwks');
  const collateral = collateralOf(keySet === undefined ? [] : [{ kind: 'jwks', key: GOOGLE_ISSUER, bytes: keySet.bytes, source: 'offline', fetchedAt: at }]);
  const checks = new CheckList();
  const found = await verifyGoogle({ token: token.bytes, mode: keySet === undefined ? 'pki' : 'oidc', expect: { verdict: true } }, { ...corpusTrust(vector), now: at, collateral }, at, checks);
  checks.refuseIfFailed();
  return found === undefined ? undefined : { ...googleServiceClaims(found), imageDigest: found.container?.imageDigest ?? null, checks: checks.done.map((c) => `${c.id} ${c.result}`) };
}

export const judgeConfidentialSpaceToken: Judge = (vector) => judged(() => facts(vector, vector.companions, vector, timeOf(vector)));

/** `{token, trust, verify_at}`: an unchanged token at another time. */
export const judgeConfidentialSpaceScenario: Judge = (vector) => judged(async () => {
  const { token, at } = scenarioOf(vector);
  return facts(token, vector.companions.filter((c) => c.file !== token.file), vector, at);
});

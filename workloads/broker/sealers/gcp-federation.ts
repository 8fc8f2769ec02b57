/**
 * Google credentials for an attested workload: the launcher's token for the provider's audience, exchanged at the Security Token Service (RFC 8693), whose condition
 * (modules/gcp/token-condition.ts) judges the claims. What comes back is a bearer token of the image's principal set: whoever reads it in memory or inside the TLS connections is the broker for
 * as long as it lasts. No service account is impersonated: none has a right to the key.
 */
import { z } from 'zod';
import { text } from '../../../attestation/bytes.ts';
import { b64u, type Bytes, randomBytes } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { ask, hostOf, read, type Service, type Surroundings } from './call.ts';
import { type Kept, kept } from './kept.ts';

/** A token of Google's attestation service for this VM and container. */
export type AttestationToken = (request: { readonly audience: string; readonly nonces: readonly string[]; readonly token_type: 'OIDC' }) => Promise<Bytes>;

export interface FederationOptions {
  /** `https://iam.googleapis.com/projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>`: the only audience that the provider allows. */
  readonly audience: string;
  readonly token: AttestationToken;
  readonly service: Service;
  readonly around: Surroundings;
}

export const PROVIDER = /^https:(\/\/iam\.googleapis\.com\/projects\/[0-9]{1,20}\/locations\/global\/workloadIdentityPools\/[a-z0-9-]{4,32}\/providers\/[a-z0-9-]{4,32})$/;
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const schema = z.object({ access_token: z.string().min(1).max(16_384).regex(/^[\x21-\x7e]+$/), issued_token_type: z.literal(ACCESS_TOKEN), token_type: z.literal('Bearer'), expires_in: z.number().int().min(1).max(43_200) });

/** @throws Refusal KEY_SEALER_ABSENT when there is no audience of a provider */
export function federatedToken({ audience, token, service, around }: FederationOptions): Kept<string> {
  const provider = PROVIDER.exec(audience)?.[1];
  if (provider === undefined) return refuse('KEY_SEALER_ABSENT', 'cell.sealer.audience', 'Put the audience of the workload identity provider into cell.json.', { have: audience.slice(0, 128), need: String(PROVIDER) });
  return kept(async () => {
    const subjectToken = text(await token({ audience, nonces: [b64u(randomBytes(32))], token_type: 'OIDC' }));
    const asked = around.now();
    const answer = await ask(service, {
      method: 'POST', path: '/v1/token', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        audience: provider, grantType: 'urn:ietf:params:oauth:grant-type:token-exchange', requestedTokenType: ACCESS_TOKEN, scope: 'https://www.googleapis.com/auth/cloud-platform',
        subjectTokenType: 'urn:ietf:params:oauth:token-type:jwt', subjectToken,
      }),
    }, around);
    if (answer.status !== 200) refuse('KEY_SEALER_REFUSED', hostOf(service), 'The token service does not take this workload: compare its image, place, configuration and hardware with the provider\'s condition.', { have: `${answer.status} ${answer.code}`.trim(), need: 'a token' });
    const { access_token, expires_in } = read(schema, answer, 'sts.token');
    return { value: access_token, endsAt: asked + expires_in * 1_000 };
  }, around.now);
}

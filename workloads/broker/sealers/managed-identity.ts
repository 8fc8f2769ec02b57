/** Token of the VM's managed identity for a vault (Azure, "How to use managed identities on a VM", IMDS). It opens nothing without an attestation token beside it. */
import { z } from 'zod';
import { refuse } from '../../../attestation/refusal.ts';
import { ask, hostOf, read, type Service, type Surroundings } from './call.ts';
import { type Kept, kept } from './kept.ts';

const schema = z.object({ access_token: z.string().min(1).max(16_384).regex(/^[\x21-\x7e]+$/), expires_in: z.coerce.number().int().min(1).max(604_800), token_type: z.literal('Bearer') });
const VAULT = 'https://vault.azure.net';

export function vaultToken(service: Service, around: Surroundings): Kept<string> {
  return kept(async () => {
    const asked = around.now();
    const answer = await ask(service, { method: 'GET', path: `/metadata/identity/oauth2/token?api-version=2018-02-01&resource=${encodeURIComponent(VAULT)}`, headers: { metadata: 'true' } }, around);
    if (answer.status !== 200) refuse('KEY_SEALER_REFUSED', hostOf(service), 'See whether the VM has the identity of the brokers.', { have: `status ${answer.status}`, need: 'a token' });
    const { access_token, expires_in } = read(schema, answer, 'metadata.token');
    return { value: access_token, endsAt: asked + expires_in * 1_000 };
  }, around.now);
}

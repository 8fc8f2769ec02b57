/**
 * A token of Azure Attestation beside the evidence of a machine: one more member of its container (container.ts), which the verifier of the raw evidence does not know.
 *
 *   | maa | optional: the guest's token (x-ms-attestation-type azurevm), compact, whose client-payload has the nonce base64(D32) of the transcript |
 */
import { type Bytes, utf8 } from '../../bytes.ts';
import { readJsonObject } from '../../formats/json-span.ts';
import { refuse } from '../../refusal.ts';

const NEXT = 'Send the evidence as the attester of this version makes it.';
const MEMBER = 'maa';
const MAX_SIZE = 262_144;
const MAX_TOKEN = 65_536;

/** @returns the container without the token, byte for byte where there is none. @throws Refusal FMT_JSON, FMT_FIELD */
export function splitToken(document: Bytes, path: string): { readonly document: Bytes; readonly token?: string } {
  const members = readJsonObject(document, path, { maxBytes: MAX_SIZE, maxDepth: 3, code: 'FMT_JSON', next: NEXT });
  const token = members.get(MEMBER)?.value;
  if (!members.has(MEMBER)) return { document };
  if (typeof token !== 'string' || token === '' || token.length > MAX_TOKEN) return refuse('FMT_FIELD', `${path}.${MEMBER}`, NEXT, { have: typeof token === 'string' ? `${token.length} characters` : typeof token, need: `1 to ${MAX_TOKEN} characters` });
  const others = [...members].filter(([name]) => name !== MEMBER).map(([name, { source }]) => `${JSON.stringify(name)}:${source}`);
  return { document: utf8(`{${others.join(',')}}`), token };
}

/** @param document as encodeAzureEvidence makes it */
export const withToken = (document: Bytes, token: string): Bytes => utf8(`${new TextDecoder().decode(document).replace(/\}$/, '')},"${MEMBER}":${JSON.stringify(token)}}`);

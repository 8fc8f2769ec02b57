/** How large evidence may be on its way: what the platforms send fits, and nothing that is larger is read. */
import { expect, it } from 'vitest';
import { b64u } from '../../attestation/bytes.ts';
import { encodeAzureEvidence, parseAzureEvidence } from '../../attestation/platforms/azure-cvm/container.ts';
import { encodeGkeEvidence, parseGkeEvidence } from '../../attestation/platforms/gke/container.ts';
import { fromBinding, fromEvidence, toEvidence } from '../../workloads/protocol/evidence.ts';
import { attestedSchema, MAX_ATTESTED_BYTES, MAX_EVIDENCE_BYTES } from '../../workloads/protocol/messages.ts';
import { azureWorld } from '../attestation/azure/support.ts';
import { sevNode } from '../attestation/gke/support.ts';
import { BINDING, filled } from '../attestation/support.ts';

const LOG = filled(128 * 1024, 7);
const attested = (platform: 'azure-cvm' | 'gke', document: Uint8Array<ArrayBuffer>) => ({ evidence: fromEvidence({ platform, document }), binding: fromBinding({ ...BINDING, platform }) });

it('evidence with an event log of 128 KiB fits, and arrives as it was', async () => {
  const [{ parts: snp }, { parts: tdx }, { parts: sev }] = await Promise.all([azureWorld(), azureWorld({ technology: 'tdx' }), sevNode()]);
  for (const parts of [snp, tdx]) {
    const parsed = attestedSchema.parse(attested('azure-cvm', encodeAzureEvidence({ ...parts, eventLog: LOG })));
    expect(parseAzureEvidence(toEvidence(parsed.evidence).document, 'e').eventLog).toEqual(LOG);
  }
  if (sev.technology !== 'sev') throw new Error('not a node of plain SEV');
  const parsed = attestedSchema.parse(attested('gke', encodeGkeEvidence({ ...sev, eventLog: LOG })));
  expect(parseGkeEvidence(toEvidence(parsed.evidence).document, 'e')).toMatchObject({ eventLog: LOG });
});

it('a byte more than the largest document is refused', () => {
  const of = (length: number) => attestedSchema.safeParse({ ...attested('gke', filled(1, 1)), evidence: { platform: 'gke', document: b64u(filled(length, 1)) } }).success;
  expect([of(MAX_EVIDENCE_BYTES), of(MAX_EVIDENCE_BYTES + 1), of(0)]).toEqual([true, false, false]);
});

it('the largest message fits into the largest body', () => {
  const message = attested('azure-cvm', filled(MAX_EVIDENCE_BYTES, 1));
  const body = JSON.stringify({ ...message, binding: { ...message.binding, cell: 'c'.repeat(63), audience: '\u0001'.repeat(255), tls_spki_sha256: b64u(filled(32, 1)) } });
  expect(attestedSchema.safeParse(JSON.parse(body)).success).toBe(true);
  expect(body.length).toBeLessThan(MAX_ATTESTED_BYTES);
  expect(MAX_ATTESTED_BYTES).toBeLessThan(512 * 1024);
});

/** Evidence and binding between their wire form (JSON, base64url) and bytes. The wire form was validated by its schema before. */
import { b64u, fromB64u } from '../../attestation/bytes.ts';
import type { BindingFields, Evidence } from '../../attestation/evidence.ts';
import type { WireBinding, WireEvidence } from './messages.ts';

export const toBinding = (wire: WireBinding): BindingFields => ({
  platform: wire.platform,
  role: wire.role,
  cell: wire.cell,
  challengeId: fromB64u(wire.challenge_id),
  nonce: fromB64u(wire.nonce),
  audience: wire.audience,
  receivingKey: fromB64u(wire.receiving_key),
  signingKey: fromB64u(wire.signing_key),
  tlsSpkiSha256: fromB64u(wire.tls_spki_sha256),
  policyDigest: fromB64u(wire.policy_digest),
  configDigest: fromB64u(wire.config_digest),
  payloadDigest: fromB64u(wire.payload_digest),
});

export const fromBinding = (fields: BindingFields): WireBinding => ({
  platform: fields.platform,
  role: fields.role,
  cell: fields.cell,
  challenge_id: b64u(fields.challengeId),
  nonce: b64u(fields.nonce),
  audience: fields.audience,
  receiving_key: b64u(fields.receivingKey),
  signing_key: b64u(fields.signingKey),
  tls_spki_sha256: b64u(fields.tlsSpkiSha256),
  policy_digest: b64u(fields.policyDigest),
  config_digest: b64u(fields.configDigest),
  payload_digest: b64u(fields.payloadDigest),
});

export const toEvidence = (wire: WireEvidence): Evidence => ({ platform: wire.platform, document: fromB64u(wire.document) });
export const fromEvidence = (evidence: Evidence): WireEvidence => ({ platform: evidence.platform, document: b64u(evidence.document) });

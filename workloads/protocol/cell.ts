/** `cell.json`: one file per cell, the same for each of its processes. Its SHA-256 is the config digest of the evidence. */
import { z } from 'zod';
import { type Bytes, sha256 } from '../../attestation/bytes.ts';
import { type Endpoints, NO_ENDPOINTS, PUBLIC_ENDPOINTS } from '../../attestation/collateral/endpoints.ts';
import { PLATFORMS, type Platform, type Role } from '../../attestation/evidence.ts';
import { b64uText, cellName } from './wire.ts';

const endpoint = z.strictObject({ host: z.string().min(1).max(255), port: z.number().int().min(1).max(65_535) });

const url = z.url({ protocol: /^https?$/ }).max(512);
const urls = z.record(z.string().min(1).max(512), url);

/**
 * Where verifiers get what vendors publish (attestation/collateral/endpoints.ts): `public`, their own addresses, or some of them elsewhere. What is absent is asked of
 * nobody, and evidence that needs it is refused.
 */
export const collateralSchema = z.union([z.literal('public'), z.strictObject({
  amdKds: url, intelPcs: url, intelRootCrl: url, intelUpdate: z.enum(['standard', 'early']), azureThim: url, gceEndorsements: url, gceHosts: url, authorities: urls, lists: urls, issuers: urls,
}).partial()]);

/**
 * What seals tenant keys (workloads/broker/sealers). It stands here because the file's digest is in the evidence and in the owner's directory: whoever starts a broker cannot send
 * its keys to a key service of his own.
 *
 *   aws-kms     key: ARN of the data key or of its alias
 *   azure-skr   vault and attestation: origins; the key's name comes with CCC_KEY_URI and must be one of that vault
 *   gcp-kms     key: resource name; audience: of the workload identity provider
 */
export const sealerSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('aws-kms'), key: z.string().regex(/^arn:aws:kms:/).max(512) }),
  z.strictObject({ kind: z.literal('azure-skr'), vault: z.url({ protocol: /^https$/ }).max(256), attestation: z.url({ protocol: /^https$/ }).max(256) }),
  z.strictObject({ kind: z.literal('gcp-kms'), key: z.string().regex(/^projects\//).max(512), audience: z.url({ protocol: /^https$/ }).max(512) }),
]);
export type SealerConfig = z.infer<typeof sealerSchema>;

export const cellSchema = z.strictObject({
  cell: cellName,
  cloud: z.enum(['aws', 'azure', 'gcp', 'local']),
  region: z.string().min(1).max(64),
  epoch: z.number().int().min(1),
  platform: z.enum(PLATFORMS),
  /** The broker's, where it is another: evidence of a GKE node is no broker's, so that a Confidential Space instance is the broker there. */
  brokerPlatform: z.enum(PLATFORMS).optional(),
  collateral: collateralSchema.optional(),
  /** Absent: tenant keys are sealed by a file, which only a simulated cell may do. */
  sealer: sealerSchema.optional(),
  /** A software TEE under a development root: proves nothing about hardware. */
  simulated: z.boolean(),
  /** The owner's raw Ed25519 public key: part of the measured configuration. */
  ownerKey: b64uText(32),
  gateway: z.strictObject({ public: endpoint, internal: endpoint }),
  broker: endpoint,
});
export type CellConfig = z.infer<typeof cellSchema>;

/** @throws ZodError when the file is not a cell's configuration. */
export async function parseCell(file: Bytes): Promise<{ cell: CellConfig; configDigest: Bytes }> {
  return { cell: cellSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(file))), configDigest: await sha256(file) };
}

export const origin = (at: { host: string; port: number }): string => `http://${at.host}:${at.port}`;

export const platformOf = (cell: Pick<CellConfig, 'platform' | 'brokerPlatform'>, role: Role): Platform => (role === 'broker' ? cell.brokerPlatform ?? cell.platform : cell.platform);

export function endpointsOf({ collateral = {} }: Pick<CellConfig, 'collateral'>): Endpoints {
  if (collateral === 'public') return PUBLIC_ENDPOINTS;
  const stated = Object.entries(collateral).filter(([, value]) => value !== undefined);
  return { ...NO_ENDPOINTS, ...Object.fromEntries(stated) };
}

/**
 * Claims of Google Cloud Attestation (Confidential Space "token claims", Confidential VM "token claims"):
 *
 *   aud · sub · eat_nonce (a string, or an array of 1 to 6; 8 to 88 bytes each) · eat_profile · secboot · oemid 11129 · hwmodel · swname CONFIDENTIAL_SPACE or GCE ·
 *   swversion · dbgstat · attester_tcb · tdx {gcp_attester_tcb_status, gcp_attester_tcb_date, tcb_evaluation_data_number} (an object, or an array of one) ·
 *   google_service_accounts · submods {confidential_space {support_attributes, monitoring_enabled {memory}}, container {image_reference, image_digest, image_id,
 *   restart_policy, args, env, env_override, cmd_override, image_signatures [{key_id}]}, gce {zone, project_id, project_number, instance_name, instance_id}}
 *
 * Claims that are not in the table are signed, and passed over. What is absent is `null`, never a default; debug images have no support_attributes.
 */
import { z } from 'zod';

const optional = <T extends z.ZodType>(schema: T) => schema.nullish().transform((v) => v ?? null);
const string = (max: number) => z.string().min(1).max(max);
const strings = (count: number, max: number) => z.array(z.string().max(max)).max(count);
const nonce = z.string().refine((v) => { const n = new TextEncoder().encode(v).length; return n >= 8 && n <= 88; }, '8 to 88 bytes');
const sha256 = z.string().regex(/^sha256:[0-9a-f]{64}$/);

/** Names are what a process would see; entries in their order. */
const environment = z.custom<Record<string, unknown>>((v) => typeof v === 'object' && v !== null && !Array.isArray(v)).transform((value, context): ReadonlyMap<string, string> => {
  const entries = Object.entries(value);
  if (entries.length > 256 || entries.some(([name, v]) => name === '' || name.length > 256 || typeof v !== 'string' || v.length > 16_384)) context.addIssue('names and strings');
  return new Map(entries as [string, string][]);
});

const tdx = z.object({
  gcp_attester_tcb_status: string(64), gcp_attester_tcb_date: optional(z.iso.datetime()), tcb_evaluation_data_number: optional(z.union([z.int().min(0), z.string().regex(/^\d{1,9}$/).transform(Number)])),
});

const schema = z.object({
  aud: z.string().min(1).max(512), sub: optional(string(512)), eat_nonce: optional(z.union([nonce.transform((v) => [v]), z.array(nonce).min(1).max(6)])), eat_profile: optional(string(512)),
  secboot: optional(z.boolean()), oemid: optional(z.int()), hwmodel: string(64), swname: string(64), swversion: optional(strings(16, 64)), dbgstat: string(64), attester_tcb: optional(strings(8, 64)),
  google_service_accounts: optional(strings(64, 256)), tdx: optional(z.union([tdx, z.array(tdx).length(1).transform((list) => list[0] as z.output<typeof tdx>)])),
  submods: z.object({
    confidential_space: optional(z.object({ support_attributes: optional(strings(16, 64)), monitoring_enabled: optional(z.object({ memory: optional(z.boolean()) })) })),
    container: optional(z.object({
      image_reference: optional(string(1024)), image_digest: sha256, image_id: optional(sha256), restart_policy: optional(string(32)), args: optional(strings(1024, 16_384)), env: optional(environment), env_override: optional(environment),
      cmd_override: optional(strings(1024, 16_384)), image_signatures: optional(z.array(z.object({ key_id: string(256) })).max(64)),
    })),
    gce: optional(z.object({ zone: string(64), project_id: string(128), project_number: z.string().regex(/^\d{1,20}$/), instance_name: string(128), instance_id: z.string().regex(/^\d{1,20}$/) })),
  }),
});

export interface GoogleContainer {
  readonly imageReference: string | null; readonly imageDigest: string; readonly imageId: string | null; readonly restartPolicy: string | null;
  readonly args: readonly string[]; readonly env: ReadonlyMap<string, string>; readonly envOverride: ReadonlyMap<string, string>; readonly cmdOverride: readonly string[];
  /** Of keys that signed the image. */
  readonly signatureKeyIds: readonly string[];
}
export interface GoogleClaims {
  readonly audience: string; readonly subject: string | null; readonly nonces: readonly string[]; readonly profile: string | null;
  readonly secureBoot: boolean | null; readonly oemId: number | null; readonly hwModel: string; readonly swName: string; readonly swVersion: readonly string[]; readonly dbgStat: string;
  readonly attesterTcb: readonly string[]; readonly serviceAccounts: readonly string[];
  readonly tdx: { readonly status: string; readonly date: number | null; readonly evaluationNumber: number | null } | null;
  /** `null`: the token has none. */
  readonly supportAttributes: readonly string[] | null;
  readonly memoryMonitoring: boolean | null;
  readonly container: GoogleContainer | null;
  readonly gce: { readonly zone: string; readonly projectId: string; readonly projectNumber: string; readonly instanceName: string; readonly instanceId: string } | null;
}

/** @returns the claims, or which one has another form */
export function readGoogleClaims(claims: Readonly<Record<string, unknown>>): GoogleClaims | { readonly bad: string } {
  const parsed = schema.safeParse({ ...claims });
  if (!parsed.success) return { bad: parsed.error.issues[0]?.path.join('.') ?? 'claims' };
  const { data: c } = parsed;
  const { confidential_space: space, container: box, gce } = c.submods;
  return {
    audience: c.aud, subject: c.sub, nonces: c.eat_nonce ?? [], profile: c.eat_profile, secureBoot: c.secboot, oemId: c.oemid, hwModel: c.hwmodel, swName: c.swname, swVersion: c.swversion ?? [], dbgStat: c.dbgstat,
    attesterTcb: c.attester_tcb ?? [], serviceAccounts: c.google_service_accounts ?? [],
    tdx: c.tdx === null ? null : { status: c.tdx.gcp_attester_tcb_status, date: c.tdx.gcp_attester_tcb_date === null ? null : Date.parse(c.tdx.gcp_attester_tcb_date) / 1000, evaluationNumber: c.tdx.tcb_evaluation_data_number },
    supportAttributes: space?.support_attributes ?? null, memoryMonitoring: space?.monitoring_enabled?.memory ?? null,
    container: box === null ? null : {
      imageReference: box.image_reference, imageDigest: box.image_digest, imageId: box.image_id, restartPolicy: box.restart_policy, args: box.args ?? [], env: box.env ?? new Map(), envOverride: box.env_override ?? new Map(),
      cmdOverride: box.cmd_override ?? [], signatureKeyIds: (box.image_signatures ?? []).map((s) => s.key_id),
    },
    gce: gce === null ? null : { zone: gce.zone, projectId: gce.project_id, projectNumber: gce.project_number, instanceName: gce.instance_name, instanceId: gce.instance_id },
  };
}

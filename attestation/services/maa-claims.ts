/**
 * Claims of Microsoft Azure Attestation, in its two shapes:
 *
 *   platform  x-ms-attestation-type sevsnpvm or tdxvm: what the hardware report says is on top; x-ms-runtime is the data whose hash the report holds
 *   guest     x-ms-attestation-type azurevm: the same below x-ms-isolation-tee; on top is what the vTPM and its log say, and x-ms-runtime is the caller's
 *             (client-payload, keys made in the vTPM)
 *
 *   sevsnpvm  x-ms-sevsnpvm-{reportdata, launchmeasurement, hostdata, idkeydigest, authorkeydigest, chipid, chip-family, guestsvn, vmpl, is-debuggable,
 *             migration-allowed, smt-allowed, bootloader-svn, tee-svn, snpfw-svn, microcode-svn}
 *   tdxvm     tdx_{mrtd, rtmr0..3, mrseam, mrsignerseam, mrconfigid, mrowner, mrownerconfig, report_data, td_attributes, td_attributes_*, xfam, tee_tcb_svn}
 *             and attester_tcb_status
 *
 * Claims that are not in the table are signed, and passed over. What is absent is `null`, never a default.
 */
import { z } from 'zod';

const hexOf = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-fA-F]{${2 * bytes}}$`)).transform((v) => v.toLowerCase());
const optional = <T extends z.ZodType>(schema: T) => schema.nullish().transform((v) => v ?? null);
const flag = optional(z.boolean());
const svn = z.int().min(0).max(255);
const word = z.string().regex(/^[\x20-\x7e]{1,128}$/);
const json = z.record(z.string(), z.unknown());

const snpSchema = z.object({
  'x-ms-attestation-type': z.literal('sevsnpvm'),
  'x-ms-sevsnpvm-reportdata': hexOf(64), 'x-ms-sevsnpvm-launchmeasurement': hexOf(48), 'x-ms-sevsnpvm-hostdata': optional(hexOf(32)),
  'x-ms-sevsnpvm-idkeydigest': optional(hexOf(48)), 'x-ms-sevsnpvm-authorkeydigest': optional(hexOf(48)), 'x-ms-sevsnpvm-chipid': optional(hexOf(64)), 'x-ms-sevsnpvm-chip-family': optional(word),
  'x-ms-sevsnpvm-guestsvn': optional(z.int().min(0).max(0xffff_ffff)), 'x-ms-sevsnpvm-vmpl': optional(z.int().min(0).max(3)),
  'x-ms-sevsnpvm-is-debuggable': flag, 'x-ms-sevsnpvm-migration-allowed': flag, 'x-ms-sevsnpvm-smt-allowed': flag,
  'x-ms-sevsnpvm-bootloader-svn': optional(svn), 'x-ms-sevsnpvm-tee-svn': optional(svn), 'x-ms-sevsnpvm-snpfw-svn': optional(svn), 'x-ms-sevsnpvm-microcode-svn': optional(svn),
}).transform((c) => ({
  tee: 'sev-snp' as const, reportData: c['x-ms-sevsnpvm-reportdata'], measurement: c['x-ms-sevsnpvm-launchmeasurement'], hostData: c['x-ms-sevsnpvm-hostdata'],
  idKeyDigest: c['x-ms-sevsnpvm-idkeydigest'], authorKeyDigest: c['x-ms-sevsnpvm-authorkeydigest'], chipId: c['x-ms-sevsnpvm-chipid'], chipFamily: c['x-ms-sevsnpvm-chip-family'],
  guestSvn: c['x-ms-sevsnpvm-guestsvn'], vmpl: c['x-ms-sevsnpvm-vmpl'], debug: c['x-ms-sevsnpvm-is-debuggable'], migratable: c['x-ms-sevsnpvm-migration-allowed'], smt: c['x-ms-sevsnpvm-smt-allowed'],
  tcb: { bootloader: c['x-ms-sevsnpvm-bootloader-svn'], tee: c['x-ms-sevsnpvm-tee-svn'], snp: c['x-ms-sevsnpvm-snpfw-svn'], microcode: c['x-ms-sevsnpvm-microcode-svn'] },
}));

const tdxSchema = z.object({
  'x-ms-attestation-type': z.literal('tdxvm'), attester_tcb_status: optional(word),
  tdx_report_data: hexOf(64), tdx_mrtd: hexOf(48), tdx_rtmr0: hexOf(48), tdx_rtmr1: hexOf(48), tdx_rtmr2: hexOf(48), tdx_rtmr3: hexOf(48),
  tdx_mrseam: optional(hexOf(48)), tdx_mrsignerseam: optional(hexOf(48)), tdx_mrconfigid: optional(hexOf(48)), tdx_mrowner: optional(hexOf(48)), tdx_mrownerconfig: optional(hexOf(48)),
  tdx_td_attributes: hexOf(8), tdx_xfam: optional(hexOf(8)), tdx_tee_tcb_svn: optional(hexOf(16)),
  tdx_td_attributes_debug: flag, tdx_td_attributes_migratable: flag, tdx_td_attributes_septve_disable: flag,
}).transform((c) => ({
  tee: 'tdx' as const, reportData: c.tdx_report_data, measurement: c.tdx_mrtd, rtmrs: [c.tdx_rtmr0, c.tdx_rtmr1, c.tdx_rtmr2, c.tdx_rtmr3], mrSeam: c.tdx_mrseam, mrSignerSeam: c.tdx_mrsignerseam,
  mrConfigId: c.tdx_mrconfigid, mrOwner: c.tdx_mrowner, mrOwnerConfig: c.tdx_mrownerconfig, attributes: c.tdx_td_attributes, xfam: c.tdx_xfam, teeTcbSvn: c.tdx_tee_tcb_svn,
  tcbStatus: c.attester_tcb_status, debug: c.tdx_td_attributes_debug, migratable: c.tdx_td_attributes_migratable, septVeDisable: c.tdx_td_attributes_septve_disable,
}));

/** What the service says in both shapes of the machine itself. */
const machine = { 'x-ms-compliance-status': optional(word), 'x-ms-runtime': optional(json) };
const common = { 'x-ms-policy-hash': optional(z.string().regex(/^[A-Za-z0-9_-]{43}$/)), 'x-ms-ver': optional(word) };
const teeSchema = z.union([snpSchema, tdxSchema]);
const platformSchema = z.object({ ...common, ...machine });
const guestSchema = z.object({
  ...common, 'x-ms-attestation-type': z.literal('azurevm'), 'x-ms-isolation-tee': json, 'x-ms-runtime': optional(json), secureboot: flag,
  'x-ms-azurevm-attested-pcrs': optional(z.array(z.int().min(0).max(23)).max(24)), 'x-ms-azurevm-vmid': optional(word), 'x-ms-azurevm-kerneldebug-enabled': flag, 'x-ms-azurevm-bootdebug-enabled': flag,
  'x-ms-azurevm-hypervisordebug-enabled': flag, 'x-ms-azurevm-testsigning-enabled': flag,
});

export type MaaSnp = z.output<typeof snpSchema>;
export type MaaTdx = z.output<typeof tdxSchema>;
export interface MaaGuest { readonly secureBoot: boolean | null; readonly attestedPcrs: readonly number[] | null; readonly vmId: string | null; readonly debug: boolean; readonly runtime: Record<string, unknown> | null }
export interface MaaClaims {
  readonly tee: MaaSnp | MaaTdx;
  readonly compliance: string | null;
  /** base64url of SHA-256. */
  readonly policyHash: string | null;
  /** The data whose hash the report holds, as the service read it. */
  readonly runtime: Record<string, unknown> | null;
  /** `null`: a platform token. */
  readonly guest: MaaGuest | null;
}

/** @returns the claims, or which one has another form */
export function readMaaClaims(claims: Readonly<Record<string, unknown>>): MaaClaims | { readonly bad: string } {
  const source = { ...claims };
  if (source['x-ms-attestation-type'] !== 'azurevm') {
    const [tee, top] = [teeSchema.safeParse(source), platformSchema.safeParse(source)];
    if (!tee.success || !top.success) return { bad: problem(source, tee.error ?? top.error) };
    return { tee: tee.data, compliance: top.data['x-ms-compliance-status'], policyHash: top.data['x-ms-policy-hash'], runtime: top.data['x-ms-runtime'], guest: null };
  }
  const top = guestSchema.safeParse(source);
  if (!top.success) return { bad: problem(source, top.error) };
  const inner = top.data['x-ms-isolation-tee'];
  const [tee, inside] = [teeSchema.safeParse(inner), z.object(machine).safeParse(inner)];
  if (!tee.success || !inside.success) return { bad: `x-ms-isolation-tee.${problem(inner, tee.error ?? inside.error)}` };
  const debug = ['x-ms-azurevm-kerneldebug-enabled', 'x-ms-azurevm-bootdebug-enabled', 'x-ms-azurevm-hypervisordebug-enabled', 'x-ms-azurevm-testsigning-enabled'] as const;
  return {
    tee: tee.data, compliance: inside.data['x-ms-compliance-status'], policyHash: top.data['x-ms-policy-hash'], runtime: inside.data['x-ms-runtime'],
    guest: { secureBoot: top.data.secureboot, attestedPcrs: top.data['x-ms-azurevm-attested-pcrs'], vmId: top.data['x-ms-azurevm-vmid'], debug: debug.some((name) => top.data[name] === true), runtime: top.data['x-ms-runtime'] },
  };
}

/** The first claim that is wrong: of the TEE that the token names, where it names one. */
function problem(source: Readonly<Record<string, unknown>>, error: z.ZodError | undefined): string {
  const type = source['x-ms-attestation-type'];
  const schema = type === 'sevsnpvm' ? snpSchema : type === 'tdxvm' ? tdxSchema : undefined;
  if (schema === undefined && type !== 'azurevm') return 'x-ms-attestation-type';
  const [issue] = schema?.safeParse(source).error?.issues ?? error?.issues ?? [];
  return issue?.path.join('.') ?? 'claims';
}

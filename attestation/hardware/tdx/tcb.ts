/**
 * The status of a platform by Intel's tables (Intel SGX and TDX DCAP: "TCB level matching"; the rules are those of A3 in words):
 *
 *   platform  the first level of the TCB info whose SGX components, PCESVN and TDX components are all at most the platform's
 *   module    with a major version of the TDX module above 0: identity TDX_<version>, its first level at most the module's SVN; the platform
 *             level then leaves out TDX components 0 and 1, which are the module's
 *   QE        the first level of its identity at most its ISVSVN
 *
 * Together the worst wins. Nothing here decides what is acceptable.
 */
import { type Bytes, equal, hex } from '../../bytes.ts';
import type { IntelStatus, IsvLevel, ModuleIdentity, QeIdentity, TcbInfo, TdxTcbInfo } from '../../formats/intel-json.ts';
import type { SgxReport } from '../../formats/sgx-report.ts';

export interface Level {
  readonly status: IntelStatus;
  /** Of the level, epoch seconds. */
  readonly date: number;
  readonly advisories: readonly string[];
}

interface PlatformSvns { readonly components: readonly number[]; readonly pceSvn: number }

/** @param teeTcbSvn of a TD; absent for SGX. @returns undefined: below every level */
export function platformLevel(info: TcbInfo, platform: PlatformSvns, teeTcbSvn?: Bytes): Level | undefined {
  for (const level of info.tcbLevels) {
    const { tcb } = level;
    if (!tcb.sgxtcbcomponents.every((svn, i) => (platform.components[i] ?? -1) >= svn) || platform.pceSvn < tcb.pcesvn) continue;
    if (teeTcbSvn === undefined) return levelOf(level);
    if (!('tdxtcbcomponents' in tcb)) continue;
    const from = (teeTcbSvn[1] ?? 0) > 0 ? 2 : 0;
    if (tcb.tdxtcbcomponents.every((svn, i) => i < from || (teeTcbSvn[i] ?? -1) >= svn)) return levelOf(level);
  }
  return undefined;
}

const levelOf = (level: { tcbStatus: IntelStatus; tcbDate: number; advisoryIDs?: string[] | undefined }): Level => ({ status: level.tcbStatus, date: level.tcbDate, advisories: level.advisoryIDs ?? [] });

export function isvLevel(levels: readonly IsvLevel[], isvSvn: number): Level | undefined {
  const found = levels.find((level) => level.tcb.isvsvn <= isvSvn);
  return found === undefined ? undefined : levelOf(found);
}

export interface ModuleVersion {
  /** TDX_00 for modules of major version 0, which have no identity of their own. */
  readonly id: string;
  readonly svn: number;
}

export const moduleVersion = (teeTcbSvn: Bytes): ModuleVersion => ({ id: `TDX_${hex(teeTcbSvn.subarray(1, 2)).toUpperCase()}`, svn: teeTcbSvn[0] as number });

/** What the TCB info says of modules of this version; undefined: nothing. */
export function moduleIdentity(info: TdxTcbInfo, { id }: ModuleVersion): Pick<ModuleIdentity, 'mrsigner' | 'attributes' | 'attributesMask'> & Partial<Pick<ModuleIdentity, 'tcbLevels'>> | undefined {
  return id === 'TDX_00' ? info.tdxModule : info.tdxModuleIdentities?.find((m) => m.id === id);
}

/** value AND mask == expected, byte by byte. */
export const masked = (value: Bytes, mask: Bytes, expected: Bytes): boolean => value.length === expected.length && value.every((b, i) => (b & (mask[i] as number)) === expected[i]);

/** The fields of the quoting enclave that are not as the identity says. */
export function qeMismatches(report: SgxReport, identity: QeIdentity): string[] {
  const wrong: string[] = [];
  if (!equal(report.mrSigner, identity.mrsigner)) wrong.push('mrSigner');
  if (report.isvProdId !== identity.isvprodid) wrong.push('isvProdId');
  if (!masked(report.miscSelect, identity.miscselectMask, identity.miscselect)) wrong.push('miscSelect');
  if (!masked(report.attributes, identity.attributesMask, identity.attributes)) wrong.push('attributes');
  return wrong;
}

const OUT_OF_DATE: ReadonlySet<IntelStatus> = new Set(['OutOfDate', 'OutOfDateConfigurationNeeded']);
const CONFIGURATION: ReadonlySet<IntelStatus> = new Set(['ConfigurationNeeded', 'ConfigurationAndSWHardeningNeeded', 'OutOfDateConfigurationNeeded']);
const HARDENING: ReadonlySet<IntelStatus> = new Set(['SWHardeningNeeded', 'ConfigurationAndSWHardeningNeeded']);

/** The worst of all: whatever one of them lacks, the whole lacks. An out-of-date TCB says so first and keeps its need of configuration. */
export function converge(statuses: readonly IntelStatus[]): IntelStatus {
  const any = (set: ReadonlySet<IntelStatus>): boolean => statuses.some((s) => set.has(s));
  if (statuses.includes('Revoked') || statuses.length === 0) return 'Revoked';
  const configuration = any(CONFIGURATION);
  if (any(OUT_OF_DATE)) return configuration ? 'OutOfDateConfigurationNeeded' : 'OutOfDate';
  if (any(HARDENING)) return configuration ? 'ConfigurationAndSWHardeningNeeded' : 'SWHardeningNeeded';
  return configuration ? 'ConfigurationNeeded' : 'UpToDate';
}

export const isOutOfDate = (status: IntelStatus): boolean => OUT_OF_DATE.has(status);

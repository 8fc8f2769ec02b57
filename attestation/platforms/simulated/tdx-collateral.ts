/** TCB info and QE identities as Intel's service sends them, signed by a simulated TCB signing certificate; every member can be set, added or left out. */
import { type Bytes, hex, utf8 } from '../../bytes.ts';
import { type SigningKey, signRaw } from './keys.ts';

export type Json = Readonly<Record<string, unknown>>;
const ZERO48 = '0'.repeat(96);
const MODULE = { mrsigner: ZERO48, attributes: '0000000000000000', attributesMask: 'FFFFFFFFFFFFFFFF' };
export const intelTime = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
export const svns = (list: readonly number[]): { svn: number }[] => Array.from({ length: 16 }, (_, i) => ({ svn: list[i] ?? 0 }));

export interface LevelFields { readonly sgx: readonly number[]; readonly pce: number; readonly tdx: readonly number[]; readonly status: string; readonly date?: string; readonly advisories?: readonly string[] }
export const tcbLevel = ({ sgx, pce, tdx, status, date = '2026-02-11T00:00:00Z', advisories }: LevelFields): Json => ({
  tcb: { sgxtcbcomponents: svns(sgx), pcesvn: pce, tdxtcbcomponents: svns(tdx) }, tcbDate: date, tcbStatus: status, ...(advisories === undefined ? {} : { advisoryIDs: advisories }),
});
export const isvLevel = (isvsvn: number, status: string, date = '2026-02-11T00:00:00Z', advisories?: readonly string[]): Json => ({ tcb: { isvsvn }, tcbDate: date, tcbStatus: status, ...(advisories === undefined ? {} : { advisoryIDs: advisories }) });
export const module = (id: string, levels: readonly Json[], change: Json = {}): Json => ({ id, ...MODULE, tcbLevels: levels, ...change });

const SGX_LEVEL = [3, 3, 2, 2, 4, 1, 0, 5];

/** The tables of the simulated platform: up to date, then two years of being behind. */
export const tcbInfo = (now: number, change: Json = {}): Json => ({
  id: 'TDX', version: 3, issueDate: intelTime(now - 3600), nextUpdate: intelTime(now + 30 * 86_400), fmspc: 'B0C06F000000', pceId: '0000', tcbType: 0, tcbEvaluationDataNumber: 20, tdxModule: MODULE,
  tdxModuleIdentities: [module('TDX_03', [isvLevel(3, 'UpToDate')]), module('TDX_01', [isvLevel(6, 'UpToDate'), isvLevel(4, 'OutOfDate', '2024-03-13T00:00:00Z', ['INTEL-SA-01036'])])],
  tcbLevels: [
    tcbLevel({ sgx: SGX_LEVEL, pce: 13, tdx: [5, 0, 3], status: 'UpToDate' }),
    tcbLevel({ sgx: [2, 2, 2, 2, 3, 1, 0, 5], pce: 13, tdx: [5, 0, 2], status: 'OutOfDate', date: '2024-03-13T00:00:00Z', advisories: ['INTEL-SA-01036', 'INTEL-SA-01079'] }),
    tcbLevel({ sgx: [2, 2, 2, 2, 3, 1, 0, 5], pce: 5, tdx: [3, 0, 2], status: 'OutOfDateConfigurationNeeded', date: '2018-01-04T00:00:00Z', advisories: ['INTEL-SA-00106'] }),
  ],
  ...change,
});

export const qeIdentity = (now: number, change: Json = {}): Json => ({
  id: 'TD_QE', version: 2, issueDate: intelTime(now - 7200), nextUpdate: intelTime(now + 29 * 86_400), tcbEvaluationDataNumber: 20, miscselect: '00000000', miscselectMask: 'FFFFFFFF',
  attributes: '11000000000000000000000000000000', attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000', mrsigner: 'DC9E2A7C6F948F17474E34A7FC43ED030F7C1563F1BABDDF6340C82E0E54A8C5', isvprodid: 2,
  tcbLevels: [isvLevel(6, 'UpToDate'), isvLevel(4, 'OutOfDate', '2023-02-15T00:00:00Z', ['INTEL-SA-00837'])], ...change,
});

/** `{"<name>": <text>, "signature": "..."}`, the signature over the text. */
export async function signStatement(name: 'tcbInfo' | 'enclaveIdentity', statement: Json | string, key: SigningKey): Promise<Bytes> {
  const text = typeof statement === 'string' ? statement : JSON.stringify(statement);
  return utf8(`{"${name}":${text},"signature":"${hex(await signRaw(key, 'ES256', utf8(text)))}"}`);
}

/** Facts of a TD in the vocabulary of the claims, for the adapters of the clouds. The status of the TCB goes through unchanged. */
import { hex } from '../../bytes.ts';
import type { Measurement, NormalizedClaims } from '../../claims.ts';
import { tdAttributes } from './appraise.ts';
import type { TdxFacts } from './facts.ts';
import { moduleVersion } from './tcb.ts';

/** Firmware measures itself into MRTD, its configuration and what it starts into RTMR0 and RTMR1; the OS goes into RTMR2, RTMR3 is the workload's. */
const COVERS: readonly Measurement['covers'][] = ['firmware', 'kernel', 'cmdline', 'other'];

export interface TdxClaims extends Pick<NormalizedClaims, 'hardware' | 'tcb' | 'guest' | 'collateral'> {
  readonly anchor: NormalizedClaims['anchor'];
  readonly measurements: readonly Measurement[];
}

/**
 * @param rtmr3 `replayed` when a verified event log explains RTMR3: without one its value says nothing, because anything that runs in the TD can
 * extend it, and it is left out
 */
export function tdxClaims(facts: TdxFacts, at: number, rtmr3: 'replayed' | 'unexplained' = 'unexplained'): TdxClaims {
  const { body, version } = facts.quote;
  const attributes = tdAttributes(body);
  const { pck, tcb, revocation } = facts;
  const register = (name: string, value: Uint8Array, covers: Measurement['covers']): Measurement => ({ register: name, alg: 'sha384', value: hex(value), covers, quoted: true });
  return {
    anchor: pck.root.anchor,
    hardware: {
      vendor: 'intel', technology: 'tdx', generation: body.kind, reportVersion: version, chipId: pck.ppidSha256, chipIdMasked: false,
      signer: { kind: 'pck', leafSerial: pck.leafSerial, rootSha256: pck.root.certSha256 },
      revocation: { status: revocation.status, ...(revocation.status === 'good' ? { checkedAt: at } : {}) },
    },
    tcb: {
      status: tcb?.status ?? 'NotReported',
      intel: { sgx: pck.platform.components, tdx: [...body.teeTcbSvn], pcesvn: pck.platform.pceSvn, module: moduleVersion(body.teeTcbSvn).id, fmspc: pck.platform.fmspc },
      ...(tcb === null ? {} : { date: tcb.date, evaluationNumber: tcb.evaluationNumber, advisories: tcb.advisories }),
    },
    guest: {
      debug: attributes.debug, migratable: attributes.migratable, vmpl: null, smt: pck.platform.configuration?.smt ?? null, secureBoot: null,
      attributes: hex(body.tdAttributes), xfam: hex(body.xfam), hostData: hex(body.mrConfigId),
    },
    measurements: [register('MRTD', body.mrTd, 'firmware'), ...body.rtmrs.flatMap((value, i) => (i === 3 && rtmr3 === 'unexplained' ? [] : [register(`RTMR${i}`, value, COVERS[i] ?? 'other')]))],
    collateral: facts.collateral,
  };
}

/** For people who compare a corpus: everything that identifies a TD, nothing that identifies its machine, nothing of bytes behind the quote. */
export function tdxSummary({ quote, pck, tcb, revocation }: TdxFacts): Record<string, unknown> {
  const { body } = quote;
  return {
    quoteVersion: quote.version, body: body.kind, mrTd: hex(body.mrTd), mrSeam: hex(body.mrSeam), rtmrs: body.rtmrs.map(hex), reportData: hex(body.reportData), tdAttributes: hex(body.tdAttributes),
    xfam: hex(body.xfam), teeTcbSvn: hex(body.teeTcbSvn), fmspc: pck.platform.fmspc, pceId: pck.platform.pceId, ca: pck.ca, ppidSha256: pck.ppidSha256, tcb: tcb?.status ?? 'NotReported', revocation: revocation.status,
  };
}


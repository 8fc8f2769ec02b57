/**
 * The boot's event log of a TD (CCEL) against its quoted RTMRs. The events that come out are the ones that were replayed, of all four RTMRs, and no
 * others: a log that explains three of them explains nothing of what the fourth says.
 */
import type { Bytes } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import { type VerifiedEventLog, verifyEventLog } from '../tpm/event-log.ts';
import type { TdxFacts } from './facts.ts';

/** Numbers of RTMR0 to RTMR3 in the log; 0 is MRTD, which is measured before there is a log. */
export const CCEL_RTMRS = [1, 2, 3, 4] as const;

/** @returns undefined when a check failed: EVENTLOG_FORMAT, EVENTLOG_ALGORITHM, EVENTLOG_BINDING, EVENTLOG_ORDER */
export function verifyCcel(facts: TdxFacts, log: Bytes, checks: CheckList, path = 'ccel'): Promise<VerifiedEventLog | undefined> {
  return verifyEventLog({ log, path, kind: 'ccel', bank: 'sha384', quoted: new Map(facts.quote.body.rtmrs.map((value, i) => [CCEL_RTMRS[i] as number, value])) }, checks);
}

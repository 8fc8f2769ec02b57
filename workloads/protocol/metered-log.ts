/** A log that is counted as it is written: processes inside a TEE have no other metrics, so nothing can be in these that is not in the log's closed list of fields. */
import { isRefusalCode } from './problem.ts';
import type { Log, LogFields } from './log.ts';
import type { Metrics } from './metrics.ts';

export function meteredLog(log: Log, metrics: Metrics): Log {
  const count = (event: string, fields: LogFields = {}): void => {
    metrics.add('ccc_events_total', { event });
    const { code, codes = [], count_jobs } = fields;
    const refused = [code, ...(Array.isArray(codes) ? codes as string[] : [])].filter((each): each is string => typeof each === 'string');
    for (const each of refused) if (isRefusalCode(each)) metrics.add('ccc_refusals_total', { code: each });
    if (event === 'release' && typeof count_jobs === 'number') metrics.add('ccc_releases_total', {}, count_jobs - (Array.isArray(codes) ? codes.length : 0));
  };
  return {
    info: (event, fields) => { count(event, fields); log.info(event, fields); },
    warn: (event, fields) => { count(event, fields); log.warn(event, fields); },
    error: (event, fields) => { count(event, fields); log.error(event, fields); },
  };
}

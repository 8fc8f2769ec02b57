/** Event logs of a TPM: they have to lead to the PCR values of the companion, bank by bank. */
import { type Bytes, hex } from '../bytes.ts';
import { CheckList } from '../checks.ts';
import { type Bank, BANKS, parseEventLog, replayEventLog } from '../formats/tcg-event-log.ts';
import { eventFacts } from '../hardware/tpm/event-facts.ts';
import { verifyEventLog } from '../hardware/tpm/event-log.ts';
import { refuse } from '../refusal.ts';
import { anyBytes } from './azure-import.ts';
import { type Judge, judged, readJson, type Vector } from './judge.ts';

const NEXT = 'Hand over PCR values as {bank: {index: hex}}.';

function expected(vector: Vector): Map<Bank, Map<number, Bytes>> {
  const file = vector.companions.find((c) => c.kind === 'expected-pcrs');
  const out = new Map<Bank, Map<number, Bytes>>();
  for (const [bank, values] of Object.entries(file === undefined ? {} : readJson(file.bytes, file.file))) {
    if (!Object.hasOwn(BANKS, bank) || typeof values !== 'object' || values === null) return refuse('FMT_PCR', 'pcrs', NEXT, { have: bank.slice(0, 16), need: Object.keys(BANKS).join(', ') });
    out.set(bank as Bank, new Map(Object.entries(values as Record<string, unknown>).map(([i, v]) => [Number(i), anyBytes(v, `pcrs.${i}`)])));
  }
  return out;
}

export const judgeEventLog: Judge = (vector) => judged(async () => {
  const checks = new CheckList();
  const log = parseEventLog(vector.bytes, 'log');
  const wanted = expected(vector);
  // Without values beside it a log is judged against its own replay: form and order
  const [own] = log.banks;
  if (wanted.size === 0 && own !== undefined) wanted.set(own, new Map(await replayEventLog(log, own)));
  const shown: Record<string, unknown> = {};
  for (const [bank, quoted] of wanted) {
    const verified = await verifyEventLog({ log: vector.bytes, path: 'log', kind: 'tpm', bank, quoted }, checks);
    if (verified !== undefined) shown[bank] = { pcrs: Object.fromEntries([...quoted].map(([i, v]) => [`PCR${i}`, hex(v)])), ...await eventFacts(verified) };
  }
  checks.refuseIfFailed();
  return { events: log.events.length, banks: log.banks, ...shown };
});

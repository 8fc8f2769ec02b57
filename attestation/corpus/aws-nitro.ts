/** Attestation documents of Nitro Enclaves, alone or named by a scenario with another time. */
import type { Bytes } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { hex } from '../bytes.ts';
import { verifyDocument } from '../platforms/aws-nitro/verify.ts';
import { corpusTrust, type Judge, judged, readJson, type Vector } from './judge.ts';

async function facts(document: Bytes, vector: Vector, now: number | null): Promise<unknown> {
  if (now === null) return refuse('FMT_FIELD', 'verified_at', 'A document is valid at a time: state one.');
  const { payload, checks } = await verifyDocument(document, { ...corpusTrust(vector), now });
  return {
    moduleId: payload.moduleId, timestamp: payload.timestamp, pcrs: Object.fromEntries([...payload.pcrs].map(([index, value]) => [`PCR${index}`, hex(value)])), checks: checks.map((c) => c.id),
  };
}

/** A NitroTPM document is judged here too: it has another payload, and this verifier refuses it with a code of its own. */
export const judgeNitroDocument: Judge = (vector) => judged(() => facts(vector.bytes, vector, vector.at));

/** `{document, verify_at}`: an unchanged document at another time. */
export const judgeNitroScenario: Judge = (vector) => judged(() => {
  const { document, verify_at: at } = readJson(vector.bytes, 'scenario');
  const found = vector.companions.find((c) => c.file === document);
  if (found === undefined || typeof at !== 'string' || Number.isNaN(Date.parse(at))) return refuse('FMT_FIELD', 'scenario', 'Name the document among the companions and the time as ISO 8601.');
  return facts(found.bytes, vector, Date.parse(at) / 1000);
});

/** What the scenarios of tokens have in common: `{token, verify_at, ...}`, the token among the companions. */
import { refuse } from '../refusal.ts';
import { type CorpusFile, readJson, type Vector } from './judge.ts';

export function scenarioOf(vector: Vector): { token: CorpusFile; at: number } {
  const { token: name, verify_at: at } = readJson(vector.bytes, 'scenario');
  const token = vector.companions.find((c) => c.file === name);
  if (token === undefined || typeof at !== 'string' || Number.isNaN(Date.parse(at))) return refuse('FMT_FIELD', 'scenario', 'Name the token among the companions and the time as ISO 8601.');
  return { token, at: Date.parse(at) / 1000 };
}

export const timeOf = (vector: Vector): number => vector.at ?? refuse('FMT_FIELD', 'verified_at', 'A token is valid at a time: state one.');

/** One line per platform and kind. */
import { judgeNitroDocument, judgeNitroScenario } from './aws-nitro.ts';
import { judgeCcel, judgeSgxQuote, judgeTdxQuote } from './intel-tdx.ts';
import type { Judge } from './judge.ts';

const JUDGES: Readonly<Record<string, Judge>> = {
  'aws-nitro/nitro-attestation-document': judgeNitroDocument,
  'aws-nitro/nitrotpm-attestation-document': judgeNitroDocument,
  'aws-nitro/scenario': judgeNitroScenario,
  'azure-cvm/tdx-quote': judgeTdxQuote,
  'intel-tdx/event-log': judgeCcel,
  'intel-tdx/sgx-quote': judgeSgxQuote,
  'intel-tdx/tdx-quote': judgeTdxQuote,
};

/** undefined: a kind that this version does not know. */
export const judgeFor = (platform: string, kind: string): Judge | undefined => (Object.hasOwn(JUDGES, `${platform}/${kind}`) ? JUDGES[`${platform}/${kind}`] : undefined);

/** One line per platform and kind. */
import { judgeNitroDocument, judgeNitroScenario } from './aws-nitro.ts';
import { judgeSnpReport, judgeSnpScenario, judgeVek } from './amd-sev-snp.ts';
import { judgeAzureEvidence, judgeHclReport } from './azure-cvm.ts';
import { judgeMaaScenario, judgeMaaToken } from './azure-maa.ts';
import { judgeEventLog } from './event-log.ts';
import { judgeConfidentialSpaceScenario, judgeConfidentialSpaceToken } from './gcp-confidential-space.ts';
import { judgeGceAk } from './gcp-certificates.ts';
import { judgeEvidenceProtobuf, judgeGoTpmTools } from './gcp-vtpm.ts';
import { judgeCcel, judgeSgxQuote, judgeTdxQuote } from './intel-tdx.ts';
import type { Judge } from './judge.ts';
import { judgeTpmQuote } from './tpm.ts';

const JUDGES: Readonly<Record<string, Judge>> = {
  'amd-sev-snp/cert-chain-hex-json': judgeVek,
  'amd-sev-snp/scenario': judgeSnpScenario,
  'amd-sev-snp/snp-report': judgeSnpReport,
  'amd-sev-snp/vcek-der': judgeVek,
  'amd-sev-snp/vcek-pem': judgeVek,
  'amd-sev-snp/vlek-der': judgeVek,
  'amd-sev-snp/vlek-pem': judgeVek,
  'aws-nitro/nitro-attestation-document': judgeNitroDocument,
  'aws-nitro/nitrotpm-attestation-document': judgeNitroDocument,
  'aws-nitro/scenario': judgeNitroScenario,
  'aws-nitro/tpm-quote': judgeTpmQuote,
  'azure-cvm/azure-evidence-json': judgeAzureEvidence,
  'azure-cvm/hcl-report': judgeHclReport,
  'azure-cvm/snp-report': judgeSnpReport,
  'azure-cvm/tdx-quote': judgeTdxQuote,
  'azure-cvm/tpm-quote': judgeTpmQuote,
  'azure-cvm/vcek-der': judgeVek,
  'azure-cvm/vcek-pem': judgeVek,
  'azure-maa/maa-jwt': judgeMaaToken,
  'azure-maa/scenario': judgeMaaScenario,
  'gcp-confidential-space/confidential-space-jwt': judgeConfidentialSpaceToken,
  'gcp-confidential-space/scenario': judgeConfidentialSpaceScenario,
  'gcp-vtpm/cert-chain-hex-json': judgeGceAk,
  'gcp-vtpm/event-log': judgeEventLog,
  'gcp-vtpm/evidence-protobuf': judgeEvidenceProtobuf,
  'gcp-vtpm/gce-ak-cert': judgeGceAk,
  'gcp-vtpm/go-tpm-tools-attestation-pb': judgeGoTpmTools,
  'gcp-vtpm/snp-report': judgeSnpReport,
  'gcp-vtpm/tpm-quote': judgeTpmQuote,
  'gcp-vtpm/vcek-der': judgeVek,
  'intel-tdx/event-log': judgeCcel,
  'intel-tdx/sgx-quote': judgeSgxQuote,
  'intel-tdx/tdx-quote': judgeTdxQuote,
};

/** undefined: a kind that this version does not know. */
export const judgeFor = (platform: string, kind: string): Judge | undefined => (Object.hasOwn(JUDGES, `${platform}/${kind}`) ? JUDGES[`${platform}/${kind}`] : undefined);

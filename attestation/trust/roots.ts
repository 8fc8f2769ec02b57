/**
 * Production roots, pinned by fingerprints of certificate and key (trust/purposes.ts says what each is good for). A development root is never in
 * this list: it comes from the owner's policy. Fingerprints are recomputed from the published certificates in tests.
 */
import type { TrustRoot } from '../adapter.ts';
import type { RootPurpose } from './purposes.ts';

const pin = (name: string, purpose: RootPurpose, certSha256: string, spkiSha256: string): TrustRoot => ({ name, purpose, anchor: 'production', certSha256, spkiSha256 });

export const PRODUCTION_ROOTS: readonly TrustRoot[] = [
  // https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip; until 2049-10-28
  { ...pin('AWS Nitro Enclaves Root G1', 'aws-nitro', '641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b', 'f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225'), platform: 'aws-nitro' },

  // https://kdsintf.amd.com/vcek/v1/<product>/cert_chain and /vlek/v1/<product>/cert_chain; until 2045-10-22, 2047-01-26, 2048-05-15
  pin('AMD ARK-Milan', 'amd-ark/Milan', '69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd', '9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9'),
  pin('AMD SEV-Milan', 'amd-ask/Milan', '67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b', '42491669ccb851d627ea9846cd24eccbeb7de7c2a62740120fff88001d38ebb6'),
  pin('AMD SEV-VLEK-Milan', 'amd-asvk/Milan', 'c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5', '66450a123ea5876206df67f2514a4fea224c0f63b18313423078b0edc4535e33'),
  pin('AMD ARK-Genoa', 'amd-ark/Genoa', '4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1', '429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831'),
  pin('AMD SEV-Genoa', 'amd-ask/Genoa', '5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521', '0324d55bcd48ba877a8fd87c0e1b4934dec8448e3807a24384a34dc6a6c9ebb8'),
  pin('AMD SEV-VLEK-Genoa', 'amd-asvk/Genoa', '197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372', '7d1633252ebbadaa75f96e9b4e6f7d43a90ceb3f843937482630f8da2459264e'),
  pin('AMD ARK-Turin', 'amd-ark/Turin', '1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a', '4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08'),
  pin('AMD SEV-Turin', 'amd-ask/Turin', '5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185', '0000ead352025f208bf55297c4192c34cd1b878002107366d8f2065a9ae7d3a9'),
  pin('AMD SEV-VLEK-Turin', 'amd-asvk/Turin', '104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c', 'bfc441408b2f806c5dbf180bd8920e6e60dd404d82141780d85dbf962954d386'),

  // https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer; until 2049-12-31
  pin('Intel SGX Root CA', 'intel-sgx', '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3', 'a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e'),

  // Attestation keys of vTPMs; until 2048-06-01, 2046-08-26 (older VMs)
  pin('Azure Virtual TPM Root Certificate Authority 2023', 'azure-vtpm', 'e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95', '5cbc52672ae101263c2976736044a964c1182ce9412c39937183baddcccb8cdf'),
  pin('Microsoft RSA Devices Root CA 2021', 'azure-vtpm', '8c2bb9144d4970c94fb8105cc5d860a58e2e675eb360fdd8c14b30833aaaec1d', 'd61ed293962f1f6ceb26ea9ec1c5a8c6cab38e73671f27c22df90e47977707ff'),

  // Keys of GCE's vTPMs; until 2122-07-08, 2118-04-06 (older VMs)
  pin('Google EK/AK CA Root', 'google-ek-ak', '594759594b9b61524f6c8ef668f7177f7b9066bc0674f2f49fe9e052be78beb2', '56a613f57126a385dd6949294e93b0b566f96ab0573be0c2368e6f5ca779831f'),
  pin('Google tpm_ek_root_1', 'google-ek-ak', '9bd5285f8fb18502a7947e621ffd470266f49fcd3b73e19a190f690ad32a7caf', 'f23057f4f97d1d90e4cae0ce91d5a0fc99069f0a1bc147021dca33b1e9c4d0d9'),
  // Confidential Space PKI tokens; until 2034-01-16
  pin('Google Confidential Space Root CA', 'google-cs', '148b293821bb0c6a317f413c8ba475814091cb22d49b9e3c94198db8e8f86c39', '40b464f4d4ff947572c6b23869a7bccae3f69ba9c81ade6c09d035e4657e40c4'),
  // https://pki.goog/cloud_integrity/GCE-cc-tcb-root_1.crt. The certificate was not available when this was written: the fingerprint is the one that two
  // independent projects pin, and there is no pin of the key. Compare it with pki.goog before relying on it.
  { name: 'GCE-cc-tcb-root_1', purpose: 'gce-tcb', anchor: 'production', certSha256: 'e876bc6978bf4f3da445f98a0a82363c8c0bae5a1fc033c6df65846a6cb0f18c' },
];

/**
 * An Azure VM whose vTPM is a real one (swtpm): the HCL report and the certificate of its key are in NV where Azure has them, the metadata service is a
 * server on the loopback interface, the PKIs are simulated. What the attester sends passes the adapter, and what it cannot get is said.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { d32 } from '../../attestation/binding.ts';
import { b64u, type Bytes, fromB64u, hex, text, utf8 } from '../../attestation/bytes.ts';
import { attestationKeyTemplate } from '../../attestation/devices/tpm2.ts';
import { OID } from '../../attestation/formats/oid.ts';
import { parseTpmtPublic } from '../../attestation/formats/tpmt-public.ts';
import { AK_CERTIFICATE_INDEX, AK_HANDLE, azureAttester, type AzureAttesterOptions, HCL_INDEX } from '../../attestation/platforms/azure-cvm/attest.ts';
import { parseAzureEvidence } from '../../attestation/platforms/azure-cvm/container.ts';
import { azureCvm } from '../../attestation/platforms/azure-cvm/verify.ts';
import { type AzureWorld, makeAzureWorld } from '../../attestation/platforms/simulated/azure.ts';
import { buildEventLog, simulatedBoot } from '../../attestation/platforms/simulated/event-log.ts';
import { runtimeFields } from '../../attestation/platforms/simulated/hcl.ts';
import type { SigningKey } from '../../attestation/platforms/simulated/keys.ts';
import { der, oid, sequence } from '../../attestation/platforms/simulated/der-writer.ts';
import { extendedKeyUsage, type Extension } from '../../attestation/platforms/simulated/issue.ts';
import { BINDING, EXPECT, REGISTERS, trustOf } from '../attestation/azure/support.ts';
import { KEYS } from '../attestation/path-support.ts';
import { filled, NOW, refused } from '../attestation/support.ts';
import { pem, serve, type Service } from './http.ts';
import { extend, measureBoot, persist, SKIP_SWTPM, startSwtpm, storeIndex, type Swtpm } from './swtpm.ts';

const THIM = '/metadata/THIM/amd/certification';

interface Vm { readonly machine: Swtpm; readonly world: AzureWorld; readonly service: Service; readonly eventLog: Bytes; readonly leaf: Bytes }

const issuerAt = (url: string): Extension => ({ id: '1.3.6.1.5.5.7.1.1', critical: false, value: sequence(sequence(oid('1.3.6.1.5.5.7.48.2'), der(0x86, utf8(url)))) });

/** The world's hardware vouches for the key that the TPM really has, and the world's CA certifies it. */
async function makeVm(technology: 'snp' | 'tdx'): Promise<Vm> {
  const [machine, service] = await Promise.all([startSwtpm(), serve({})]);
  const { tpm } = machine;
  const { spki } = parseTpmtPublic(await persist(tpm, attestationKeyTemplate('rsa'), AK_HANDLE), 'ak');
  const ak: SigningKey = { type: 'RSA-2048', spki, pkcs8: new Uint8Array() };
  const runtime = await runtimeFields(ak, ak, technology);
  const world = await makeAzureWorld({
    // Azure's index has 2600 bytes and swtpm's largest 2048: the runtime data without the endorsement key, as in reports of early 2023
    runtime: { keys: runtime.keys.slice(0, 1) }, hcl: { area: 2048 },
    now: NOW, ring: KEYS, technology, extraData: await d32(BINDING),
    certificates: { ak: { key: ak, extensions: [extendedKeyUsage([OID.tpmAttestationKey]), issuerAt(`${service.base}/ca`)] }, ca: { extensions: [extendedKeyUsage(['2.23.133.8.1', OID.tpmAttestationKey]), issuerAt(`${service.base}/root`)] } },
    // The world's own quote, which nobody sends, needs a key that can be used
    quote: { key: await KEYS.get('RSA-2048', 'azure-ak') },
  });
  const { root, ca, ak: certificate } = world.pki;
  await storeIndex(tpm, HCL_INDEX, world.parts.hcl);
  // Azure's index is larger than the certificate
  await storeIndex(tpm, AK_CERTIFICATE_INDEX, certificate.certificate, 2048);
  const eventLog = await buildEventLog(simulatedBoot());
  await measureBoot(tpm, eventLog);
  const { vek, issuers, tdQuote } = world.parts;
  service.answers = {
    ...(vek === undefined ? {} : { [THIM]: () => ({ body: JSON.stringify({ vcekCert: pem(vek), tcbm: 'DB18000000000004', certificateChain: (issuers ?? []).map(pem).join(''), cacheControl: '86400' }) }) }),
    ...(tdQuote === undefined ? {} : { '/acc/tdquote': () => ({ body: JSON.stringify({ quote: b64u(tdQuote) }) }) }),
    '/ca': () => ({ body: ca.certificate }), '/root': () => ({ body: root.certificate }),
  };
  return { machine, world, service, eventLog, leaf: certificate.certificate };
}

const optionsOf = ({ machine, service, eventLog }: Vm): AzureAttesterOptions => ({ tpm: machine.tpm, metadata: { fetch, base: service.base, wait: async () => {} }, registers: REGISTERS, fetch, eventLog: async () => eventLog });

describe.skipIf(SKIP_SWTPM)('Azure on SEV-SNP', () => {
  let vm: Vm;
  let answers: Service['answers'];
  beforeAll(async () => {
    vm = await makeVm('snp');
    answers = vm.service.answers;
  });
  afterEach(() => { vm.service.answers = answers; });
  afterAll(async () => {
    vm?.service.stop();
    await vm?.machine.stop();
  });

  test('its evidence passes the adapter, with the TPM\'s own quote', async () => {
    vm.service.asked.length = 0;
    const attester = azureAttester(optionsOf(vm));
    const evidence = await attester.attest({ binding: BINDING });
    const claims = await azureCvm.verify(evidence, EXPECT, trustOf(vm.world));
    expect(claims).toMatchObject({ platform: 'azure-cvm', anchor: 'development', hardware: { technology: 'sev-snp', signer: { kind: 'vcek' } }, guest: { secureBoot: true }, tpm: { bank: 'sha256', ak: { alg: 'RS256', provenance: ['hcl', 'certificate'] } }, key: { boundIn: 'extraData' } });
    expect(claims.measurements.filter((m) => m.quoted && m.register.startsWith('vTPM')).map((m) => m.register)).toEqual(REGISTERS);
    expect(vm.service.asked.map((a) => [a.method, a.path, a.headers['metadata']]).sort()).toEqual([['GET', '/ca', undefined], ['GET', THIM, 'true'], ['GET', '/root', undefined]]);
    const parts = parseAzureEvidence(evidence.document, 'evidence');
    expect(hex(parts.hcl)).toBe(hex(await vm.machine.tpm.nvRead(HCL_INDEX)));
    expect(parts.ak?.map(hex)).toEqual([vm.leaf, vm.world.pki.ca.certificate, vm.world.pki.root.certificate].map(hex));
    // Once per boot, whatever is asked afterwards
    const other = { ...BINDING, nonce: filled(32, 0x77) };
    await azureCvm.verify(await attester.attest({ binding: other }), { ...EXPECT, binding: other }, trustOf(vm.world));
    expect(vm.service.asked.length).toBe(3);
  });

  test('evidence for one challenge is none for another; a selection of other registers is refused', async () => {
    const evidence = await azureAttester(optionsOf(vm)).attest({ binding: BINDING });
    await refused(azureCvm.verify(evidence, { ...EXPECT, binding: { ...BINDING, nonce: filled(32, 9) } }, trustOf(vm.world)), 'BINDING_MISMATCH');
    await refused(azureCvm.verify(await azureAttester({ ...optionsOf(vm), registers: [...REGISTERS, 'vTPM:PCR5'] }).attest({ binding: BINDING }), EXPECT, trustOf(vm.world)), 'PCR_SELECTION');
    await refused(azureAttester(optionsOf(vm)).attest({ binding: { ...BINDING, platform: 'gke' } }), 'BINDING_PLATFORM');
    await refused(() => azureAttester({ ...optionsOf(vm), registers: ['MRTD'] }), 'POLICY_EMPTY');
  });

  test('a register that was extended after the log no longer verifies with it', async () => {
    const attester = azureAttester(optionsOf(vm));
    await extend(vm.machine.tpm, 7, filled(32, 0x66));
    await refused(azureCvm.verify(await attester.attest({ binding: BINDING }), EXPECT, trustOf(vm.world)), 'EVENTLOG_BINDING');
    const claims = await azureCvm.verify(await azureAttester({ ...optionsOf(vm), eventLog: async () => null }).attest({ binding: BINDING }), EXPECT, trustOf(vm.world));
    expect(claims.boot).toBeUndefined();
  });

  test('a metadata service that is busy is asked again; what it says is never invented', async () => {
    let busy = 2;
    vm.service.answers = { ...answers, [THIM]: (asked) => (busy-- > 0 ? { status: 429, body: '' } : (answers[THIM] as (a: typeof asked) => { body: string })(asked)) };
    const attester = azureAttester({ ...optionsOf(vm), eventLog: undefined });
    expect(parseAzureEvidence((await attester.attest({ binding: BINDING })).document, 'evidence').vek).toBeDefined();
    for (const answer of [{ status: 503, body: '' }, { status: 404, body: '' }, { body: '<html>' }, { body: '{}' }, { body: '{"vcekCert":1,"certificateChain":""}' }, { body: JSON.stringify({ vcekCert: 'no PEM', certificateChain: 'no PEM' }) }, { body: 'x'.repeat(70_000) }]) {
      vm.service.answers = { ...answers, [THIM]: () => answer };
      await refused(azureAttester(optionsOf(vm)).attest({ binding: BINDING }), 'ATTESTER_FAILED');
    }
    // A failure is not kept
    vm.service.answers = { ...answers, [THIM]: () => ({ status: 404, body: '' }) };
    const later = azureAttester({ ...optionsOf(vm), eventLog: undefined });
    await refused(later.attest({ binding: BINDING }), 'ATTESTER_FAILED');
    vm.service.answers = answers;
    await azureCvm.verify(await later.attest({ binding: BINDING }), EXPECT, trustOf(vm.world));
  });
});

describe.skipIf(SKIP_SWTPM)('Azure on TDX', () => {
  let vm: Vm;
  beforeAll(async () => { vm = await makeVm('tdx'); });
  afterAll(async () => {
    vm?.service.stop();
    await vm?.machine.stop();
  });

  test('the TDREPORT of the HCL report is quoted by the metadata service; the evidence passes', async () => {
    const evidence = await azureAttester(optionsOf(vm)).attest({ binding: BINDING });
    const claims = await azureCvm.verify(evidence, EXPECT, trustOf(vm.world));
    expect(claims).toMatchObject({ platform: 'azure-cvm', hardware: { technology: 'tdx' }, tpm: { ak: { provenance: ['hcl', 'certificate'] } } });
    const asked = vm.service.asked.find((a) => a.path === '/acc/tdquote');
    expect([asked?.method, asked?.path, asked?.headers['content-type']]).toEqual(['POST', '/acc/tdquote', 'application/json']);
    const report = fromB64u((JSON.parse(asked?.body ?? '') as { report: string }).report);
    expect(report.length).toBe(1024);
    expect(hex(report)).toBe(hex(vm.world.parts.hcl.slice(32, 32 + 1024)));
    expect(text(evidence.document)).not.toContain('"vek"');
  });

  test('an answer without a quote is a failure', async () => {
    for (const body of ['{}', '{"quote":"***"}', 'null', '[]']) {
      vm.service.answers = { '/acc/tdquote': () => ({ body }) };
      await refused(azureAttester(optionsOf(vm)).attest({ binding: BINDING }), 'ATTESTER_FAILED');
    }
  });
});

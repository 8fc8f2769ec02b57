/** One test per check of the Azure verifier: one thing is wrong, under signatures that verify, and only that check fails. Evidence is synthetic. */
import { beforeAll, describe, expect, test } from 'vitest';
import { d32 } from '../../../attestation/binding.ts';
import { bytes, concat, fromHex, hex, sha256 } from '../../../attestation/bytes.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import { parseCertificate } from '../../../attestation/formats/x509.ts';
import { azureCvm } from '../../../attestation/platforms/azure-cvm/verify.ts';
import { encodeAzureEvidence } from '../../../attestation/platforms/azure-cvm/container.ts';
import { azureDevelopmentRoot, type AzureWorld, makeAzurePki, simulatedPcrs } from '../../../attestation/platforms/simulated/azure.ts';
import { simulatedBoot } from '../../../attestation/platforms/simulated/event-log.ts';
import { dn, extendedKeyUsage } from '../../../attestation/platforms/simulated/issue.ts';
import { replayEventLog, parseEventLog } from '../../../attestation/formats/tcg-event-log.ts';
import { buildEventLog } from '../../../attestation/platforms/simulated/event-log.ts';
import { OID } from '../../../attestation/formats/oid.ts';
import { KEYS } from '../path-support.ts';
import { filled, NOW, refused } from '../support.ts';
import { azureWorld, BINDING, EXPECT, REGISTERS, trustOf, verify } from './support.ts';

let good: AzureWorld;
let tdx: AzureWorld;
beforeAll(async () => { [good, tdx] = await Promise.all([azureWorld(), azureWorld({ technology: 'tdx' })]); });

describe('accepted', () => {
  test('SEV-SNP: the evidence that other tests change in one place', async () => {
    const claims = await verify(good);
    expect(claims).toMatchObject({
      platform: 'azure-cvm', anchor: 'development', time: { verifiedAt: NOW, freshness: 'challenge', challengeId: '01'.repeat(16), nonce: '02'.repeat(32) },
      hardware: { vendor: 'amd', technology: 'sev-snp', generation: 'Genoa', signer: { kind: 'vcek' }, revocation: { status: 'good' } },
      guest: { debug: false, vmpl: 0, secureBoot: true, consoleEnabled: false }, workload: { binding: { scope: 'vm' }, configDigest: '06'.repeat(32), imageDigestSource: 'none' },
      key: { boundIn: 'extraData', transcriptSha256: hex(await d32(BINDING)) }, cloud: { provider: 'azure', instanceId: '26f8bc30-774e-4290-8e7a-535f3b672aee', origin: 'asserted' },
      tpm: { bank: 'sha256', resetCount: 3, restartCount: 0, ak: { spkiSha256: hex(await sha256(good.ak.spki)), provenance: ['hcl', 'certificate'], certificate: { commonName: '353c6d9a70bc.ConfidentialVM.Azure.windows.net' } } },
      vmConfiguration: { secureBoot: true, tpmPersisted: true },
    });
    expect(claims.measurements.map((m) => m.register)).toEqual(['LAUNCH', ...REGISTERS]);
    expect(claims.measurements[1]).toMatchObject({ register: 'vTPM:PCR4', alg: 'sha256', value: 'a4'.repeat(32) });
    expect(claims.evidence.map((e) => [e.kind, e.role])).toEqual([['hcl-report', 'root'], ['tpm-quote', 'bound'], ['ak-certificate', 'corroborating']]);
    expect(claims.checks.some((c) => c.result === 'skipped-by-policy')).toBe(false);
    expect(new Set(claims.checks.filter((c) => c.result === 'pass').map((c) => c.id.split('-')[0]))).toEqual(new Set(['AZURE', 'HCL', 'SNP', 'TPM']));
  });

  test('TDX: the paravisor\'s RTMRs are no measurements', async () => {
    const claims = await verify(tdx);
    expect(claims).toMatchObject({ hardware: { vendor: 'intel', technology: 'tdx', signer: { kind: 'pck' } }, tcb: { status: 'UpToDate' }, guest: { debug: false, vmpl: null } });
    expect(claims.measurements.map((m) => m.register)).toEqual(['MRTD', ...REGISTERS]);
    expect(claims.evidence.map((e) => [e.kind, e.role])).toContainEqual(['tdx-quote', 'root']);
  });

  test('origin is proven by the certificate of the attestation key, and only by it', async () => {
    expect(await verify(good, { anchor: 'production' })).toMatchObject({ anchor: 'production', cloud: { origin: 'proven' } });
    expect(await verify(good, { anchor: 'production', parts: { ak: undefined } })).toMatchObject({ anchor: 'production', cloud: { origin: 'asserted' }, tpm: { ak: { provenance: ['hcl'] } } });
  });

  test('a development root of the vTPM makes it development, whatever the hardware is', async () => {
    const trust = trustOf(good, {}, 'production');
    const roots = trust.roots.map((r) => (r.purpose === 'azure-vtpm' ? { ...r, anchor: 'development' as const } : r));
    expect(await verify(good, { trust: { roots } })).toMatchObject({ anchor: 'development', cloud: { origin: 'asserted' } });
  });

  test('issuers of the certificate from the collateral', async () => {
    const ca = parseCertificate(good.pki.ca.certificate, 'ca');
    const items = [...good.collateral, ...[good.pki.ca, good.pki.root].map((c) => ({ kind: 'azure-vtpm-ca' as const, key: parseCertificate(c.certificate, 'c').subjectKeyId ?? '', bytes: c.certificate, source: 'offline' as const, fetchedAt: NOW }))];
    expect(ca.subjectKeyId).not.toBeNull();
    await expect(verify(good, { parts: { ak: [good.pki.ak.certificate] }, trust: { collateral: collateralOf(items) } })).resolves.toBeDefined();
    await refused(verify(good, { parts: { ak: [good.pki.ak.certificate] } }), 'CHAIN_ROOT_UNPINNED');
  });

  test('user-data in the other case (D39)', async () => {
    await expect(verify(await azureWorld({ runtime: { 'user-data': 'ab'.repeat(64) } }))).resolves.toBeDefined();
  });

  test('keys in another order, and others beside them (D38): names count, not places', async () => {
    const { keys } = JSON.parse(new TextDecoder().decode(good.parts.hcl.subarray(1236)).replace(/\0+$/, '')) as { keys: Record<string, unknown>[] };
    await expect(verify(await azureWorld({ runtime: { keys: keys.toReversed() } }))).resolves.toBeDefined();
    await expect(verify(await azureWorld({ runtime: { keys: [{ kid: 'Other', kty: 'EC' }, ...keys] } }))).resolves.toBeDefined();
  });

  test('consoles are said in the claims', async () => {
    const configuration = { 'secure-boot': false, 'console-enabled': false, 'interactive-console-enabled': true };
    expect(await verify(await azureWorld({ runtime: { 'vm-configuration': configuration } }))).toMatchObject({ guest: { consoleEnabled: true, secureBoot: false }, vmConfiguration: { interactiveConsoleEnabled: true, vmUniqueId: null }, cloud: { provider: 'azure' } });
  });
});

describe('PCR selection', () => {
  test('D34: other PCRs, labelled as those that are required', async () => {
    const w = await azureWorld({ select: [14, 15, 16, 17, 18, 19, 23] });
    // The values of what was quoted, under the names of what is required
    const relabelled = new Map([4, 7, 8, 9, 11, 12, 13].map((name, i) => [name, w.parts.pcrs.get([14, 15, 16, 17, 18, 19, 23][i] as number) as (typeof w.parts.hcl)]));
    await refused(verify(w, { parts: { pcrs: relabelled } }), 'PCR_SELECTION', 'UNQUOTED_PCR', 'PCR_DIGEST');
    await refused(verify(w), 'PCR_SELECTION', 'UNQUOTED_PCR');
  });

  test('D35: PCR8 is sent but not quoted', async () => {
    await refused(verify(await azureWorld({ select: [4, 7, 9, 11, 12, 13] })), 'UNQUOTED_PCR');
  });

  test('one more than required', async () => {
    await refused(verify(await azureWorld({ select: [0, 4, 7, 8, 9, 11, 12, 13] })), 'PCR_SELECTION');
  });

  test('values that were not quoted become no claims', async () => {
    const claims = await verify(good, { parts: { pcrs: new Map([...good.parts.pcrs, [0, filled(32, 0xee)], [23, filled(32, 0xee)]]) } });
    expect(JSON.stringify(claims)).not.toContain('ee'.repeat(32));
  });

  test('a policy without vTPM registers is none', async () => {
    const none = await azureWorld({ select: [] });
    await refused(verify(good, { expect: { registers: ['LAUNCH'] } }), 'POLICY_EMPTY', 'UNQUOTED_PCR', 'PCR_SELECTION');
    await refused(verify(none, { expect: { registers: undefined } }), 'POLICY_EMPTY', 'PCR_SELECTION', 'UNQUOTED_PCR');
  });
});

describe('binding', () => {
  test('every field of the transcript is bound', async () => {
    const others: Partial<typeof BINDING>[] = [
      { role: 'broker' }, { cell: 'cell-b' }, { challengeId: filled(16, 9) }, { nonce: filled(32, 9) }, { audience: 'broker-2' }, { receivingKey: filled(1216, 9) }, { signingKey: filled(32, 9) }, { tlsSpkiSha256: filled(32, 9) },
      { policyDigest: filled(32, 9) }, { configDigest: filled(32, 9) }, { payloadDigest: filled(32, 9) },
    ];
    for (const other of others) {
      const { reasons } = await refused(verify(good, { expect: { binding: { ...BINDING, ...other } } }), 'BINDING_MISMATCH');
      expect(reasons.map((r) => r.path)).toEqual(['evidence.message.extraData']);
    }
  });

  test('D32 exactly: neither cut nor padded', async () => {
    const exact = await d32(BINDING);
    for (const extraData of [exact.slice(0, 31), concat(exact, bytes([0])), bytes([]), concat(exact, exact)]) await refused(verify(await azureWorld({ extraData })), 'BINDING_MISMATCH');
  });

  test('platforms', async () => {
    const document = encodeAzureEvidence(good.parts);
    await refused(azureCvm.verify({ platform: 'aws-nitro', document }, EXPECT, trustOf(good)), 'BINDING_PLATFORM');
    await refused(verify(good, { expect: { platform: 'aws-nitro' } }), 'BINDING_PLATFORM');
  });

  test('D41: the same VM after a restart, where the boot is pinned', async () => {
    const boot = { resetCount: 3, restartCount: 0 };
    await expect(verify(good, { expect: { boot } })).resolves.toBeDefined();
    await refused(verify(await azureWorld({ quote: { change: { resetCount: 4 } } }), { expect: { boot } }), 'REBOOTED');
    await refused(verify(await azureWorld({ quote: { change: { restartCount: 1 } } }), { expect: { boot } }), 'REBOOTED');
  });
});

describe('attestation key', () => {
  test('D37: a quote by another key, which is not in the runtime data', async () => {
    const other = await KEYS.get('RSA-2048', 'azure-other');
    await refused(verify(await azureWorld({ quote: { key: other } })), 'SIG_INVALID');
    // With a certificate of its own, by Azure
    const pki = await makeAzurePki(KEYS, NOW, { ak: { key: other } });
    const w = await azureWorld({ quote: { key: other } });
    await refused(verify(w, { parts: { ak: [pki.ak, pki.ca, pki.root].map((c) => c.certificate) }, trust: { roots: [...w.roots, await azureDevelopmentRoot(pki)] } }), 'SIG_INVALID', 'AK_UNBOUND');
  });

  test('D41: a report of one VM with quote and certificate of another', async () => {
    const other = await azureWorld({ certificates: { ak: { key: await KEYS.get('RSA-2048', 'azure-other') } } });
    const { message, signature, ak, pcrs } = other.parts;
    const roots = [...good.roots, ...other.roots];
    await refused(verify(good, { parts: { message, signature, ak, pcrs }, trust: { roots } }), 'SIG_INVALID', 'AK_UNBOUND');
    // The certificate alone is another's
    await refused(verify(good, { parts: { ak }, trust: { roots } }), 'AK_UNBOUND');
  });

  test('D40: certificates: one thing wrong each', async () => {
    const eku = (...purposes: string[]) => [extendedKeyUsage(purposes)];
    const cases: [Parameters<typeof azureWorld>[0], Parameters<typeof refused>[1]][] = [
      [{ certificates: { ak: { notAfter: NOW - 1 } } }, 'CHAIN_EXPIRED'],
      [{ certificates: { ca: { notAfter: NOW - 1 } } }, 'CHAIN_EXPIRED'],
      [{ certificates: { ak: { notBefore: NOW + 3600 } } }, 'CHAIN_NOT_YET_VALID'],
      [{ certificates: { ak: { extensions: eku('1.3.6.1.4.1.311.10.3.12') } } }, 'CHAIN_KEY_USAGE'],
      [{ certificates: { ak: { extensions: [] } } }, 'CHAIN_KEY_USAGE'],
      [{ certificates: { ca: { extensions: eku('2.23.133.8.1') } } }, 'CHAIN_KEY_USAGE'],
      [{ certificates: { ak: { keyUsage: ['keyEncipherment'] } } }, 'CHAIN_KEY_USAGE'],
      [{ certificates: { ak: { subject: dn([['CN', 'vm.TrustedLaunch.Azure.windows.net']]) } } }, 'CHAIN_NAME'],
      [{ certificates: { ak: { subject: dn([['CN', 'a.ConfidentialVM.Azure.windows.net.example.org']]) } } }, 'CHAIN_NAME'],
      [{ certificates: { ca: { pathLen: null, keyUsage: ['keyCertSign', 'cRLSign'] } } }, 'CHAIN_CA'],
      [{ certificates: { ca: { keyUsage: ['digitalSignature'] } } }, 'CHAIN_KEY_USAGE'],
      [{ certificates: { ak: { signWith: await KEYS.get('RSA-2048', 'azure-other') } } }, 'CHAIN_SIGNATURE'],
    ];
    for (const [options, code] of cases) await refused(verify(await azureWorld(options)), code);
    expect(OID.tpmAttestationKey).toBe('2.23.133.8.3');
  });

  test('a chain of somebody else, or a root for another purpose', async () => {
    const roots = good.roots.filter((r) => r.purpose !== 'azure-vtpm');
    await refused(verify(good, { trust: { roots } }), 'CHAIN_ROOT_UNPINNED');
    await refused(verify(good, { trust: { roots: good.roots.map((r) => (r.purpose === 'azure-vtpm' ? { ...r, purpose: 'google-ek-ak' as const } : r)) } }), 'CHAIN_ROOT_UNPINNED');
    await refused(verify(good, { trust: { roots: good.roots.map((r) => (r.purpose === 'azure-vtpm' ? { ...r, platform: 'aws-nitro' as const } : r)) } }), 'CHAIN_ROOT_UNPINNED');
  });

  test('denied, and with the list of its CA revoked or missing', async () => {
    const leaf = parseCertificate(good.pki.ak.certificate, 'ak');
    await refused(verify(good, { trust: { revoked: [{ issuer: leaf.issuerText, serial: leaf.serial }] } }), 'REVOKED');
    const others = good.collateral.filter((c) => c.kind !== 'azure-vtpm-crl');
    await refused(verify(good, { trust: { collateral: collateralOf(others) } }), 'CRL_ABSENT');
    expect((await verify(good, { trust: { collateral: collateralOf(others), revocation: 'ifAvailable' } })).checks).toContainEqual(expect.objectContaining({ result: 'skipped-by-policy' }));
  });
});

describe('parts of one machine', () => {
  test('a TD quote beside an SNP report, a VCEK beside a TDREPORT', async () => {
    await refused(verify(good, { parts: { tdQuote: tdx.parts.tdQuote } }), 'HCL_REPORT_TYPE');
    await refused(verify(tdx, { parts: { vek: good.parts.vek } }), 'HCL_REPORT_TYPE');
  });

  test('a TDREPORT alone proves nothing', async () => {
    await refused(verify(tdx, { parts: { tdQuote: undefined } }), 'FMT_FIELD_MISSING');
  });

  test('a TD quote of another TD', async () => {
    const other = await azureWorld({ technology: 'tdx', tdx: { quote: { td: { reportData: filled(64, 7) } } } });
    await refused(verify(tdx, { parts: { tdQuote: other.parts.tdQuote }, trust: { roots: [...tdx.roots, ...other.roots], collateral: collateralOf([...tdx.collateral, ...other.collateral]) } }), 'HCL_BINDING');
  });

  test('a TD in debug mode, one whose exceptions the host provokes, one with a service TD or reserved features', async () => {
    const td = (change: object) => azureWorld({ technology: 'tdx', tdx: { quote: { td: change } } });
    await refused(verify(await td({ tdAttributes: fromHex('0100001000000000') })), 'DEBUG_TD');
    await refused(verify(await td({ tdAttributes: fromHex('0000000000000000') })), 'TD_ATTR');
    await refused(verify(await td({ tdAttributes: fromHex('0000003000000000') })), 'TD_ATTR');
    await refused(verify(await td({ xfam: fromHex('e702060000000001') })), 'TD_ATTR');
  });

  test('a TD without Intel\'s word about its platform', async () => {
    const { 'intel-tcb-info': _, ...others } = Object.fromEntries(tdx.collateral.map((c) => [c.kind, c]));
    await refused(verify(tdx, { trust: { collateral: collateralOf(Object.values(others)) } }), 'COLLATERAL_ABSENT');
  });

  test('hardware that is not genuine', async () => {
    const roots = (purpose: string, w: AzureWorld) => w.roots.filter((r) => !r.purpose.startsWith(purpose));
    await refused(verify(good, { trust: { roots: roots('amd', good) } }), 'CHAIN_ROOT_UNPINNED');
    await refused(verify(tdx, { trust: { roots: roots('intel', tdx) } }), 'CHAIN_ROOT_UNPINNED');
    const broken = good.parts.hcl.slice();
    broken[32 + 0x90] = (broken[32 + 0x90] as number) ^ 1;
    await refused(verify(good, { parts: { hcl: broken } }), 'SIG_INVALID');
  });

  test('a report of version 2, which states no generation', async () => {
    await refused(verify(await azureWorld({ report: { version: 2 } })), 'UNKNOWN_GENERATION');
  });
});

describe('event log', () => {
  const booted = async (events = simulatedBoot()) => {
    const log = parseEventLog(await buildEventLog(events), 'log');
    return azureWorld({ events, pcrs: simulatedPcrs(Object.fromEntries(await replayEventLog(log, 'sha256'))) });
  };

  test('says what the quoted registers say', async () => {
    const claims = await verify(await booted());
    expect(claims.boot).toEqual({ secureBoot: true, variables: [expect.objectContaining({ register: 'PCR7', name: 'SecureBoot' }), expect.objectContaining({ name: 'PK' })], commandLines: [{ register: 'PCR8', text: '/vmlinuz root=/dev/vda1 ro' }] });
    expect(claims.evidence.map((e) => e.kind)).toContain('event-log');
  });

  test('Secure Boot is on only where both say so', async () => {
    expect((await verify(await booted(simulatedBoot({ secureBoot: false })))).guest.secureBoot).toBe(false);
  });

  test('a log of another boot', async () => {
    const w = await booted();
    await refused(verify(w, { parts: { eventLog: await buildEventLog(simulatedBoot({ commandLine: '/vmlinuz rescue' })) } }), 'EVENTLOG_BINDING');
    // D43: shorter than what was measured
    await refused(verify(w, { parts: { eventLog: await buildEventLog(simulatedBoot().filter((e) => e.register !== 7)) } }), 'EVENTLOG_BINDING');
  });
});

describe('replay', () => {
  test('freshness none; everything else as ever', async () => {
    const document = encodeAzureEvidence(good.parts);
    const evidence = { platform: 'azure-cvm' as const, document };
    expect((await azureCvm.verifyReplay(evidence, EXPECT, trustOf(good))).time.freshness).toBe('none');
    await refused(azureCvm.verifyReplay(evidence, { ...EXPECT, binding: { ...BINDING, nonce: filled(32, 9) } }, trustOf(good)), 'BINDING_MISMATCH');
    await refused(azureCvm.verifyReplay(evidence, { ...EXPECT, registers: [] }, trustOf(good)), 'POLICY_EMPTY', 'UNQUOTED_PCR', 'PCR_SELECTION');
    await refused(azureCvm.verifyReplay(evidence, EXPECT, trustOf(good, { now: NOW + 365 * 86_400 })), 'CHAIN_EXPIRED', 'CRL_EXPIRED');
  });
});

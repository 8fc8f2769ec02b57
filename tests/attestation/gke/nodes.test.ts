/** Nodes of each technology under signatures that verify: claims, binding, origin; each check fails alone (D42, D62, D63). */
import { describe, expect, test } from 'vitest';
import { d32, d64 } from '../../../attestation/binding.ts';
import { type Bytes, bytes, concat, hex, sha384, text, utf8 } from '../../../attestation/bytes.ts';
import type { NormalizedClaims } from '../../../attestation/claims.ts';
import { GCE_FAMILY_ID } from '../../../attestation/hardware/gce-endorsement.ts';
import { type GceInstance, gceOwnerText } from '../../../attestation/hardware/tdx/gce.ts';
import { encodeGkeEvidence, parseGkeEvidence, type SevParts } from '../../../attestation/platforms/gke/container.ts';
import { endorsementFields, makeEndorsementPki, signEndorsement } from '../../../attestation/platforms/simulated/endorsement.ts';
import { buildEventLog, simulatedBoot } from '../../../attestation/platforms/simulated/event-log.ts';
import { gceBoot } from '../../../attestation/platforms/simulated/gce.ts';
import { fromHex } from '../../../attestation/bytes.ts';
import { PCK_FIELDS } from '../../../attestation/platforms/simulated/tdx-pki.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { filled, refused } from '../support.ts';
import { BINDING, gceWorld, type Given, item, KEYS, type Node, NOW, replay, sevNode, snpNode, tdxNode, verify, VTPM } from './support.ts';

const code = async (node: Node, given: Given, ...codes: RefusalCode[]) => refused(verify(node, given), ...codes);
const DAY = 86_400;
const ids = (claims: NormalizedClaims): string[] => claims.checks.map((c) => c.id);

/** Everything beside the quote that makes a TD one of Google's. */
const INSTANCE: GceInstance = { instanceId: 7_899_197_072_425_216_309n, numericalProjectId: 232_923_608_972n, zone: 'europe-west4-a' };
const ownerOf = (textOf: string): Promise<Bytes> => sha384(utf8(textOf));
const owned = async (owner?: Bytes, instance: GceInstance | null = INSTANCE): Promise<Node> => tdxNode({ quote: { td: { mrOwner: owner ?? await ownerOf(gceOwnerText(INSTANCE)) } } }, instance === null ? {} : { instance });
const ppid = hex(PCK_FIELDS.ppid);
const host = (document: string, fetchedAt = NOW - DAY): Given => ({ with: [item('gce-host', ppid, utf8(document), fetchedAt)] });
const HOST = JSON.stringify({ zone: 'europe-west4-a', timestamp: '2026-05-01T00:00:00Z' });

/** An endorsement of the firmware with this measurement. */
async function endorsed(kind: 'sevsnp' | 'tdx', measurement: Bytes, change: { anchor?: 'development' | 'production'; svn?: number; timestamp?: number } = {}): Promise<(node: Node) => [Node, Given]> {
  const pki = await makeEndorsementPki(NOW, {}, KEYS);
  const familyId = fromHex(GCE_FAMILY_ID);
  const fields = endorsementFields(pki, NOW, { snp: { svn: 3, rows: [[2, measurement]], familyId, imageId: filled(16, 7), policy: 0x70000n }, tdx: { svn: 3, rows: [{ ramGib: 16, earlyAccept: false, mrtd: measurement }] } });
  const document = await signEndorsement(fields, pki.signer.key);
  return (node) => [{ ...node, roots: [...node.roots, { ...pki.trustRoot, anchor: change.anchor ?? 'production' }] }, { with: [item('gce-endorsement', `${kind}/${hex(measurement)}`, document)], trust: { gce: { endorsement: { svn: change.svn ?? 3, timestamp: change.timestamp ?? NOW - 9 * DAY } } } }];
}

describe('SEV-SNP', () => {
  test('claims', async () => {
    const claims = await verify(await snpNode());
    expect(claims).toMatchObject({
      platform: 'gke', anchor: 'production', hardware: { vendor: 'amd', technology: 'sev-snp', generation: 'Genoa', signer: { kind: 'vcek' }, revocation: { status: 'good' } }, workload: { imageDigestSource: 'none', binding: { scope: 'node' } },
      key: { boundIn: 'report_data', transcriptSha256: hex(await d32(BINDING)) }, cloud: { provider: 'gcp', origin: 'asserted' }, time: { freshness: 'challenge', verifiedAt: NOW }, guest: { debug: false, vmpl: 0 },
    });
    expect(claims.measurements.map((m) => m.register)).toEqual(['LAUNCH']);
    expect(claims.evidence.map((e) => e.kind)).toEqual(['snp-report']);
    expect(ids(claims)).toEqual(expect.arrayContaining(['GKE-PLATFORM', 'GKE-CONTAINER', 'GKE-REQUIRED', 'SNP-SIGNATURE', 'SNP-REPORT-DATA']));
    expect(await replay(await snpNode())).toMatchObject({ time: { freshness: 'none' } });
  });

  test('report_data is D64, all of it (D29)', async () => {
    const whole = await d64(BINDING);
    await code(await snpNode({ reportData: concat(whole.subarray(0, 32), new Uint8Array(32)) }), {}, 'BINDING_LENGTH');
    await code(await snpNode({ reportData: concat(await d32(BINDING), new Uint8Array(32)) }), {}, 'BINDING_MISMATCH');
    for (const binding of [{ ...BINDING, role: 'broker' as const }, { ...BINDING, nonce: filled(32, 9) }, { ...BINDING, signingKey: filled(32, 9) }, { ...BINDING, payloadDigest: filled(32, 9) }]) await code(await snpNode(), { expect: { binding } }, 'BINDING_MISMATCH');
    await refused(replay(await snpNode({ reportData: filled(64, 1) })), 'BINDING_MISMATCH');
  });

  test('Google\'s endorsement of the firmware proves the origin', async () => {
    const measurement = filled(48, 0x77);
    const node = await snpNode({ measurement, familyId: fromHex(GCE_FAMILY_ID) });
    const [trusted, given] = (await endorsed('sevsnp', measurement))(node);
    const claims = await verify(trusted, given);
    expect(claims).toMatchObject({ anchor: 'production', cloud: { origin: 'proven' } });
    expect(claims.collateral?.map((c) => c.kind)).toContain('gce-endorsement');
    await code(trusted, { ...given, with: [] }, 'COLLATERAL_ABSENT');
    await code(node, given, 'CHAIN_ROOT_UNPINNED', 'ENDORSEMENT_CHAIN');
    await code(...(await endorsed('sevsnp', measurement, { svn: 4 }))(node), 'ENDORSEMENT_SVN');
    await code(...(await endorsed('sevsnp', measurement, { timestamp: NOW }))(node), 'ENDORSEMENT_TIMESTAMP');
    // Of a development root: neither production nor proven
    const development = (await endorsed('sevsnp', measurement, { anchor: 'development' }))(node);
    expect(await verify(...development)).toMatchObject({ anchor: 'development', cloud: { origin: 'asserted' } });
    // Without a floor none is looked at
    expect(await verify(trusted, { with: given.with ?? [] })).toMatchObject({ cloud: { origin: 'asserted' } });
  });

  test('no report of AMD\'s names a project', async () => {
    await code(await snpNode(), { trust: { gce: { projects: ['232923608972'] } } }, 'CLOUD_ORIGIN');
  });

  test('a broken signature, a missing list', async () => {
    const node = await snpNode();
    const report = bytes(node.parts.report);
    report[0x90] = (report[0x90] as number) ^ 1;
    await code({ ...node, parts: { ...node.parts, report } }, {}, 'SIG_INVALID');
    await code(node, { without: ['amd-crl'] }, 'CRL_ABSENT');
  });
});

describe('TDX', () => {
  test('claims', async () => {
    const claims = await verify(await tdxNode());
    expect(claims).toMatchObject({
      anchor: 'production', hardware: { vendor: 'intel', technology: 'tdx', signer: { kind: 'pck' } }, tcb: { status: 'UpToDate' }, workload: { binding: { scope: 'node' } }, key: { boundIn: 'report_data' }, cloud: { provider: 'gcp', origin: 'asserted' },
    });
    // What anything in the TD can extend is not said without its log
    expect(claims.measurements.map((m) => m.register)).toEqual(['MRTD', 'RTMR0', 'RTMR1', 'RTMR2']);
    expect(claims.cloud.instanceId).toBeUndefined();
    expect(JSON.stringify(claims)).not.toContain(ppid);
  });

  test('report_data is D64, all of it', async () => {
    const whole = await d64(BINDING);
    for (const reportData of [concat(whole.subarray(0, 32), new Uint8Array(32)), concat(await d32(BINDING), new Uint8Array(32))]) await code(await tdxNode({ quote: { td: { reportData } } }), {}, 'BINDING_MISMATCH');
  });

  test('MR_OWNER names the instance (D62)', async () => {
    expect((await verify(await owned())).cloud).toEqual({ provider: 'gcp', zone: 'europe-west4-a', region: 'europe-west4', accountOrProject: '232923608972', instanceId: '7899197072425216309', origin: 'asserted' });
    for (const change of [{ instanceId: INSTANCE.instanceId + 1n }, { numericalProjectId: 1n }, { zone: 'europe-west4-b' }]) await code(await owned(undefined, { ...INSTANCE, ...change }), {}, 'PZID_MISMATCH');
    // With spaces, in another order, through a double, in quotes
    const spaced = '{"instanceId": 7899197072425216309, "numericalProjectId": 232923608972, "zone": "europe-west4-a"}';
    const ordered = '{"zone":"europe-west4-a","instanceId":7899197072425216309,"numericalProjectId":232923608972}';
    const rounded = gceOwnerText(INSTANCE).replace('7899197072425216309', String(Number(INSTANCE.instanceId)));
    const quoted = gceOwnerText(INSTANCE).replace('7899197072425216309', '"7899197072425216309"');
    for (const other of [spaced, ordered, rounded, quoted]) await code(await owned(await ownerOf(other)), {}, 'PZID_MISMATCH');
    await code(await owned(undefined, { ...INSTANCE, instanceId: BigInt(Number(INSTANCE.instanceId)) }), {}, 'PZID_MISMATCH');
  });

  test('where Google does not set MR_OWNER yet (D62)', async () => {
    const zero = new Uint8Array(48);
    const claims = await verify(await owned(zero));
    expect(claims.cloud).toEqual({ provider: 'gcp', origin: 'asserted' });
    await code(await owned(zero), { trust: { gce: { owner: 'requireMatch' } } }, 'PZID_ABSENT');
    await code(await owned(undefined, null), { trust: { gce: { owner: 'requireMatch' } } }, 'PZID_ABSENT');
    // Ignored, it says nothing either
    const ignored = await verify(await owned(filled(48, 1)), { trust: { gce: { owner: 'ignore' } } });
    expect(ignored.cloud.instanceId).toBeUndefined();
    expect(ignored.checks.find((c) => c.id === 'TDX-GCE-OWNER')?.result).toBe('skipped-by-policy');
  });

  test('project and instance, as far as MR_OWNER proves them', async () => {
    const allowed = { gce: { projects: ['232923608972'], deniedInstances: ['1'] } };
    expect(await verify(await owned(), { trust: allowed })).toBeDefined();
    await code(await owned(), { trust: { gce: { projects: ['1'] } } }, 'CLOUD_ORIGIN');
    await code(await owned(new Uint8Array(48)), { trust: allowed }, 'CLOUD_ORIGIN');
    await code(await tdxNode(), { trust: allowed }, 'CLOUD_ORIGIN');
    await code(await owned(), { trust: { gce: { deniedInstances: ['7899197072425216309'] } } }, 'CLOUD_ORIGIN');
  });

  test('Google\'s host registry proves the origin (D63)', async () => {
    const node = await tdxNode();
    expect(await verify(node, host(HOST))).toMatchObject({ cloud: { origin: 'proven' } });
    const required = { gce: { host: 'require' as const } };
    expect(await verify(node, { ...host(HOST), trust: required })).toMatchObject({ cloud: { origin: 'proven' } });
    // Neither an unknown machine nor an outage passes where it is required
    await code(node, { trust: required }, 'COLLATERAL_ABSENT');
    await code(node, { trust: required, with: [item('gce-host', '00'.repeat(16), utf8(HOST))] }, 'COLLATERAL_ABSENT');
    // What is there has to hold
    for (const document of ['<!doctype html><html></html>', '{"zone":"a"}', '{"zone":"a","timestamp":""}', `{"zone":"a","timestamp":"1","more":"${'x'.repeat(17_000)}"}`, '{"zone":"a","zone":"b","timestamp":"1"}']) await code(node, host(document), 'CLOUD_ORIGIN');
    await code(node, host(HOST, NOW - 8 * DAY), 'COLLATERAL_EXPIRED');
    // The registry is asked for the PPID of a certificate that verified, never of another
    const foreign = await KEYS.get('P-256', 'tdx-foreign');
    const refusal = await code(await tdxNode({ change: { pck: { signWith: foreign } } }), { ...host(HOST), trust: required }, 'CHAIN_SIGNATURE');
    expect(JSON.stringify(refusal.reasons)).not.toContain('gce-host');
  });

  test('Google\'s endorsement of the firmware', async () => {
    const mrTd = filled(48, 0x3d);
    const [trusted, given] = (await endorsed('tdx', mrTd))(await tdxNode());
    expect(await verify(trusted, given)).toMatchObject({ cloud: { origin: 'proven' } });
    await code(...(await endorsed('tdx', filled(48, 0x3e)))(await tdxNode()), 'COLLATERAL_ABSENT');
  });

  test('a CCEL that does not lead to the registers', async () => {
    const ccel = await buildEventLog([{ register: 4, type: 0x6, data: utf8('an image') }], { banks: ['sha384'], headerRegister: 1 });
    await code(await tdxNode({}, { ccel }), {}, 'EVENTLOG_BINDING');
    const rtmr3 = await sha384(concat(new Uint8Array(48), await sha384(utf8('an image'))));
    const claims = await verify(await tdxNode({ quote: { td: { rtmrs: [...Array.from({ length: 3 }, () => new Uint8Array(48)), rtmr3] } } }, { ccel }));
    expect(claims.measurements.find((m) => m.register === 'RTMR3')?.value).toBe(hex(rtmr3));
    expect(claims.evidence.map((e) => e.kind)).toEqual(['tdx-quote', 'ccel']);
  });

  test('collateral of Intel\'s', async () => {
    await code(await tdxNode(), { without: ['intel-tcb-info'] }, 'COLLATERAL_ABSENT');
  });
});

describe('SEV', () => {
  test('claims', async () => {
    const claims = await verify(await sevNode());
    expect(claims).toMatchObject({
      anchor: 'production', hardware: { vendor: 'amd', technology: 'sev', generation: null, signer: { kind: 'ak-cert' }, revocation: { status: 'good', crlNumber: '1' } }, tcb: { status: 'NotReported' }, guest: { secureBoot: true },
      workload: { binding: { scope: 'node' } }, key: { boundIn: 'extraData' }, tpm: { bank: 'sha256', resetCount: 3, ak: { alg: 'ES256', provenance: ['certificate'], certificate: { commonName: '7899197072425216309' } } },
      cloud: { provider: 'gcp', zone: 'europe-west4-a', region: 'europe-west4', accountOrProject: '232923608972', instanceId: '7899197072425216309', origin: 'proven' }, boot: { secureBoot: true, commandLines: [{ register: 'PCR8' }] },
    });
    expect(claims.measurements.map((m) => m.register)).toEqual(['vTPM:PCR0', ...VTPM]);
    expect(claims.evidence.map((e) => e.kind)).toEqual(['ak-certificate', 'tpm-quote', 'event-log']);
    expect(await verify(await sevNode({ technology: 'sev-es' }))).toMatchObject({ hardware: { technology: 'sev' } });
    expect(await verify(await sevNode({ anchor: 'development' }))).toMatchObject({ anchor: 'development', cloud: { origin: 'asserted' } });
  });

  test('extraData is D32, exactly', async () => {
    const digest = await d32(BINDING);
    for (const extraData of [concat(digest, bytes([0])), digest.subarray(0, 31), (await d64(BINDING)).slice(0, 32), new Uint8Array()]) await code(await sevNode({ extraData }), {}, 'BINDING_MISMATCH');
    await code(await sevNode(), { expect: { binding: { ...BINDING, challengeId: filled(16, 9) } } }, 'BINDING_MISMATCH');
  });

  test('a vTPM without memory encryption, or of hardware that has its own report', async () => {
    for (const technology of ['none', 'tdx', 'sev-snp'] as const) await code(await sevNode({ technology }), {}, 'HW_MODEL');
    await code(await sevNode({ events: simulatedBoot() }), {}, 'HW_MODEL');
    // Said by somebody who runs after the firmware, said twice, said in another form
    const [info, ...rest] = gceBoot('sev');
    const [, version] = rest;
    const late = [...simulatedBoot(), info as NonNullable<typeof info>];
    for (const events of [late, [info as NonNullable<typeof info>, ...gceBoot('sev')], [{ ...(info as NonNullable<typeof info>), data: concat((info as NonNullable<typeof info>).data, bytes([0])) }, version as NonNullable<typeof version>, ...simulatedBoot()]]) await code(await sevNode({ events }), {}, 'HW_MODEL');
    // The event is in the log, and something else was measured
    await code(await sevNode({ events: [{ ...(info as NonNullable<typeof info>), measured: utf8('another') }, ...simulatedBoot()] }), {}, 'HW_MODEL');
  });

  test('exactly the policy\'s PCRs, and PCR0', async () => {
    await code(await sevNode({ select: [4, 7, 8, 9, 11, 12, 13] }), {}, 'UNQUOTED_PCR');
    await code(await sevNode({ select: [0, 4, 7, 8, 9, 11, 12] }), {}, 'UNQUOTED_PCR');
    await code(await sevNode({ select: [0, 4, 7, 8, 9, 11, 12, 13, 14] }), {}, 'PCR_SELECTION');
  });

  test('another log than the one of this boot', async () => {
    const world = await gceWorld();
    const eventLog = await buildEventLog(gceBoot('sev', simulatedBoot({ commandLine: 'init=/bin/sh' })));
    const node: Node<SevParts> = { parts: { ...world.parts, eventLog }, roots: [world.root], collateral: world.collateral };
    await code(node, {}, 'EVENTLOG_BINDING');
  });

  test('a key that Google does not vouch for (D37)', async () => {
    const other = await KEYS.get('P-256', 'gce-other-ak');
    await code(await sevNode({ quote: { signWith: other } }), {}, 'SIG_INVALID');
    const [ours, theirs] = [await gceWorld(), await gceWorld({ change: { ak: { key: other } } })];
    await code({ parts: { ...ours.parts, ak: theirs.parts.ak }, roots: [ours.root, theirs.root], collateral: theirs.collateral }, {}, 'SIG_INVALID');
    await code({ parts: ours.parts, roots: [], collateral: ours.collateral }, {}, 'CHAIN_ROOT_UNPINNED');
  });

  test('instance and project (D42)', async () => {
    await code(await sevNode(), { trust: { gce: { projects: ['1'] } } }, 'GCE_AK');
    await code(await sevNode(), { trust: { gce: { deniedInstances: ['7899197072425216309'] } } }, 'GCE_AK');
    await code(await sevNode({ instance: { security: null } }), {}, 'GCE_AK');
  });

  test('the boot that was appraised', async () => {
    expect(await verify(await sevNode(), { expect: { boot: { resetCount: 3, restartCount: 0 } } })).toBeDefined();
    for (const boot of [{ resetCount: 4, restartCount: 0 }, { resetCount: 3, restartCount: 1 }]) await code(await sevNode(), { expect: { boot } }, 'REBOOTED');
    await code(await snpNode(), { expect: { boot: { resetCount: 3, restartCount: 0 } } }, 'REBOOTED');
  });
});

describe('what was expected', () => {
  test('the platform', async () => {
    const node = await snpNode();
    await code(node, { evidence: { platform: 'aws-nitro' } }, 'BINDING_PLATFORM');
    await code(node, { expect: { platform: 'azure-cvm' } }, 'BINDING_PLATFORM');
    await code(node, { evidence: { document: 'text' as unknown as Bytes } }, 'FMT_FIELD');
  });

  test('the policy says which technologies are acceptable, not the evidence', async () => {
    const cases: [Node, string[]][] = [[await snpNode(), ['MRTD', 'RTMR1', 'RTMR2']], [await tdxNode(), ['LAUNCH']], [await sevNode(), ['LAUNCH', 'MRTD']]];
    for (const [node, registers] of cases) {
      await refused(verify(node, { expect: { registers } }), 'POLICY_EMPTY', ...(node.parts.technology === 'sev' ? ['PCR_SELECTION' as const] : []));
      await refused(verify(node, { expect: { registers: [] } }), 'POLICY_EMPTY', ...(node.parts.technology === 'sev' ? ['PCR_SELECTION' as const] : []));
    }
  });
});

describe('the container', () => {
  const node = snpNode();
  const document = async (change: (json: Record<string, unknown>) => unknown): Promise<Bytes> => utf8(JSON.stringify(change(JSON.parse(text(encodeGkeEvidence((await node).parts))) as Record<string, unknown>)));
  test('there and back', async () => {
    for (const { parts } of [await node, await owned(), await sevNode()]) expect(parseGkeEvidence(encodeGkeEvidence(parts), 'e')).toEqual(parts);
    expect(text(encodeGkeEvidence((await owned()).parts))).toContain('"instanceId":7899197072425216309,');
  });

  test.each<[string, RefusalCode, (json: Record<string, unknown>) => unknown]>([
    ['two technologies', 'FMT_FIELD', (j) => ({ ...j, tdQuote: 'AAAA' })],
    ['none', 'FMT_FIELD', () => ({})],
    ['a member of another', 'FMT_FIELD_UNKNOWN', (j) => ({ ...j, ccel: 'AAAA' })],
    ['a generation beside the report', 'FMT_FIELD_UNKNOWN', (j) => ({ ...j, generation: 'Genoa' })],
    ['no base64url', 'FMT_FIELD', (j) => ({ ...j, vek: 'A+==' })],
    ['an empty list', 'FMT_FIELD', (j) => ({ ...j, issuers: [] })],
    ['seven certificates', 'FMT_FIELD', (j) => ({ ...j, issuers: Array.from({ length: 7 }, () => 'AAAA') })],
    ['a list', 'FMT_JSON', (j) => [j]],
    ['a number', 'FMT_FIELD', (j) => ({ ...j, report: 1 })],
    ['half of a quote', 'FMT_FIELD_MISSING', () => ({ message: 'AAAA', signature: 'AAAA' })],
    ['a register that no TPM has', 'FMT_PCR', () => ({ message: 'AAAA', signature: 'AAAA', pcrs: { 24: 'AAAA' }, ak: ['AAAA'], eventLog: 'AAAA' })],
    ['registers in a list', 'FMT_PCR', () => ({ message: 'AAAA', signature: 'AAAA', pcrs: ['AAAA'], ak: ['AAAA'], eventLog: 'AAAA' })],
  ])('%s', async (_, expected, change) => {
    await code(await node, { document: await document(change) }, expected);
  });

  test.each<[string, RefusalCode]>([
    ['{"instanceId":"1","numericalProjectId":1,"zone":"a"}', 'FMT_FIELD'], ['{"instanceId":1.0,"numericalProjectId":1,"zone":"a"}', 'FMT_FIELD'], ['{"instanceId":7.899e18,"numericalProjectId":1,"zone":"a"}', 'FMT_FIELD'],
    ['{"instanceId":-1,"numericalProjectId":1,"zone":"a"}', 'FMT_FIELD'], ['{"instanceId":18446744073709551616,"numericalProjectId":1,"zone":"a"}', 'FMT_FIELD'], ['{"instanceId":1,"numericalProjectId":1,"zone":"A\\""}', 'FMT_FIELD'],
    ['{"instanceId":1,"instanceId":2,"numericalProjectId":1,"zone":"a"}', 'FMT_JSON'], ['{"instanceId":1,"numericalProjectId":1}', 'FMT_FIELD'], ['{"instanceId":1,"numericalProjectId":1,"zone":"a","x":1}', 'FMT_FIELD'], ['"a"', 'FMT_JSON'],
  ])('instance %s', async (source, expected) => {
    await refused(() => parseGkeEvidence(utf8(`{"tdQuote":"AAAA","instance":${source}}`), 'e'), expected);
  });

  test('a byte more than the limit, and every changed byte of a node\'s evidence', async () => {
    await code(await node, { document: new Uint8Array(262_145).fill(0x20) }, 'FMT_JSON');
    const whole = encodeGkeEvidence((await sevNode()).parts);
    const sev = await sevNode();
    for (let i = 0; i < 60; i++) {
      const at = Math.floor(((i + 0.5) / 60) * whole.length);
      const changed = bytes(whole);
      changed[at] = (changed[at] as number) === 0x41 ? 0x42 : 0x41;
      const result = await verify(sev, { document: changed }).then((claims) => claims, (error: unknown) => error);
      // Data of events whose digest is of something else is not measured, and no fact is made of it
      if (!(result instanceof Error)) expect((result as NormalizedClaims).boot).toEqual((await verify(sev)).boot);
    }
  });
});

/** GKE nodes: reports out of a TSM tree, a real vTPM (swtpm) with Google's indexes, the metadata server on the loopback interface; everything through the adapter. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { d32, d64 } from '../../attestation/binding.ts';
import { type Bytes, concat, fromHex, hex } from '../../attestation/bytes.ts';
import { attestationKeyTemplate, HIERARCHY } from '../../attestation/devices/tpm2.ts';
import type { TsmFiles } from '../../attestation/devices/tsm-configfs.ts';
import { parseTpmtPublic } from '../../attestation/formats/tpmt-public.ts';
import { GCE_AK, gkeAttester, type GkeAttesterOptions } from '../../attestation/platforms/gke/attest.ts';
import { parseGkeEvidence } from '../../attestation/platforms/gke/container.ts';
import { gkeSelection } from '../../attestation/platforms/gke/evidence.ts';
import { u32le } from '../../attestation/platforms/simulated/binary.ts';
import { buildEventLog } from '../../attestation/platforms/simulated/event-log.ts';
import { gceBoot, makeGceWorld } from '../../attestation/platforms/simulated/gce.ts';
import { BINDING, KEYS, type Node, NOW, REGISTERS, snpNode, tdxNode, verify } from '../attestation/gke/support.ts';
import { filled, refused } from '../attestation/support.ts';
import { serve } from './http.ts';
import { extend, measureBoot, SKIP_SWTPM, startSwtpm, storeIndex, type Swtpm } from './swtpm.ts';

/** A kernel that makes this report of the request it knows. */
function tree(provider: string, request: Bytes, report: Bytes, auxiliary: Bytes | null): TsmFiles {
  let [generation, written] = [0, ''];
  const missing = Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
  return {
    mkdir: async () => {}, rmdir: async () => {},
    write: async (_, data) => { [generation, written] = [generation + 1, hex(data)]; },
    async read(path) {
      if (path.endsWith('/provider')) return new TextEncoder().encode(`${provider}\n`);
      if (path.endsWith('/generation')) return new TextEncoder().encode(`${generation}\n`);
      if (path.endsWith('/outblob') && written === hex(request)) return report;
      if (path.endsWith('/auxblob') && auxiliary !== null) return auxiliary;
      throw missing;
    },
  };
}

const attest = async (options: GkeAttesterOptions) => (await gkeAttester(options).attest({ binding: BINDING })).document;

describe('SEV-SNP', () => {
  test('report_data is D64; the host\'s certificates go along, and the evidence passes', async () => {
    const node = await snpNode();
    const { report, vek, issuers } = node.parts;
    const blobs = [vek, ...issuers ?? []] as Bytes[];
    const guids = ['63da758de6644564adc5f4b93be8accd', '4ab7b379bbac4fe4a02f05aef327c782', 'c0b406a4a803495297433fb6014cd0ae'];
    let at = 24 * 4;
    const head = blobs.map((b, i) => { at += b.length; return concat(fromHex(guids[i] as string), u32le(at - b.length), u32le(b.length)); });
    const document = await attest({ technology: 'sev-snp', tsm: { files: tree('sev_guest', await d64(BINDING), report, concat(...head, new Uint8Array(24), ...blobs)) } });
    expect(parseGkeEvidence(document, 'evidence')).toEqual(node.parts);
    expect((await verify(node, { document })).hardware).toMatchObject({ technology: 'sev-snp', signer: { kind: 'vcek' } });
    const bare = await attest({ technology: 'sev-snp', tsm: { files: tree('sev_guest', await d64(BINDING), report, null) } });
    expect(parseGkeEvidence(bare, 'evidence')).toEqual({ technology: 'sev-snp', report });
  });

  test('another technology than stated, another platform', async () => {
    const files = tree('tdx_guest', await d64(BINDING), filled(10, 1), null);
    await refused(attest({ technology: 'sev-snp', tsm: { files } }), 'ATTESTER_FAILED');
    await refused(gkeAttester({ technology: 'tdx', tsm: { files } }).attest({ binding: { ...BINDING, platform: 'aws-nitro' } }), 'BINDING_PLATFORM');
  });
});

describe('TDX', () => {
  test('the quote, and the instance as the metadata server names it', async () => {
    const node: Node = await tdxNode();
    const quote = node.parts.technology === 'tdx' ? node.parts.tdQuote : new Uint8Array();
    const service = await serve({});
    const names = { '/computeMetadata/v1/instance/id': '7899197072425216309', '/computeMetadata/v1/project/numeric-project-id': '232923608972', '/computeMetadata/v1/instance/zone': 'projects/232923608972/zones/europe-west4-a' };
    for (const [path, body] of Object.entries(names)) service.answers[path] = (asked) => (asked.headers['metadata-flavor'] === 'Google' ? { body } : { status: 403, body: '' });
    const options = { technology: 'tdx' as const, tsm: { files: tree('tdx_guest', await d64(BINDING), quote, null) }, metadata: { fetch, base: service.base, wait: async () => {} } };
    const document = await attest(options);
    expect(parseGkeEvidence(document, 'evidence')).toEqual({ technology: 'tdx', tdQuote: quote, instance: { instanceId: 7_899_197_072_425_216_309n, numericalProjectId: 232_923_608_972n, zone: 'europe-west4-a' } });
    expect((await verify(node, { document: await attest({ ...options, metadata: undefined }) })).hardware.technology).toBe('tdx');
    for (const body of ['', 'abc', '-1']) {
      service.answers['/computeMetadata/v1/instance/id'] = () => ({ body });
      await refused(attest(options), 'ATTESTER_FAILED');
    }
    service.stop();
  });
});

describe.skipIf(SKIP_SWTPM)('SEV: the vTPM', () => {
  let machine: Swtpm;
  let [node, eventLog, leaf]: [Node | undefined, Bytes, Bytes] = [undefined, new Uint8Array(), new Uint8Array()];
  const template = attestationKeyTemplate('ecc');
  const options = (): GkeAttesterOptions => ({ technology: 'sev', tpm: machine.tpm, registers: REGISTERS, eventLog: async () => eventLog });

  beforeAll(async () => {
    machine = await startSwtpm();
    const { tpm } = machine;
    const { handle, area } = await tpm.createPrimary(HIERARCHY.endorsement, template);
    await tpm.flush(handle);
    const { spki } = parseTpmtPublic(area, 'ak');
    const world = await makeGceWorld({ now: NOW, ring: KEYS, extraData: await d32(BINDING), select: gkeSelection(REGISTERS), anchor: 'production', change: { ak: { key: { type: 'P-256', spki, pkcs8: new Uint8Array() } } }, quote: { key: await KEYS.get('P-256', 'gce-ak') } });
    leaf = world.pki.ak.certificate;
    eventLog = await buildEventLog(gceBoot());
    await measureBoot(tpm, eventLog);
    node = { parts: world.parts, roots: [world.root], collateral: [...world.collateral] };
  });
  afterAll(() => machine?.stop());

  test('without Google\'s indexes it is no machine of Compute Engine', async () => { await refused(attest(options()), 'ATTESTER_FAILED'); });

  test('the key is made again from its template, PCR0 is quoted too, and the evidence passes', async () => {
    await storeIndex(machine.tpm, GCE_AK.ecc.certificate, leaf);
    await storeIndex(machine.tpm, GCE_AK.ecc.template, template);
    const parts = parseGkeEvidence(await attest(options()), 'evidence');
    if (parts.technology !== 'sev' || node === undefined || node.parts.technology !== 'sev') throw new Error('not SEV');
    expect([...parts.pcrs.keys()].sort((a, b) => a - b)).toEqual(gkeSelection(REGISTERS));
    expect(parts.ak.map(hex)).toEqual([hex(leaf)]);
    // The issuers, which the simulated leaf names no address of
    const claims = await verify({ ...node, parts: { ...parts, ak: node.parts.ak } });
    expect(claims).toMatchObject({ hardware: { technology: 'sev', signer: { kind: 'ak-cert' } }, tpm: { ak: { alg: 'ES256' } }, key: { boundIn: 'extraData' }, cloud: { instanceId: '7899197072425216309' } });
    // Every key that was made is gone: a TPM has room for three
    for (let i = 0; i < 5; i++) await attest(options());
  });

  test('no event log; a register that it does not explain', async () => {
    await refused(attest({ ...options(), eventLog: async () => null } as GkeAttesterOptions), 'ATTESTER_FAILED');
    await extend(machine.tpm, 4, filled(32, 5));
    const parts = parseGkeEvidence(await attest(options()), 'evidence');
    if (parts.technology !== 'sev' || node === undefined || node.parts.technology !== 'sev') throw new Error('not SEV');
    await refused(verify({ ...node, parts: { ...parts, ak: node.parts.ak } }), 'EVENTLOG_BINDING');
  });

  test('a template of another key is found out before anything is sent', async () => {
    const other = await startSwtpm();
    await storeIndex(other.tpm, GCE_AK.ecc.certificate, leaf);
    await storeIndex(other.tpm, GCE_AK.ecc.template, template);
    await refused(attest({ ...options(), tpm: other.tpm } as GkeAttesterOptions), 'ATTESTER_FAILED');
    await other.stop();
  });
});

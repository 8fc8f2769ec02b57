/** The client against a real TPM: quotes that the verifier accepts, registers, NV, keys; what the TPM refuses is named. */
import { createServer } from 'node:net';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, concat, fromHex, hex, randomBytes, sha256 } from '../../attestation/bytes.ts';
import { CheckList } from '../../attestation/checks.ts';
import { attestationKeyTemplate, HIERARCHY, quoteWithValues, Tpm } from '../../attestation/devices/tpm2.ts';
import { isAbsent, isTransient, responseName, TpmRefusal } from '../../attestation/devices/tpm-response.ts';
import { tpmDevice, tpmSocket } from '../../attestation/devices/tpm-transport.ts';
import { u16, u32 } from '../../attestation/devices/wire.ts';
import { parseTpmQuote } from '../../attestation/formats/tpms-attest.ts';
import { parseTpmtPublic, requireAttestationKey } from '../../attestation/formats/tpmt-public.ts';
import { parseTpmtSignature } from '../../attestation/formats/tpmt-signature.ts';
import { verifyEventLog } from '../../attestation/hardware/tpm/event-log.ts';
import { type QuoteInput, verifyTpmQuote } from '../../attestation/hardware/tpm/quote.ts';
import { buildEventLog, simulatedBoot } from '../../attestation/platforms/simulated/event-log.ts';
import { filled, refused } from '../attestation/support.ts';
import { AUTH_READ, defineIndex, extend, measureBoot, OWNER_READ, persist, SKIP_SWTPM, startSwtpm, storeIndex, type Swtpm } from './swtpm.ts';

const SELECT = [0, 4, 5, 7, 8];
const HANDLE = { rsa: 0x81000003, ecc: 0x81000004 } as const;

describe.skipIf(SKIP_SWTPM)('swtpm', () => {
  let machine: Swtpm;
  let tpm: Tpm;
  const areas: Partial<Record<'rsa' | 'ecc', Bytes>> = {};
  beforeAll(async () => {
    machine = await startSwtpm();
    ({ tpm } = machine);
    for (const kind of ['rsa', 'ecc'] as const) areas[kind] = await persist(tpm, attestationKeyTemplate(kind), HANDLE[kind]);
  });
  afterAll(() => machine?.stop());

  const rcOf = async (work: Promise<unknown>): Promise<number> => work.then(() => 0, (error: unknown) => (error instanceof TpmRefusal ? error.rc : Promise.reject(error)));
  async function judge(kind: 'rsa' | 'ecc', extraData: Bytes, change: Partial<QuoteInput> = {}): Promise<CheckList> {
    const quote = await quoteWithValues(tpm, HANDLE[kind], extraData, 'sha256', SELECT);
    const checks = new CheckList();
    const facts = await verifyTpmQuote({ path: 'quote', message: quote.message, signature: parseTpmtSignature(quote.signature, 'signature'), key: parseTpmtPublic(areas[kind] as Bytes, 'key'), extraData, bank: 'sha256', required: SELECT, pcrs: quote.pcrs, ...change }, checks);
    if (!checks.failed) expect([...facts?.pcrs.keys() ?? []]).toEqual(SELECT);
    return checks;
  }

  test.each(['rsa', 'ecc'] as const)('a quote of a restricted %s key verifies; each other expectation is refused for its reason', async (kind) => {
    const nonce = randomBytes(32);
    expect((await judge(kind, nonce)).failed).toBe(false);
    const codes = async (change: Partial<QuoteInput>): Promise<string[]> => {
      const checks = await judge(kind, nonce, change);
      try {
        checks.refuseIfFailed();
      } catch (error) {
        return (error as { codes: string[] }).codes;
      }
      return [];
    };
    expect(await codes({ extraData: filled(32, 1) })).toEqual(['NONCE_MISMATCH']);
    expect(await codes({ required: [0, 4, 5, 7] })).toEqual(['PCR_SELECTION']);
    expect(await codes({ required: [...SELECT, 9] })).toEqual(['UNQUOTED_PCR']);
    expect(await codes({ key: parseTpmtPublic(areas[kind === 'rsa' ? 'ecc' : 'rsa'] as Bytes, 'key') })).toEqual(['SIG_INVALID']);
    expect(await codes({ pcrs: new Map(SELECT.map((i) => [i, filled(32, 9)])) })).toEqual(['PCR_DIGEST']);
  });

  test('an attestation key is what the verifier calls one; its name is that of the TPM', async () => {
    for (const kind of ['rsa', 'ecc'] as const) {
      const { area, name } = await tpm.readPublic(HANDLE[kind]);
      expect(hex(area)).toBe(hex(areas[kind] as Bytes));
      const key = parseTpmtPublic(area, 'key');
      requireAttestationKey(key, 'key');
      expect(hex(await key.name())).toBe(hex(name));
    }
  });

  test('a primary key is made again from its template', async () => {
    const [a, b] = [await tpm.createPrimary(HIERARCHY.endorsement, attestationKeyTemplate('ecc')), await tpm.createPrimary(HIERARCHY.endorsement, attestationKeyTemplate('ecc'))];
    expect(hex(a.area)).toBe(hex(b.area));
    expect(hex(a.area)).not.toBe(hex(areas.ecc as Bytes));
    await tpm.flush(a.handle);
    await tpm.flush(b.handle);
    expect(isAbsent(await rcOf(tpm.quote(a.handle, filled(32, 1), 'sha256', [0])))).toBe(false);
    await refused(tpm.quote(a.handle, filled(32, 1), 'sha256', [0]), 'ATTESTER_FAILED');
  });

  test('registers: all of them, what an extension makes of one, and a boot that its log explains', async () => {
    const all = Array.from({ length: 24 }, (_, i) => i);
    const before = await tpm.pcrRead('sha256', all);
    expect(before.size).toBe(24);
    expect(hex(before.get(17) as Bytes)).toBe('ff'.repeat(32));
    const log = await buildEventLog(simulatedBoot());
    await measureBoot(tpm, log);
    const quote = await quoteWithValues(tpm, HANDLE.ecc, filled(32, 7), 'sha256', SELECT);
    const checks = new CheckList();
    const verified = await verifyEventLog({ log, path: 'log', kind: 'tpm', bank: 'sha256', quoted: quote.pcrs, silentFrom: 8 }, checks);
    checks.refuseIfFailed();
    expect(verified?.events.length).toBeGreaterThan(10);
    await extend(tpm, 4, filled(32, 0x44));
    const after = await tpm.pcrRead('sha256', all);
    expect(hex(after.get(4) as Bytes)).toBe(hex(await sha256(concat(quote.pcrs.get(4) as Bytes, filled(32, 0x44)))));
    expect(hex(after.get(16) as Bytes)).toBe(hex(before.get(16) as Bytes));
    const late = new CheckList();
    await verifyEventLog({ log, path: 'log', kind: 'tpm', bank: 'sha256', quoted: after, silentFrom: 8 }, late);
    await refused(() => late.refuseIfFailed(), 'EVENTLOG_BINDING');
  });

  test('a quote is of the values that are sent with it, whatever is extended meanwhile', async () => {
    let extensions = 3;
    const racing = new Proxy(tpm, {
      get(target, name) {
        const value = Reflect.get(target, name, target) as unknown;
        if (typeof value !== 'function') return value;
        if (name !== 'quote') return value.bind(target) as unknown;
        return async (...args: Parameters<Tpm['quote']>) => {
          if (extensions-- > 0) await extend(target, 8, filled(32, extensions));
          return target.quote(...args);
        };
      },
    });
    const quote = await quoteWithValues(racing, HANDLE.ecc, filled(32, 7), 'sha256', SELECT);
    expect(extensions).toBe(-1);
    const { pcrDigest } = parseTpmQuote(quote.message, 'quote');
    expect(hex(await sha256(concat(...SELECT.map((i) => quote.pcrs.get(i) as Bytes))))).toBe(hex(pcrDigest));
    extensions = 1000;
    await refused(quoteWithValues(racing, HANDLE.ecc, filled(32, 7), 'sha256', SELECT), 'ATTESTER_FAILED');
  });

  test('NV: larger than one command carries, by the index\'s or the owner\'s password; unwritten, absent', async () => {
    const data = randomBytes(1999);
    await storeIndex(tpm, 0x01800001, data, 1999, AUTH_READ);
    expect(await tpm.nvReadPublic(0x01800001)).toMatchObject({ size: 1999, nameAlg: 0x0b });
    expect(hex(await tpm.nvRead(0x01800001))).toBe(hex(data));
    await storeIndex(tpm, 0x01800002, data.slice(0, 64), 100, OWNER_READ);
    expect(hex(await tpm.nvRead(0x01800002))).toBe(hex(concat(data.subarray(0, 64), new Uint8Array(36))));
    await defineIndex(tpm, 0x01800003, 16);
    await refused(tpm.nvRead(0x01800003), 'ATTESTER_FAILED');
    expect(isAbsent(await rcOf(tpm.nvRead(0x01800004)))).toBe(true);
    expect(responseName(await rcOf(defineIndex(tpm, 0x01800003, 16)))).toBe('TPM_RC_NV_DEFINED (0x14c)');
  });

  test('many at once take turns', async () => {
    const nonces = Array.from({ length: 6 }, () => randomBytes(32));
    const quotes = await Promise.all(nonces.map((n) => tpm.quote(HANDLE.ecc, n, 'sha256', [0])));
    expect(quotes.map((q) => hex(parseTpmQuote(q.message, 'quote').extraData))).toEqual(nonces.map(hex));
  });

  test('too much extraData is the TPM\'s refusal, and the next command is answered', async () => {
    await refused(tpm.quote(HANDLE.ecc, filled(80, 1), 'sha256', [0]), 'ATTESTER_FAILED');
    expect((await tpm.pcrRead('sha256', [0])).size).toBe(1);
  });
});

describe('response codes', () => {
  test.each([
    [0x18b, 'TPM_RC_HANDLE of handle 1 (0x18b)'], [0x2c4, 'TPM_RC_VALUE of parameter 2 (0x2c4)'], [0x98e, 'TPM_RC_AUTH_FAIL of session 1 (0x98e)'], [0x922, 'TPM_RC_RETRY (0x922)'], [0x14a, 'TPM_RC_NV_UNINITIALIZED (0x14a)'],
    [0x101, 'TPM_RC_FAILURE (0x101)'], [0x30, 'a code of the vendor or of TPM 1.2 (0x30)'], [0x17f, 'TPM_RC_unknown (0x17f)'], [0x082, 'TPM_RC_ATTRIBUTES (0x82)'],
  ])('%i', (code, name) => expect(responseName(code)).toBe(name));
  test('which are worth a second try', () => expect([0x908, 0x90a, 0x920, 0x922, 0x921, 0x101, 0x18b].map(isTransient)).toEqual([true, true, true, true, false, false, false]));
});

describe('answers that are none', () => {
  const answer = (hexText: string): Tpm => new Tpm({ exchange: async () => fromHex(hexText), close: async () => {} });
  test.each([
    ['', 'nothing'], ['8001000000', 'half a header'], ['80010000000b00000000', 'another size'], ['8002000000' + '0a00000000', 'another tag'], ['80010000000a00000000', 'no parameters'], ['800100000014000000000000000100000000' + 'ffff', 'no values'],
  ])('%s (%s)', async (response) => { await refused(answer(response).pcrRead('sha256', [0]), 'ATTESTER_FAILED'); });

  test('a TPM that asks for patience gets it, for a while', async () => {
    let asked = 0;
    const patience = (times: number): Tpm => new Tpm({ exchange: async () => (asked++ < times ? fromHex('80010000000a00000922') : fromHex('80010000000a00000000')), close: async () => {} });
    await patience(3).flush(1);
    expect(asked).toBe(4);
    asked = 0;
    await refused(patience(99).flush(1), 'ATTESTER_FAILED');
    expect(asked).toBe(11);
  });

  test('no value is taken for a register that was not asked for', async () => {
    const response = concat(u32(5), u32(1), u16(0x0b), fromHex('03020000'), u32(1), u16(32), filled(32, 1));
    const tpm = new Tpm({ exchange: async () => concat(u16(0x8001), u32(10 + response.length), u32(0), response), close: async () => {} });
    await refused(tpm.pcrRead('sha256', [0]), 'ATTESTER_FAILED');
    expect((await tpm.pcrRead('sha256', [1])).size).toBe(1);
  });
});

describe('transports', () => {
  test('no device, nobody who listens', async () => {
    await refused(tpmDevice('/nowhere/tpmrm0'), 'ATTESTER_ABSENT');
    await refused(tpmSocket({ path: '/nowhere/tpm' }), 'ATTESTER_ABSENT');
  });

  test('a device that is none does not answer', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ccc-tpm-'));
    await writeFile(join(folder, 'file'), '');
    const device = await tpmDevice(join(folder, 'file'));
    await refused(new Tpm(device).flush(1), 'ATTESTER_FAILED');
    await device.close();
    await refused(new Tpm(device).flush(1), 'ATTESTER_FAILED');
    await rm(folder, { recursive: true });
  });

  const server = async (reply: (command: Buffer) => Uint8Array[] | null, timeoutMs = 20_000) => {
    const listening = createServer((socket) => socket.on('data', (command) => {
      const parts = reply(command as Buffer);
      if (parts === null) socket.end();
      else for (const part of parts) socket.write(part);
    }).on('error', () => {}));
    await new Promise<void>((resolve) => { listening.listen(0, '127.0.0.1', resolve); });
    const transport = await tpmSocket({ host: '127.0.0.1', port: (listening.address() as { port: number }).port }, timeoutMs);
    return { transport, stop: async () => { await transport.close(); listening.close(); } };
  };

  test('an answer in pieces is one; one that is too long, too short or missing ends the connection', async () => {
    const good = fromHex('80010000000a00000000');
    const pieces = await server(() => [good.subarray(0, 3), good.subarray(3)]);
    await new Tpm(pieces.transport).flush(1);
    await pieces.stop();
    for (const reply of [() => [concat(good, filled(1, 0))], () => [fromHex('8001ffffffff00000000')], () => null, () => [good.subarray(0, 6)]]) {
      const bad = await server(reply, 50);
      const tpm = new Tpm(bad.transport);
      await refused(tpm.flush(1), 'ATTESTER_FAILED');
      await refused(tpm.flush(1), 'ATTESTER_FAILED');
      await bad.stop();
    }
  });
});

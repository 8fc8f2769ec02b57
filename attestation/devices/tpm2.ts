/**
 * A small TPM 2.0 client (TPM 2.0 Library, Part 3): what an attester needs, over any transport. Node only by its transports.
 *
 *   command    tag u16 (8001, or 8002 with an authorization area), size u32, code u32, handles, [size u32, authorizations], parameters
 *   response   tag u16, size u32, response code u32, [handle], [size of parameters u32], parameters, [authorizations]
 *
 * Authorizations are passwords (TPM_RS_PW), empty unless stated: the attestation keys and indexes of the clouds have no password.
 */
import { type Bytes, concat, equal } from '../bytes.ts';
import { ByteReader } from '../formats/byte-reader.ts';
import { BANKS } from '../formats/tcg-event-log.ts';
import { TPM_ALG } from '../formats/tpmt-signature.ts';
import { refuse } from '../refusal.ts';
import { isTransient, TpmRefusal } from './tpm-response.ts';
import type { TpmTransport } from './tpm-transport.ts';
import { sized, u16, u32, u8 } from './wire.ts';

/** Names for messages, codes of Part 2, section 6.5.2. */
const COMMANDS = {
  EvictControl: 0x120, NV_DefineSpace: 0x12a, CreatePrimary: 0x131, NV_Write: 0x137, Certify: 0x148, NV_Read: 0x14e, Quote: 0x158, RSA_Decrypt: 0x159, FlushContext: 0x165, NV_ReadPublic: 0x169, ReadPublic: 0x173,
  StartAuthSession: 0x176, GetCapability: 0x17a, PCR_Read: 0x17e, PolicyPCR: 0x17f, PCR_Extend: 0x182,
} as const;
export type TpmCommand = keyof typeof COMMANDS;
export const HIERARCHY = { owner: 0x40000001, null: 0x40000007, endorsement: 0x4000000b } as const;

export interface TpmCall {
  readonly handles?: readonly number[];
  /** How many of the handles, from the first, need an authorization. */
  readonly authorized?: number;
  readonly parameters?: Bytes;
  /** A policy session in place of the empty passwords; it ends with a command that succeeds. */
  readonly session?: number;
  /** Whether the response has a handle before its parameters. */
  readonly returnsHandle?: boolean;
}

export interface NvPublic { readonly nameAlg: number; readonly attributes: number; readonly size: number }
export interface TpmQuoteAnswer {
  /** TPMS_ATTEST. */
  readonly message: Bytes;
  /** TPMT_SIGNATURE. */
  readonly signature: Bytes;
}
export type PcrBank = keyof typeof BANKS;

const [NO_SESSIONS, SESSIONS] = [0x8001, 0x8002];
/** TPM_RS_PW, empty nonce, continueSession, empty password. */
const EMPTY_PASSWORD = concat(u32(0x40000009), u16(0), u8(1), u16(0));
/** TPMA_NV (Part 2, section 13.4). */
const NV = { ownerRead: 17, authRead: 18, written: 29 } as const;
/** TPM_CAP_TPM_PROPERTIES, TPM_PT_NV_BUFFER_MAX. */
const [PROPERTIES, NV_BUFFER_MAX] = [6, 0x12c];
/** The largest area that one command of any TPM reads, where the TPM does not say. */
const SMALLEST_BUFFER = 512;
const SIZE_OF_SELECT = 3;
const TRIES = 10;
/** A response code that says "again" is followed after 1, 2, 4, ... ms. */
const wait = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms); });
const NEXT = 'This is no answer of a TPM 2.0: see what the device is.';

/** TPML_PCR_SELECTION of one bank. */
export function pcrSelection(bank: PcrBank, indexes: readonly number[]): Bytes {
  const bitmap = new Uint8Array(SIZE_OF_SELECT);
  for (const i of indexes) bitmap[i >> 3] = (bitmap[i >> 3] as number) | (1 << (i & 7));
  return concat(u32(1), u16(BANKS[bank].id), u8(SIZE_OF_SELECT), bitmap);
}

/** TPMT_PUBLIC of a new attestation key: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign. */
export function attestationKeyTemplate(kind: 'rsa' | 'ecc'): Bytes {
  const head = concat(u16(kind === 'rsa' ? TPM_ALG.rsa : TPM_ALG.ecc), u16(TPM_ALG.sha256), u32(0x00050472), u16(0), u16(TPM_ALG.null));
  if (kind === 'rsa') return concat(head, u16(TPM_ALG.rsassa), u16(TPM_ALG.sha256), u16(2048), u32(0), u16(0));
  return concat(head, u16(TPM_ALG.ecdsa), u16(TPM_ALG.sha256), u16(3), u16(TPM_ALG.null), u16(0), u16(0));
}

export class Tpm {
  readonly #transport: TpmTransport;
  #nvBuffer: number | undefined;

  constructor(transport: TpmTransport) {
    this.#transport = transport;
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  /** @returns the response's parameters, its handle first where there is one. @throws TpmRefusal, Refusal ATTESTER_FAILED */
  async command(name: TpmCommand, { handles = [], authorized = 0, parameters = new Uint8Array(), session, returnsHandle = false }: TpmCall = {}): Promise<ByteReader> {
    const auth = concat(...Array.from({ length: authorized }, () => (session === undefined ? EMPTY_PASSWORD : concat(u32(session), u16(0), u8(0), u16(0)))));
    const body = concat(u32(COMMANDS[name]), ...handles.map(u32), ...(authorized > 0 ? [u32(auth.length), auth] : []), parameters);
    const command = concat(u16(authorized > 0 ? SESSIONS : NO_SESSIONS), u32(body.length + 6), body);
    for (let attempt = 0; ; attempt++) {
      const r = reader(await this.#transport.exchange(command), name);
      const tag = r.u16('tag');
      r.expect('size', r.u32('size'), r.data.length);
      const rc = r.u32('responseCode');
      if (rc === 0) {
        r.expect('tag', tag, authorized > 0 ? SESSIONS : NO_SESSIONS);
        return parametersOf(r, name, authorized > 0, returnsHandle);
      }
      if (!isTransient(rc) || attempt >= TRIES) throw new TpmRefusal(name, rc);
      await wait(2 ** attempt);
    }
  }

  /** Values by index. One read of many: when a PCR is extended meanwhile, all are read again. */
  async pcrRead(bank: PcrBank, indexes: readonly number[]): Promise<Map<number, Bytes>> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const values = new Map<number, Bytes>();
      const counters = new Set<number>();
      // A TPM returns as many as fit (eight): the selection of the answer says which
      for (let left = [...indexes]; left.length > 0; left = left.filter((i) => !values.has(i))) {
        const r = await this.command('PCR_Read', { parameters: pcrSelection(bank, left) });
        counters.add(r.u32('pcrUpdateCounter'));
        const selected = readSelection(r, bank);
        const count = r.u32('digests.count');
        if (count !== selected.length || count === 0) refuse('ATTESTER_FAILED', 'tpm.PCR_Read', 'Give the TPM this bank (firmware setup), or choose another.', { have: `${count} values of bank ${bank}`, need: `PCR ${left.join(', ')}` });
        for (const i of selected) {
          if (!left.includes(i)) refuse('ATTESTER_FAILED', 'tpm.PCR_Read', NEXT, { have: `PCR ${i}`, need: left.join(', ') });
          values.set(i, r.sized16('digest', BANKS[bank].size).slice());
        }
        r.end('');
      }
      if (counters.size <= 1) return values;
    }
    return refuse('ATTESTER_FAILED', 'tpm.PCR_Read', 'Attest again when nothing extends the PCRs.', { have: `PCRs that changed ${TRIES} times while they were read`, need: 'one state' });
  }

  /** By a restricted key, with the scheme that the key has. @param extraData at most 64 bytes */
  async quote(key: number, extraData: Bytes, bank: PcrBank, indexes: readonly number[]): Promise<TpmQuoteAnswer> {
    const r = await this.command('Quote', { handles: [key], authorized: 1, parameters: concat(sized(extraData), u16(TPM_ALG.null), pcrSelection(bank, indexes)) });
    const message = r.sized16('quoted').slice();
    return { message, signature: r.take(r.left, 'signature').slice() };
  }

  /** @throws TpmRefusal with isAbsent(rc) when there is no such index */
  async nvReadPublic(index: number): Promise<NvPublic> {
    const r = await this.command('NV_ReadPublic', { handles: [index] });
    const area = reader(r.sized16('nvPublic').slice(), 'NV_ReadPublic');
    area.expect('nvIndex', area.u32('nvIndex'), index);
    const [nameAlg, attributes] = [area.u16('nameAlg'), area.u32('attributes')];
    area.sized16('authPolicy', 64);
    const size = area.u16('dataSize');
    area.end('');
    return { nameAlg, attributes, size };
  }

  /** The whole index, in as many commands as it needs. */
  async nvRead(index: number): Promise<Bytes> {
    const { attributes, size } = await this.nvReadPublic(index);
    const has = (bit: number): boolean => (attributes & (2 ** bit)) !== 0;
    if (!has(NV.written) || !(has(NV.authRead) || has(NV.ownerRead))) refuse('ATTESTER_FAILED', `tpm.NV.${index.toString(16)}`, 'See who made this index.', { have: `attributes 0x${attributes.toString(16)}`, need: 'an index that was written and that may be read with its own or the owner\'s password' });
    const chunk = await this.#chunk();
    const parts: Bytes[] = [];
    for (let at = 0; at < size; at += chunk) {
      const length = Math.min(chunk, size - at);
      const r = await this.command('NV_Read', { handles: [has(NV.authRead) ? index : HIERARCHY.owner, index], authorized: 1, parameters: concat(u16(length), u16(at)) });
      const part = r.sized16('data').slice();
      r.expect('data.size', part.length, length);
      r.end('');
      parts.push(part);
    }
    return concat(...parts);
  }

  /** @returns TPMT_PUBLIC and the key's name */
  async readPublic(object: number): Promise<{ readonly area: Bytes; readonly name: Bytes }> {
    const r = await this.command('ReadPublic', { handles: [object] });
    const [area, name] = [r.sized16('outPublic').slice(), r.sized16('name').slice()];
    r.sized16('qualifiedName');
    r.end('');
    return { area, name };
  }

  /** @param template TPMT_PUBLIC. The key is gone after {@link flush}; made again it is the same one. */
  async createPrimary(hierarchy: number, template: Bytes): Promise<{ readonly handle: number; readonly area: Bytes }> {
    // inSensitive: no password, no data; outsideInfo: none; creationPCR: none
    const r = await this.command('CreatePrimary', { handles: [hierarchy], authorized: 1, returnsHandle: true, parameters: concat(sized(concat(u16(0), u16(0))), sized(template), u16(0), u32(0)) });
    const handle = r.u32('handle');
    return { handle, area: r.sized16('outPublic').slice() };
  }

  async flush(handle: number): Promise<void> {
    (await this.command('FlushContext', { parameters: u32(handle) })).end('');
  }

  async #chunk(): Promise<number> {
    if (this.#nvBuffer !== undefined) return this.#nvBuffer;
    const r = await this.command('GetCapability', { parameters: concat(u32(PROPERTIES), u32(NV_BUFFER_MAX), u32(1)) });
    r.u8('moreData');
    r.expect('capability', r.u32('capability'), PROPERTIES);
    const stated = r.u32('count') === 1 && r.u32('property') === NV_BUFFER_MAX ? r.u32('value') : SMALLEST_BUFFER;
    this.#nvBuffer = Math.min(Math.max(stated, 64), 2048);
    return this.#nvBuffer;
  }
}

/** A quote of these PCRs and the values that it is of: read again when something was extended in between. */
export async function quoteWithValues(tpm: Tpm, key: number, extraData: Bytes, bank: PcrBank, indexes: readonly number[]): Promise<TpmQuoteAnswer & { readonly pcrs: Map<number, Bytes> }> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const before = await tpm.pcrRead(bank, indexes);
    const answer = await tpm.quote(key, extraData, bank, indexes);
    const after = await tpm.pcrRead(bank, indexes);
    // PCRs are only extended: what is the same before and after was the same in between
    if (indexes.every((i) => equal(before.get(i) as Bytes, after.get(i) as Bytes))) return { ...answer, pcrs: after };
  }
  return refuse('ATTESTER_FAILED', 'tpm.Quote', 'Attest again when nothing extends the PCRs.', { have: `PCRs that changed during ${TRIES} quotes`, need: 'one state' });
}

const reader = (data: Bytes, command: TpmCommand): ByteReader => new ByteReader(data, { path: `tpm.${command}`, code: 'ATTESTER_FAILED', next: NEXT, endian: 'big' });

/** Handle and parameters without the size in between and the authorizations behind. */
function parametersOf(r: ByteReader, name: TpmCommand, withSessions: boolean, returnsHandle: boolean): ByteReader {
  const handle = returnsHandle ? r.take(4, 'handle') : new Uint8Array();
  if (!withSessions) return reader(concat(handle, r.take(r.left, 'parameters')), name);
  const size = r.u32('parameterSize');
  return reader(concat(handle, r.take(size, 'parameters')), name);
}

function readSelection(r: ByteReader, bank: PcrBank): number[] {
  const count = r.u32('selection.count');
  if (count === 0) return [];
  r.expect('selection.count', count, 1);
  r.expect('selection.bank', r.u16('selection.bank'), BANKS[bank].id);
  const bitmap = r.take(r.u8('selection.size'), 'selection');
  return [...bitmap].flatMap((byte, at) => [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte & (1 << bit)) !== 0).map((bit) => 8 * at + bit));
}

/**
 * AWS Encryption SDK message, format version 2, as far as this project takes it: one suite, framed content.
 * (AWS Encryption SDK message format reference, "Header structure" and "Body structure".) Big-endian.
 *
 *   | field             | bytes                                                                   |
 *   |-------------------|-------------------------------------------------------------------------|
 *   | version           | 1: 0x02                                                                 |
 *   | algorithm suite   | 2: 0x0478 (AES-256-GCM, HKDF-SHA512, key commitment, no signature)      |
 *   | message id        | 32                                                                      |
 *   | AAD length        | 2, then AAD: count (2), and per pair: length (2) key, length (2) value  |
 *   | data-key count    | 2, then per wrap: length (2) provider id, length (2) provider info, length (2) encrypted data key |
 *   | content type      | 1: 0x02, framed                                                         |
 *   | frame length      | 4                                                                       |
 *   | suite data        | 32: key commitment                                                      |
 *   | header tag        | 16: AES-256-GCM over everything above, IV of 12 zero bytes              |
 *   | frames            | sequence (4), IV (12), ciphertext (frame length), tag (16)              |
 *   | last frame        | 0xffffffff (4), sequence (4), IV (12), length (4), ciphertext, tag (16) |
 */
import { type Bytes, bytes, concat, equal, text, utf8 } from '../../attestation/bytes.ts';
import { Refusal, refuse, type RefusalCode } from '../../attestation/refusal.ts';
import { contextSchema, type EncryptionContext } from './context.ts';
import { primitives } from './primitives.ts';

export const SUITE_ID = 0x0478;
export const MAX_HEADER = 60 * 1024;
export const MAX_WRAPS = 8;
export const MAX_FRAME = 1024 * 1024;
/** A frame costs a decryption: 20 MB in the SDK's usual frames of 4 KiB are 5,120, in frames of one byte they would keep a counter busy for minutes. */
export const MAX_FRAMES = 8192;
const TAG = 16;
const IV = 12;
const LAST_FRAME = 0xffff_ffff;

export interface DataKeyWrap { readonly providerId: string; readonly providerInfo: Bytes; readonly ciphertext: Bytes }

export interface ParsedHeader {
  /** The whole header, authentication tag included. */
  readonly header: Bytes;
  readonly messageId: Bytes;
  readonly context: EncryptionContext;
  readonly wraps: readonly DataKeyWrap[];
  readonly frameLength: number;
  readonly commitment: Bytes;
}
export interface ParsedMessage extends ParsedHeader {
  /** Everything after the header. */
  readonly body: Bytes;
}

const NEXT = 'Send an AWS Encryption SDK message, version 2, suite 0x0478, framed, with the six keys of the encryption context.';
const bad = (path: string, detail: { have?: string; need?: string } = {}, code: RefusalCode = 'MESSAGE_FORMAT'): never => refuse(code, path, NEXT, detail);

class Reader {
  readonly #data: Bytes;
  readonly #view: DataView;
  at = 0;

  constructor(data: Bytes) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  take(length: number, path: string): Bytes {
    if (length > this.#data.length - this.at) bad(path, { have: `${this.#data.length - this.at} bytes left`, need: `${length} bytes` });
    this.at += length;
    return this.#data.subarray(this.at - length, this.at);
  }

  #number(length: 1 | 2 | 4, path: string): number {
    const at = this.at;
    this.take(length, path);
    return length === 1 ? this.#view.getUint8(at) : length === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  u8 = (path: string): number => this.#number(1, path);
  u16 = (path: string): number => this.#number(2, path);
  u32 = (path: string): number => this.#number(4, path);
  field = (path: string): Bytes => this.take(this.u16(path), path);
}

function strictText(data: Bytes, path: string, code: RefusalCode): string {
  try {
    return text(data);
  } catch (cause) {
    throw new Refusal({ code, path, next: NEXT, need: 'UTF-8' }, { cause });
  }
}

/** Keys strictly ascending, as every SDK writes them: so none is there twice. */
function readContext(aad: Bytes): EncryptionContext {
  if (aad.length === 0) bad('header.context', { have: 'none' }, 'CONTEXT_FORMAT');
  const reader = new Reader(aad);
  const pairs: Record<string, string> = {};
  let last = '';
  const count = reader.u16('header.context');
  for (let i = 0; i < count; i++) {
    const key = strictText(reader.field('header.context'), 'header.context', 'CONTEXT_FORMAT');
    if (key <= last) bad('header.context', { have: 'a key twice, or not in order' }, 'CONTEXT_FORMAT');
    // `defineProperty` semantics: a key such as `__proto__` stays a plain key, and the schema refuses it.
    Object.defineProperty(pairs, key, { value: strictText(reader.field(`header.context.${i}`), `header.context.${i}`, 'CONTEXT_FORMAT'), enumerable: true });
    last = key;
  }
  if (reader.at !== aad.length) bad('header.context', { have: `${aad.length - reader.at} bytes too many` });
  const parsed = contextSchema.safeParse(pairs);
  if (!parsed.success) {
    throw new Refusal(parsed.error.issues.slice(0, 16).map((issue) => ({
      code: 'CONTEXT_FORMAT', path: ['context', ...issue.path.map(String)].join('.'), have: issue.code, next: `Send the six keys of the encryption context and no other: ${issue.message}.`,
    })));
  }
  return parsed.data;
}

function readWraps(reader: Reader): DataKeyWrap[] {
  const count = reader.u16('header.wraps');
  if (count < 1 || count > MAX_WRAPS) bad('header.wraps', { have: String(count), need: `1 to ${MAX_WRAPS}` });
  const wraps = Array.from({ length: count }, (_, i) => {
    const path = `header.wraps.${i}`;
    return { providerId: strictText(reader.field(path), path, 'MESSAGE_FORMAT'), providerInfo: reader.field(path), ciphertext: reader.field(path) };
  });
  // Each wrap to a key of the tenant costs the broker an unwrapping: one per key is all that a message needs.
  if (wraps.some((w, i) => wraps.some((v, j) => j < i && v.providerId === w.providerId && equal(v.providerInfo, w.providerInfo)))) bad('header.wraps', { have: 'two wraps to one key' });
  return wraps;
}

function readHeader(data: Bytes): ParsedHeader {
  const reader = new Reader(data);
  const version = reader.u8('header.version');
  if (version !== 2) bad('header.version', { have: String(version), need: '2' }, version === 1 ? 'MESSAGE_SUITE' : 'MESSAGE_FORMAT');
  const suite = reader.u16('header.suite');
  if (suite !== SUITE_ID) bad('header.suite', { have: `0x${suite.toString(16).padStart(4, '0')}`, need: '0x0478' }, 'MESSAGE_SUITE');
  const messageId = reader.take(32, 'header.messageId');
  const aad = reader.field('header.context');
  const wraps = readWraps(reader);
  const contentType = reader.u8('header.contentType');
  if (contentType !== 2) bad('header.contentType', { have: String(contentType), need: '2 (framed)' });
  const frameLength = reader.u32('header.frameLength');
  if (frameLength < 1 || frameLength > MAX_FRAME) bad('header.frameLength', { have: String(frameLength), need: `1 to ${MAX_FRAME}` });
  const commitment = reader.take(32, 'header.commitment');
  reader.take(TAG, 'header.tag');
  if (reader.at > MAX_HEADER) bad('header', { have: `${reader.at} bytes`, need: `at most ${MAX_HEADER}` });
  return { header: data.subarray(0, reader.at), messageId, context: readContext(aad), wraps, frameLength, commitment };
}

export interface Frame { readonly sequence: number; readonly last: boolean; readonly iv: Bytes; /** Ciphertext and tag. */ readonly sealed: Bytes }

/** Whole frames, in sequence, one last frame, nothing after it: whoever takes them all knows the structure of the body, and no more. @throws Refusal MESSAGE_FORMAT */
export function* readFrames(body: Bytes, frameLength: number): Generator<Frame, void> {
  const reader = new Reader(body);
  for (let sequence = 1; ; sequence++) {
    const head = reader.u32('body.frame');
    const last = head === LAST_FRAME;
    const number = last ? reader.u32('body.frame') : head;
    if (sequence > MAX_FRAMES) bad('body', { have: `more than ${MAX_FRAMES} frames`, need: 'larger frames' });
    if (number !== sequence) bad('body.frame', { have: String(number), need: String(sequence) });
    const iv = reader.take(IV, 'body.frame');
    const length = last ? reader.u32('body.frame') : frameLength;
    if (length > frameLength) bad('body.frame', { have: `${length} bytes`, need: `at most ${frameLength}` });
    const sealed = reader.take(length + TAG, 'body.frame');
    if (last && reader.at !== body.length) bad('body', { have: `${body.length - reader.at} bytes after the last frame` });
    yield { sequence, last, iv, sealed };
    if (last) return;
  }
}

/** A header alone, as a counter sends it to the broker. @throws Refusal MESSAGE_FORMAT, MESSAGE_SUITE, CONTEXT_FORMAT */
export function parseHeader(header: Uint8Array): ParsedHeader {
  const parsed = readHeader(bytes(header));
  if (parsed.header.length !== header.length) bad('header', { have: `${header.length - parsed.header.length} bytes too many` });
  return parsed;
}

/** A whole message. Nothing is authenticated yet: see {@link checkDataKey} and openMessage (message-body.ts). @throws Refusal MESSAGE_FORMAT, MESSAGE_SUITE, CONTEXT_FORMAT */
export function parseMessage(message: Uint8Array): ParsedMessage {
  const data = message as Bytes;
  const parsed = readHeader(data);
  const body = data.subarray(parsed.header.length);
  for (const _ of readFrames(body, parsed.frameLength)) { /* all of them */ }
  return { ...parsed, body };
}

const COMMIT_INFO = utf8('COMMITKEY');
const DERIVE_INFO = concat(bytes([SUITE_ID >> 8, SUITE_ID & 0xff]), utf8('DERIVEKEY'));

/**
 * That this data key is the one the message commits to, and that the header (context and wraps) is as its sender made it.
 * HKDF-SHA512 with the message id as salt (algorithms reference, "Key commitment").
 * @returns the key of header and frames; the caller wipes it
 * @throws Refusal MESSAGE_COMMITMENT, MESSAGE_HEADER_TAG
 */
export async function contentKey(parsed: ParsedHeader, dataKey: Uint8Array): Promise<Bytes> {
  const { hkdfSha512, openGcm } = primitives();
  const commitment = await hkdfSha512(dataKey, parsed.messageId, COMMIT_INFO, 32);
  if (dataKey.length !== 32 || !equal(commitment, parsed.commitment)) {
    refuse('MESSAGE_COMMITMENT', 'header.commitment', 'The wrapped data key is not the one this message was encrypted with; encrypt again.');
  }
  const key = await hkdfSha512(dataKey, parsed.messageId, DERIVE_INFO, 32);
  const end = parsed.header.length - TAG;
  try {
    await openGcm(key, new Uint8Array(IV), parsed.header.subarray(0, end), parsed.header.subarray(end));
    return key;
  } catch (cause) {
    key.fill(0);
    throw new Refusal({ code: 'MESSAGE_HEADER_TAG', path: 'header.tag', next: 'The header was altered after encryption; encrypt again.' }, { cause });
  }
}

/** The checks of {@link contentKey} alone. @throws Refusal MESSAGE_COMMITMENT, MESSAGE_HEADER_TAG */
export async function checkDataKey(parsed: ParsedHeader, dataKey: Uint8Array): Promise<void> {
  (await contentKey(parsed, dataKey)).fill(0);
}

/**
 * The picture out of a message. Its few primitives are the ones that check the data key anyway, so that a counter does not need the AWS
 * Encryption SDK among the packages it has to trust; clients encrypt with the SDK, and the tests compare the two.
 */
import { type Bytes, concat, utf8 } from '../../attestation/bytes.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { contentKey, type Frame, type ParsedMessage, readFrames } from './message.ts';
import { primitives } from './primitives.ts';

const FRAME = utf8('AWSKMSEncryptionClient Frame');
const LAST_FRAME = utf8('AWSKMSEncryptionClient Final Frame');
const TAG = 16;

/** What a frame is authenticated with (message body AAD reference): message id (32), which kind, its number (4), length of its plaintext (8). */
function aadOf(messageId: Bytes, { sequence, last, sealed }: Frame): Bytes {
  const numbers = new DataView(new ArrayBuffer(12));
  numbers.setUint32(0, sequence);
  numbers.setBigUint64(4, BigInt(sealed.length - TAG));
  return concat(messageId, last ? LAST_FRAME : FRAME, new Uint8Array(numbers.buffer));
}

/**
 * Commitment, header tag, every frame: nothing comes out before all of it has been authenticated.
 * @param dataKey 32 bytes, as released; left as it is
 * @returns the plaintext, which the caller wipes
 * @throws Refusal MESSAGE_COMMITMENT, MESSAGE_HEADER_TAG, MESSAGE_BODY
 */
export async function openMessage(parsed: ParsedMessage, dataKey: Uint8Array): Promise<Bytes> {
  const { openGcm } = primitives();
  const key = await contentKey(parsed, dataKey);
  const parts: Bytes[] = [];
  let whole: Bytes | undefined;
  try {
    for (const frame of readFrames(parsed.body, parsed.frameLength)) parts.push(await openGcm(key, frame.iv, aadOf(parsed.messageId, frame), frame.sealed));
    return whole = parts.length === 1 ? parts[0] as Bytes : concat(...parts);
  } catch (cause) {
    throw new Refusal({ code: 'MESSAGE_BODY', path: 'body', next: 'The body was altered after encryption; encrypt again.' }, { cause });
  } finally {
    key.fill(0);
    for (const part of parts) if (part !== whole) part.fill(0);
  }
}

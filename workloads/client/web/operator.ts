/** What the gateway got to see, from the very message that was sent. */
import type { EncryptionContext } from '../../protocol/context.ts';
import { parseMessage } from '../../protocol/message.ts';
import type { StepReport } from '../steps.ts';
import type { OperatorView } from './model.ts';

const HEAD = 192;
const BODY = 160;
/** AWS Encryption SDK message format 2: version 1, suite 2, message id 32; then the context with its length in 2 bytes. */
const CONTEXT_AT = 35;

/** `pictureBytes`: of the file as chosen, before its metadata went. */
export function operatorView({ step, status, raw }: StepReport, pictureBytes: number): OperatorView | undefined {
  if (step !== 'encrypted' || status !== 'pass' || typeof raw !== 'object' || raw === null || !('message' in raw) || !(raw.message instanceof Uint8Array)) return undefined;
  const { message } = raw;
  const { header, context } = parseMessage(message);
  const contextLength = ((message[CONTEXT_AT] ?? 0) << 8) | (message[CONTEXT_AT + 1] ?? 0);
  return {
    pieces: [
      { title: 'Header: the context is in clear', offset: 0, bytes: message.slice(0, HEAD), clear: { from: CONTEXT_AT + 2, to: CONTEXT_AT + 2 + contextLength } },
      { title: 'Body: your picture', offset: header.length, bytes: message.slice(header.length, header.length + BODY), clear: { from: 0, to: 0 } },
    ],
    messageBytes: message.length, pictureBytes, context: context as EncryptionContext,
  };
}

/** Server-sent events (WHATWG HTML, section 9.2.6, "Interpreting an event stream"), from a stream of bytes. */
export interface ServerEvent { readonly id: string; readonly event: string; readonly data: string }

/** Longest line and event that are read; a server that sends longer ones is cut off. */
const MAX_BUFFER = 65_536;

export async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let buffer = '';
  let [id, event, data] = ['', '', [] as string[]];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      buffer += done ? decoder.decode() : decoder.decode(value, { stream: true });
      if (buffer.length > MAX_BUFFER) throw new RangeError('event stream: line too long');
      // A CR at the end may be half of a CRLF: wait for what follows.
      const lines = buffer.split(/\r\n|\n|\r(?!$)/);
      buffer = lines.pop() ?? '';
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield { id, event: event || 'message', data: data.join('\n') };
          [event, data] = ['', []];
          continue;
        }
        const colon = line.indexOf(':');
        const field = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (field === 'data') data.push(text);
        else if (field === 'event') event = text;
        else if (field === 'id' && !text.includes('\0')) id = text;
      }
      if (data.join('\n').length > MAX_BUFFER) throw new RangeError('event stream: event too long');
      if (done) return; // an event without its blank line is incomplete and dropped
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/**
 * The attester inside Confidential Space: the launcher gets a token from Google for its one container, over a Unix socket.
 *
 *   POST http://localhost/v1/token   {"audience", "nonces": [...], "token_type": "PKI"}   200: the token as text
 *
 * Source: Google Cloud, "Access resources not managed by Google Cloud IAM" (custom attestation tokens). Node only.
 */
import { access } from 'node:fs/promises';
import { request } from 'node:http';
import { bytes, type Bytes, concat } from '../../bytes.ts';
import type { Attester } from '../../evidence.ts';
import { refuse } from '../../refusal.ts';
import { googleNonces } from '../../services/google.ts';

export const LAUNCHER_SOCKET = '/run/container_launcher/teeserver.sock';
const PLATFORM = 'confidential-space';
const LIMIT = 64 * 1024;
/** Google is asked in between. */
const TIMEOUT_MS = 20_000;

/** @throws Refusal ATTESTER_ABSENT without the launcher's socket */
export async function confidentialSpaceAttester(socketPath = LAUNCHER_SOCKET): Promise<Attester> {
  await access(socketPath).catch(() => refuse('ATTESTER_ABSENT', socketPath, 'Run this container in Confidential Space; nothing is simulated in its stead.', { have: 'no launcher', need: 'the launcher\'s socket' }));
  return {
    async attest({ binding }) {
      if (binding.platform !== PLATFORM) refuse('BINDING_PLATFORM', 'binding.platform', 'Ask the attester of that platform.', { have: binding.platform, need: PLATFORM });
      return { platform: PLATFORM, document: await launcherToken(socketPath, JSON.stringify({ audience: binding.audience, nonces: await googleNonces(binding), token_type: 'PKI' })) };
    },
  };
}

/** The launcher's token for a request of {audience, nonces, token_type}. @throws Refusal ATTESTER_FAILED */
export function launcherToken(socketPath: string, body: string): Promise<Bytes> {
  return new Promise((resolve, reject) => {
    const failed = (have: string): void => {
      try {
        refuse('ATTESTER_FAILED', socketPath, 'See the launcher\'s log: it or Google\'s service gave no token.', { have, need: 'a token' });
      } catch (error) {
        reject(error);
      }
    };
    const asked = request({ socketPath, method: 'POST', path: '/v1/token', headers: { host: 'localhost', 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }, timeout: TIMEOUT_MS, agent: false }, (answer) => {
      const parts: Uint8Array[] = [];
      let size = 0;
      answer.on('data', (part: Uint8Array) => {
        size += part.length;
        if (size > LIMIT) answer.destroy(new Error('too long'));
        else parts.push(part);
      });
      answer.on('error', () => failed(size > LIMIT ? `more than ${LIMIT} bytes` : 'half an answer'));
      answer.on('end', () => (answer.statusCode === 200 && size > 0 ? resolve(trimmed(concat(...parts.map((p) => bytes(p))))) : failed(`status ${answer.statusCode}, ${size} bytes`)));
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', () => failed(`no answer within ${TIMEOUT_MS} ms`));
    asked.end(body);
  });
}

/** Without a line's end behind it. */
const trimmed = (data: Bytes): Bytes => {
  let end = data.length;
  while (end > 0 && (data[end - 1] === 0x0a || data[end - 1] === 0x0d)) end -= 1;
  return data.slice(0, end);
};

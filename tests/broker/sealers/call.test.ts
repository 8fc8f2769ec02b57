/** The road to a key service: TLS ends at the name that is asked for, wherever the connection goes; bounds hold. */
import { afterEach, describe, expect, test } from 'vitest';
import { type Bytes, utf8 } from '../../../attestation/bytes.ts';
import { der, sequence } from '../../../attestation/platforms/simulated/der-writer.ts';
import { dn, extendedKeyUsage, makeAuthority } from '../../../attestation/platforms/simulated/issue.ts';
import { pemOf } from '../../../attestation/platforms/simulated/tokens.ts';
import { ask, read, type Service } from '../../../workloads/broker/sealers/call.ts';
import { KEYS } from '../../attestation/path-support.ts';
import { held, json, Loopback } from './loopback.ts';

const HOST = 'kms.eu-central-1.amazonaws.com';
const subject = (cn: string): Bytes => dn([['O', 'Simulated'], ['CN', cn]]);
const running: Loopback[] = [];
afterEach(async () => { for (const server of running.splice(0)) await server.stop(); });

/** A server with a certificate of this name. */
async function serve(name: string, handler = (): ReturnType<typeof json> => json(200, { ok: true })): Promise<{ readonly server: Loopback; readonly ca: string }> {
  const now = Math.floor(Date.now() / 1_000);
  const [a, b] = await Promise.all([KEYS.get('P-256', 'tls-root'), KEYS.get('P-256', 'tls-leaf')]);
  const root = await makeAuthority({ key: a, subject: subject('root'), notBefore: now - 3_600, notAfter: now + 86_400 });
  const leaf = await makeAuthority({ key: b, subject: subject(name), issuer: root, notBefore: now - 3_600, notAfter: now + 86_400, pathLen: null, extensions: [{ id: '2.5.29.17', critical: false, value: sequence(der(0x82, utf8(name))) }, extendedKeyUsage(['1.3.6.1.5.5.7.3.1'])] });
  const server = await new Loopback(handler, { key: pemOf(b.pkcs8, 'PRIVATE KEY'), cert: pemOf(leaf.certificate) }).start();
  running.push(server);
  return { server, ca: pemOf(root.certificate) };
}
const call = { method: 'POST', path: '/', headers: { 'x-y': 'z' }, body: '{"ü":1}' } as const;
const through = ({ server, ca }: Awaited<ReturnType<typeof serve>>, change: Partial<Service> = {}): Service => ({ origin: `https://${HOST}`, road: { host: '127.0.0.1', port: server.port }, ca, ...change });

test('over the bridge: the name is the service\'s, in the certificate and in the request', async () => {
  const served = await serve(HOST);
  const answer = await ask(through(served), call, held(0).around);
  expect(answer.status).toBe(200);
  expect(served.server.heard[0]).toMatchObject({ method: 'POST', path: '/', body: '{"ü":1}', headers: { host: HOST, 'content-length': '8', 'x-y': 'z', 'accept-encoding': 'identity' } });
});

describe('nothing is sent', () => {
  test.each<[string, string, Partial<Service>, string]>([
    ['to a certificate of another name', 'evil.example', {}, 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['to a certificate under no public root', HOST, { ca: undefined as never }, 'UNABLE_TO_'],
  ])('%s', async (_, name, change, reason) => {
    const served = await serve(name);
    const service = through(served, change);
    await expect(ask(change.ca === undefined && 'ca' in change ? { origin: service.origin, road: service.road as never } : service, call, held(0).around)).rejects.toMatchObject({ code: 'KEY_SEALER_UNAVAILABLE', message: expect.stringContaining(reason) });
    expect(served.server.heard).toEqual([]);
  });
  test('to a server without TLS', async () => {
    const plain = await new Loopback(() => json(200, {})).start();
    running.push(plain);
    await expect(ask({ origin: `https://${HOST}`, road: { host: '127.0.0.1', port: plain.port } }, call, held(0).around)).rejects.toMatchObject({ code: 'KEY_SEALER_UNAVAILABLE' });
    expect(plain.heard).toEqual([]);
  });
  test('by a path that leads to another origin', async () => {
    const [own, other] = await Promise.all([new Loopback(() => json(200, {})).start(), new Loopback(() => json(200, {})).start()]);
    running.push(own, other);
    for (const path of [`//127.0.0.1:${other.port}/`, `${other.origin}/`]) await expect(ask({ origin: own.origin }, { ...call, path }, held(0).around)).rejects.toMatchObject({ code: 'KEY_SEALER_UNAVAILABLE' });
    expect([...own.heard, ...other.heard]).toEqual([]);
  });
});

test('a redirect is an answer, and not followed', async () => {
  const plain = await new Loopback(() => ({ status: 302, body: '', headers: { location: 'http://127.0.0.1:1/' } })).start();
  running.push(plain);
  expect((await ask({ origin: plain.origin }, call, held(0).around)).status).toBe(302);
  expect(plain.heard.length).toBe(1);
});

test('an answer in another form says nothing of what was there', () => {
  const secret = { status: 200, code: '', body: utf8('{"token":"very secret"}') };
  expect(() => read({ parse: () => { throw new Error('very secret'); } }, secret, 'x.y')).toThrow(expect.objectContaining({ code: 'KEY_SEALER_ANSWER', message: expect.not.stringContaining('very secret') }));
});

/** A hostile gateway in front of the client: it has every document that ever went by, and no key. What tests/client shows in one direction is shown here in the other. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { b64u, bytes, fromB64u, utf8 } from '../../attestation/bytes.ts';
import { createApi } from '../../workloads/client/api.ts';
import { countPicture, resumeJob } from '../../workloads/client/count.ts';
import * as esdk from '../../workloads/client/esdk-node.ts';
import { encryptionKey, newManifestRequest, type VerifiedManifest, verifyManifest } from '../../workloads/client/manifest.ts';
import { openResult, type ResultEvidence, type Sent, verifyResult } from '../../workloads/client/result.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import { memoryJobs } from '../../workloads/client/store.ts';
import { generateReceivingKey, seal } from '../../workloads/protocol/hpke.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { resultAad, resultInfo } from '../../workloads/protocol/labels.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';
import type { Job, SessionPayload } from '../../workloads/protocol/messages.ts';
import { fakeApi, type Lies } from '../client/fake-api.ts';
import { CELL, type CounterSession, createFixture, type Fixture, NOW, TENANT, ZONE } from '../client/fixture.ts';
import { gradient } from '../counter/pictures.ts';
import { codesOf } from '../protocol/refusals.ts';
import { respelled } from './forge.ts';
import { cpuMs } from '../cpu.ts';

let f: Fixture;
let picture: Uint8Array;
beforeAll(async () => {
  f = await createFixture();
  picture = new Uint8Array(await gradient(64, 48).png().toBuffer());
});
afterAll(() => f.dispose());

const audience = 'https://client.example';
const expected = () => ({ ownerKey: f.owner.publicKey, tenant: TENANT, zone: ZONE });
const verify = (request: ReturnType<typeof newManifestRequest>, response: Awaited<ReturnType<Fixture['respond']>>, seen = memorySeen()) => verifyManifest({ ...expected(), request, response, now: f.now, seen });
const client = (lies: Lies = {}) => ({ ...expected(), api: fakeApi(f, lies), seen: memorySeen(), jobs: memoryJobs(), audience, now: () => f.now * 1000, esdk, classification: 'confidential' as const, bytes: picture });
/** What a whole count is refused with. */
const counted = (lies: Lies) => codesOf(() => countPicture(client(lies)));

describe('documents', () => {
  it('an old manifest whose plain fields were rewritten to answer the new question', async () => {
    const [old, asked] = [newManifestRequest(audience), newManifestRequest(audience)];
    const response = await f.respond(old);
    const binding = { ...response.binding, challenge_id: asked.challenge_id, nonce: asked.nonce };
    expect(await codesOf(() => verify(asked, { ...response, binding }))).toEqual(['NONCE_MISMATCH', 'BINDING_MISMATCH']);
  });

  it('an older policy and directory that a genuine broker, started on a rolled-back database, vouches for', async () => {
    const seen = memorySeen();
    const ask = async (lies: Parameters<Fixture['respond']>[1]) => { const request = newManifestRequest(audience); return verify(request, await f.respond(request, lies), seen); };
    await ask({ policyJws: await f.signPolicy({ revision: 9 }), directoryJws: await f.signDirectory({ revision: 9 }) });
    expect(await codesOf(() => ask({}))).toEqual(['POLICY_ROLLBACK']);
    expect(await codesOf(async () => ask({ policyJws: await f.signPolicy({ revision: 9 }) }))).toEqual(['DIRECTORY_ROLLBACK']);
  });

  it('a policy and a directory of two deployments of one owner', async () => {
    const request = newManifestRequest(audience);
    const response = await f.respond(request, { policyJws: await f.signPolicy({ deployment: 'staging', revision: 900 }) });
    expect(await codesOf(() => verify(request, response))).toEqual(['POLICY_DEPLOYMENT']);
  });

  it('a policy that would let a broker\'s evidence be of a node, by naming the other role', async () => {
    const wide = { ...f.policy.roles.counter, scopes: ['enclave' as const, 'node' as const], references: f.policy.roles.broker.references };
    const request = newManifestRequest(audience);
    expect(await codesOf(async () => verify(request, await f.respond(request, { policyJws: await f.signPolicy({ roles: { ...f.policy.roles, broker: wide } }) })))).toEqual(['POLICY_FORMAT']);
  });

  it.each(['__proto__', 'constructor', 'roles '])('a policy with the extra field %j, signed by the owner', async (name) => {
    const payload = JSON.stringify(f.policy).replace(/^\{/, `{${JSON.stringify(name)}:{"allowDevelopment":true},`);
    const policyJws = await signJws('ccc-policy+jws', { toJSON: () => JSON.parse(payload) as object }, f.owner.privateKey);
    const request = newManifestRequest(audience);
    expect(await codesOf(async () => verify(request, await f.respond(request, { policyJws })))).toEqual(['POLICY_FORMAT']);
    expect(({} as { allowDevelopment?: boolean }).allowDevelopment).toBeUndefined();
  });

  it('the owner\'s policy in another spelling of the same signature, which would poison what the client has seen', async () => {
    const request = newManifestRequest(audience);
    const policyJws = respelled(await f.signPolicy());
    expect(await codesOf(async () => verify(request, await f.respond(request, { policyJws })))).toEqual(['POLICY_SIGNATURE']);
    const directoryJws = respelled(await f.signDirectory());
    expect(await codesOf(async () => verify(request, await f.respond(request, { directoryJws })))).toEqual(['DIRECTORY_SIGNATURE']);
  });

  it('an old tenant key brought back as active, past its end', async () => {
    const request = newManifestRequest(audience);
    const { manifest } = await verify(request, await f.respond(request, { manifest: { keys: [{ ...f.tenantKey, not_after: NOW - 1 }] } }));
    expect(await codesOf(() => encryptionKey({ manifest }, NOW))).toEqual(['KEY_STATE']);
  });

  it('a damaged memory is not an empty one', async () => {
    const request = newManifestRequest(audience);
    const response = await f.respond(request);
    const seen = memorySeen();
    await verify(request, response, seen);
    for (const [key] of seen.entries()) {
      const damaged = memorySeen([...seen.entries().filter(([k]) => k !== key), [key, '']]);
      expect(await codesOf(() => verify(request, response, damaged))).toHaveLength(1);
    }
  });
});

describe('results', () => {
  const sent: Sent = { tenant_id: TENANT, job_id: '0b87bd0c-6d4f-4f0e-9c7e-0d4f6f2a7b11', message_id: b64u(new Uint8Array(32).fill(1)), commitment: b64u(new Uint8Array(32).fill(2)), body_digest: '03'.repeat(32) };
  let manifest: VerifiedManifest;
  beforeAll(async () => {
    const request = newManifestRequest(audience);
    manifest = await verify(request, await f.respond(request));
  });
  const evidenceOf = async (session: CounterSession): Promise<ResultEvidence> => ({ result: await f.signResult(f.resultPayload(sent, session)), counter: session, receipts: [await f.brokerReceipt(sent, session)] });

  it('of a counter that attested when the owner\'s policy had ended, however good the stored manifest was', async () => {
    const last = { policy: manifest.policy.policy.notAfter };
    try {
      f.now = last.policy + 30;
      await expect(verifyResult(await evidenceOf(await f.session()), sent, manifest, f.now)).resolves.toBeDefined();
      f.now = last.policy + 90;
      expect(await codesOf(async () => verifyResult(await evidenceOf(await f.session()), sent, manifest, f.now))).toEqual(['POLICY_EXPIRED']);
    } finally {
      f.now = NOW;
    }
  });

  it('with the counter\'s session, a receipt or the result itself in the place of the EAR', async () => {
    const session = await f.session();
    const payload: SessionPayload = {
      iss: f.broker.instance, sid: b64u(new Uint8Array(16)), role: 'counter', cell: CELL, cnf: { jwk: { kty: 'OKP', crv: 'Ed25519', x: session.binding.signing_key } }, claims_digest: session.claimsDigest,
      policy_digest: session.binding.policy_digest, policy_revision: 7, iat: NOW, exp: NOW + 600,
    };
    const good = await evidenceOf(session);
    for (const ear of [await signJws('ccc-session+jwt', payload, f.broker.signing.privateKey), good.receipts[0] as string, good.result]) {
      expect(await codesOf(() => verifyResult({ ...good, counter: { ...session, ear } }, sent, manifest, NOW))).toEqual(['RESULT_SESSION']);
    }
    // The EAR's content under another type, by the broker's own key.
    const content = JSON.parse(new TextDecoder().decode(fromB64u(session.ear.split('.')[1] as string))) as object;
    const retyped = await signJws('ccc-session+jwt', content, f.broker.signing.privateKey);
    expect(await codesOf(() => verifyResult({ ...good, counter: { ...session, ear: retyped } }, sent, manifest, NOW))).toEqual(['SIG_INVALID']);
  });

  it('that were altered anywhere in their seal', async () => {
    const key = await generateReceivingKey();
    const { result } = await evidenceOf(await f.session());
    const sealed = await f.sealResult(result, key.publicKey, sent);
    for (const part of ['enc', 'ct'] as const) {
      const raw = fromB64u(sealed[part]);
      for (const at of [0, raw.length >> 1, raw.length - 1]) {
        const altered = bytes(raw);
        altered[at] = (altered[at] as number) ^ 0x10;
        expect(await codesOf(() => openResult({ ...sealed, [part]: b64u(altered) }, key.privateKey, sent.tenant_id, sent.job_id)), `${part} ${at}`).toEqual(['SEAL_OPEN']);
      }
    }
    expect(await codesOf(() => openResult({ enc: sealed.ct.slice(0, 1494), ct: sealed.enc }, key.privateKey, sent.tenant_id, sent.job_id))).toEqual(['SEAL_OPEN']);
  });

  it('made of 64 KB of spaces, which anybody can seal to a public key, cost no time', async () => {
    const key = await generateReceivingKey();
    const sealed = await seal(key.publicKey, resultInfo(), resultAad(sent.tenant_id, sent.job_id), utf8(`${' '.repeat(65_000)}x`));
    const began = cpuMs();
    expect(await codesOf(() => openResult(sealed, key.privateKey, sent.tenant_id, sent.job_id))).toEqual(['RESULT_FORMAT']);
    expect(cpuMs() - began).toBeLessThan(500);
  });
});

describe('a whole count', () => {
  const rejected = { outcome: 'rejected' as const, code: 'IMAGE_CORRUPT', result: undefined };
  it.each([
    ['rejected', 'failed', rejected], ['rejected', 'completed', rejected], ['failed', 'rejected', { ...rejected, outcome: 'failed' as const }], ['completed', 'failed', {}], ['completed', 'rejected', {}],
  ] as const)('a %s verdict passed off as %s', async (_, state, payload) => {
    expect(await counted({ payload, job: (job) => ({ ...job, state }) })).toEqual(['RESULT_OUTCOME']);
  });

  it('a completed job that also has an error: the gateway\'s word is not repeated', async () => {
    const { code, outcome, counted: cats } = await countPicture(client({ job: (job) => ({ ...job, code: 'INTERNAL' }) }));
    expect([outcome, code, cats]).toEqual(['completed', undefined, 2]);
  });

  it('receipts dropped, of another job, of another broker under this one\'s name', async () => {
    const stranger = await generateSigningKey();
    const sentOf = (job: Job) => ({ tenant_id: TENANT, job_id: job.job_id, message_id: b64u(new Uint8Array(32)), commitment: '', body_digest: '' });
    expect(await counted({ job: (job) => ({ ...job, receipts: [] }) })).toEqual(['RECEIPT_BROKER']);
    expect(await counted({ job: ({ receipts: _, ...job }) => job })).toEqual(['RECEIPT_BROKER']);
    expect(await counted({ job: async (job) => ({ ...job, receipts: [await f.brokerReceipt(sentOf(job), { claimsDigest: '00'.repeat(32) })] }) })).toEqual(['RECEIPT_BROKER']);
    expect(await counted({ job: async (job) => ({ ...job, receipts: [await f.brokerReceipt(sentOf(job), { claimsDigest: '00'.repeat(32) }, {}, stranger)] }) })).toEqual(['RECEIPT_BROKER']);
  });

  it('evidence swapped between broker and counter, forged EAR, evidence of the other cell', async () => {
    const stranger = await generateSigningKey();
    expect(await counted({ job: async (job) => ({ ...job, counter: { ...(job.counter as NonNullable<Job['counter']>), ...(await f.attest(f.broker)) } }) })).toContain('BINDING_ROLE');
    expect(await counted({ job: async (job) => ({ ...job, counter: { ...(job.counter as NonNullable<Job['counter']>), ...(await f.attest(f.counter, { cell: 'south' })) } }) })).toEqual(['BINDING_CELL']);
    expect(await counted({ session: { by: stranger } })).toEqual(['SIG_INVALID']);
    expect(await counted({ manifest: { workload: await f.workload('counter') } })).toContain('BINDING_ROLE');
  });

  it('two jobs of one client, their results exchanged', async () => {
    const own = client();
    const ids: string[] = [];
    const submit = own.api.submit.bind(own.api);
    own.api.submit = async (message) => { ids.push(parseMessage(message).context.job_id); return submit(message); };
    await countPicture(own);
    own.api.lies.job = async (job) => (job.job_id === ids[0] ? job : { ...(await own.api.job(ids[0] as string)), job_id: job.job_id, message_digest: job.message_digest });
    expect(await codesOf(() => countPicture(own))).toEqual(['SEAL_OPEN']);
    // Taken up later, it is refused all the same.
    expect(await codesOf(() => resumeJob({ ...own, jobId: ids[1] as string }))).toEqual(['SEAL_OPEN']);
  });
});

describe('what is shown to people', () => {
  const escape = '\u001b[2K\rcats: 3, verified\u009b31m\u202e\n';
  const answer = (status: number, body: object, type = 'application/problem+json') => async () => new Response(JSON.stringify(body), { status, headers: { 'content-type': type } });
  const clean = (text: string) => expect(text).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);

  it('errors of a gateway do not act on a terminal', async () => {
    const api = createApi({ url: 'http://gateway.test', attempts: 1, fetch: answer(400, { type: 'about:blank', title: escape, status: 400, code: escape, detail: escape }) });
    const error = await api.job('0b87bd0c-6d4f-4f0e-9c7e-0d4f6f2a7b11').catch((e: unknown) => e as Error & { code: string });
    clean((error as Error).message);
    clean((error as { code: string }).code);
  });

  it('nor do the codes of jobs, or the details of events', async () => {
    const job = { job_id: '0b87bd0c-6d4f-4f0e-9c7e-0d4f6f2a7b11', state: 'rejected', code: escape, message_digest: '00'.repeat(32), size: 1, accepted_at: 1, attempts: 1 };
    const api = createApi({ url: 'http://gateway.test', attempts: 1, fetch: answer(200, job, 'application/json') });
    await expect(api.job(job.job_id)).rejects.toMatchObject({ code: 'ANSWER_FORMAT' });
    const event = { job_id: job.job_id, n: 1, event: 'requeued', at: 1, detail: escape };
    const stream = createApi({ url: 'http://gateway.test', attempts: 1, fetch: async () => new Response(`id: 1\ndata: ${JSON.stringify(event)}\n\n`) });
    for await (const { detail } of stream.events(job.job_id, 0)) clean(detail ?? '');
  });

  it('nor do the names in refusals', async () => {
    const request = newManifestRequest(audience);
    const response = await f.respond(request, { binding: { audience: escape.slice(0, 20) } });
    const error = await verify(request, response).catch((e: unknown) => e as Error);
    expect((error as Error).message).toContain('BINDING_AUDIENCE');
    for (const line of (error as Error).message.split('\n')) clean(line);
  });
});

/** A real TPM 2.0 in software for each test file, and the commands that only tests send: they make a machine of it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bytes, concat } from '../../attestation/bytes.ts';
import { HIERARCHY, Tpm } from '../../attestation/devices/tpm2.ts';
import { tpmSocket } from '../../attestation/devices/tpm-transport.ts';
import { sized, u16, u32 } from '../../attestation/devices/wire.ts';
import { BANKS, parseEventLog } from '../../attestation/formats/tcg-event-log.ts';

export const HAS_SWTPM = spawnSync('swtpm', ['--version']).status === 0;
/** Without swtpm these tests are skipped where people see it; CI, which brings it, fails. */
export const SKIP_SWTPM = !HAS_SWTPM && process.env['REQUIRE_ENGINES'] !== '1';

export interface Swtpm { readonly tpm: Tpm; readonly socket: string; stop(): Promise<void> }

export async function startSwtpm(): Promise<Swtpm> {
  if (!HAS_SWTPM) throw new Error('swtpm is not installed: apt-get install swtpm swtpm-tools');
  const folder = await mkdtemp(join(tmpdir(), 'ccc-swtpm-'));
  const [socket, control] = [join(folder, 'tpm'), join(folder, 'ctrl')];
  const child: ChildProcess = spawn('swtpm', ['socket', '--tpm2', '--tpmstate', `dir=${folder}`, '--server', `type=unixio,path=${socket}`, '--ctrl', `type=unixio,path=${control}`, '--flags', 'not-need-init,startup-clear', '--terminate'], { stdio: ['ignore', 'ignore', 'pipe'] });
  // A test file that fails half-way must end nevertheless
  child.unref();
  let log = '';
  child.stderr?.on('data', (part: Buffer) => { log += part.toString(); });
  const ended = new Promise<void>((resolve) => { child.once('exit', () => resolve()); });
  for (let i = 0; !existsSync(socket); i++) {
    if (i === 400 || child.exitCode !== null) throw new Error(`swtpm does not start: ${log}`);
    await new Promise((resolve) => { setTimeout(resolve, 10); });
  }
  (child.stderr as Socket | null)?.unref();
  const tpm = new Tpm(await tpmSocket({ path: socket }));
  return {
    tpm, socket,
    stop: async () => {
      await tpm.close();
      child.kill();
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function extend(tpm: Tpm, register: number, digest: Bytes, bank: 'sha256' | 'sha384' = 'sha256'): Promise<void> {
  (await tpm.command('PCR_Extend', { handles: [register], authorized: 1, parameters: concat(u32(1), u16(BANKS[bank].id), digest) })).end('');
}

/** What firmware does while it boots: each digest of the log into its register. */
export async function measureBoot(tpm: Tpm, log: Bytes): Promise<void> {
  for (const event of parseEventLog(log, 'log').events) if (event.type !== 3) await extend(tpm, event.register, event.digests.get('sha256') as Bytes);
}

/** TPMA_NV: OWNERWRITE, AUTHWRITE; OWNERREAD or AUTHREAD; NO_DA. */
const WRITE = 0x0000_0006;
export const OWNER_READ = 0x0202_0000;
export const AUTH_READ = 0x0204_0000;

export async function defineIndex(tpm: Tpm, index: number, size: number, read = AUTH_READ): Promise<void> {
  await tpm.command('NV_DefineSpace', { handles: [HIERARCHY.owner], authorized: 1, parameters: concat(u16(0), sized(concat(u32(index), u16(0x0b), u32(read + WRITE), u16(0), u16(size)))) });
}

/** Defines an index and writes it, in parts as a TPM takes them. @param area its size, when larger than the data */
export async function storeIndex(tpm: Tpm, index: number, data: Bytes, area = data.length, read = AUTH_READ): Promise<void> {
  await defineIndex(tpm, index, area, read);
  const padded = concat(data, new Uint8Array(area - data.length));
  for (let at = 0; at < area; at += 512) await tpm.command('NV_Write', { handles: [index, index], authorized: 1, parameters: concat(sized(padded.subarray(at, at + 512)), u16(at)) });
}

/** A key that stays, under a persistent handle. @returns its public area */
export async function persist(tpm: Tpm, template: Bytes, handle: number): Promise<Bytes> {
  const key = await tpm.createPrimary(HIERARCHY.owner, template);
  await tpm.command('EvictControl', { handles: [HIERARCHY.owner, key.handle], authorized: 1, parameters: u32(handle) });
  await tpm.flush(key.handle);
  return key.area;
}

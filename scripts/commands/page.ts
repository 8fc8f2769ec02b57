import { cellFolder } from '../cell/folder.ts';
import { pageAddress, readProfile, type ProfileOptions } from '../cell/profile.ts';
import { stopSignal, untilStopped } from '../cli/interrupt.ts';
import { EXIT, json, progress, say } from '../cli/output.ts';
import { buildPage } from '../page/build.ts';
import { servePage } from '../page/serve.ts';

export async function page(options: ProfileOptions & { data?: string; port?: number; json?: boolean }): Promise<number> {
  const profile = await readProfile(cellFolder(options.data), options);
  const live = progress('page');
  await buildPage({ onProgress: live.update });
  live.done();
  const stop = stopSignal();
  const served = await servePage({ port: options.port ?? 0, gatewayUrl: profile.url, ownerKey: profile.ownerKey, tenant: profile.tenant, zone: profile.zone, cell: profile.cell });
  const url = pageAddress(served.url, profile);
  if (options.json) json({ ok: true, url });
  else say(`${url}\n\nThis page is code from your own machine and trusts only the pinned owner key. Ctrl-C ends it.`);
  await untilStopped(stop);
  await served.close();
  return EXIT.ok;
}

/** Counts a list of pictures, two at a time, with one live line; shared by `ccc count` and the demo. */
import { dirname, join } from 'node:path';
import type { CollateralSupply } from '../../attestation/collateral/collateral.ts';
import { PUBLIC_ENDPOINTS } from '../../attestation/collateral/endpoints.ts';
import { createSupply } from '../../attestation/collateral/supply.ts';
import type { RefusalCode } from '../../attestation/refusal.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { type Api, ApiError, createApi } from '../../workloads/client/api.ts';
import { createCellsApi } from '../../workloads/client/cells.ts';
import { type ClientOptions, type Counted, countPicture } from '../../workloads/client/count.ts';
import * as esdk from '../../workloads/client/esdk-node.ts';
import { hasObservers } from '../../workloads/client/manifest.ts';
import { fileJobs, fileSeen } from '../../workloads/client/store-node.ts';
import { endpointsOf } from '../../workloads/protocol/cell.ts';
import type { EncryptionContext } from '../../workloads/protocol/context.ts';
import { verifyDirectory } from '../../workloads/protocol/documents.ts';
import type { CellDirectory } from '../../workloads/protocol/owner.ts';
import { at, readOptional, writeWhole } from '../cell/folder.ts';
import { pinnedOwner, type Profile } from '../cell/profile.ts';
import { note } from './output.ts';

export interface Picture { readonly file: string; readonly bytes: Uint8Array; readonly expected?: number; readonly hard?: boolean }
export interface Line {
  readonly file: string;
  readonly expected?: number;
  readonly hard?: boolean;
  readonly counted?: Counted;
  readonly error?: { readonly code: RefusalCode | string; readonly message: string; readonly refused: boolean };
  readonly ms: number;
}

/** Not a host name: the audience of the broker's evidence, so that it is no evidence for anybody else. */
const AUDIENCE = 'ccc-cli';
const AT_ONCE = 2;

/** The owner's cell directory as this client saw it last, if it is still good and its cells lease epochs: then any of them may answer, and no first one is needed. */
async function knownDirectory(file: string, profile: Profile): Promise<CellDirectory | undefined> {
  const jws = await readOptional(file);
  if (jws === undefined) return undefined;
  const { directory } = await verifyDirectory(jws.trim(), pinnedOwner(profile), Math.floor(Date.now() / 1000)).catch(() => ({ directory: undefined }));
  return directory !== undefined && hasObservers(directory) ? directory : undefined;
}

/** Of one gateway, or of all cells of the directory once it was seen. */
export async function clientApi(folder: string, profile: Profile, options: { attempts?: number } = {}): Promise<{ api: Api; cell: string | undefined }> {
  const directory = await knownDirectory(at(folder).clientDirectory, profile);
  if (directory === undefined) return { api: createApi({ url: profile.url, apiKey: profile.apiKey, ...options }), cell: profile.cell };
  return { api: createCellsApi({ directory, tenant: profile.tenant, first: profile.cell, apiKey: profile.apiKey, onMove: (cell) => note(`now with cell ${cell}`) }), cell: undefined };
}

/** @param offline what a bundle has, instead of asking vendors */
export async function clientOptions(folder: string, profile: Profile, signal?: AbortSignal, offline?: CollateralSupply): Promise<Omit<ClientOptions, 'onStep'>> {
  const own = dirname(at(folder).profile);
  const endpoints = profile.collateral === undefined ? PUBLIC_ENDPOINTS : endpointsOf(profile);
  const collateral = offline ?? createSupply({ folder: join(own, 'collateral'), endpoints, now: Date.now, attempts: 2 }).collect;
  return {
    ...await clientApi(folder, profile), seen: fileSeen(own), jobs: fileJobs(own), audience: AUDIENCE, now: Date.now,
    ownerKey: pinnedOwner(profile), tenant: profile.tenant, zone: profile.zone, collateral, ...(signal === undefined ? {} : { signal }),
    onManifest: async ({ directory }) => { if (hasObservers(directory.directory)) await writeWhole(at(folder).clientDirectory, `${directory.jws}\n`); },
  };
}

export function lineError(error: unknown): NonNullable<Line['error']> {
  if (error instanceof Refusal) return { code: error.code, message: error.message, refused: true };
  if (error instanceof ApiError) return { code: error.code, message: error.message, refused: false };
  return { code: (error as NodeJS.ErrnoException).code ?? 'INTERNAL', message: error instanceof Error ? error.message : String(error), refused: false };
}

export async function countAll(
  pictures: readonly Picture[],
  client: Omit<ClientOptions, 'onStep'>,
  classification: EncryptionContext['data_classification'],
  onProgress: (text: string) => void,
  onDone: (line: Line) => Promise<void> | void = () => {},
): Promise<Line[]> {
  const lines: Line[] = new Array<Line>(pictures.length);
  const doing = new Map<string, string>();
  let finished = 0;
  const show = () => onProgress(`${finished}/${pictures.length} verified  ${[...doing].map(([file, step]) => `${file}: ${step}`).join('  ')}`);
  const queue = pictures.map((picture, index) => ({ picture, index }));
  const work = async () => {
    for (let next = queue.shift(); next !== undefined && client.signal?.aborted !== true; next = queue.shift()) {
      const { file, bytes, expected, hard } = next.picture;
      const began = performance.now();
      const about = { file, ...(expected === undefined ? {} : { expected }), ...(hard ? { hard } : {}) };
      let line: Line;
      try {
        const counted = await countPicture({ ...client, esdk, classification, bytes, onStep: ({ step, status, detail }) => { doing.set(file, detail.startsWith('back in the queue') ? detail : step); if (status !== 'pass' || step !== 'receipt') show(); } });
        line = { ...about, counted, ms: Math.round(performance.now() - began) };
      } catch (error) {
        line = { ...about, error: lineError(error), ms: Math.round(performance.now() - began) };
      }
      lines[next.index] = line;
      doing.delete(file);
      finished += 1;
      show();
      await onDone(line);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return lines.filter((l) => l !== undefined);
}

/** Expected but not found, or another number: not ok. Hard ones and the user's own pictures have no expectation. */
export const lineOk = (line: Line): boolean => line.counted?.outcome === 'completed' && (line.expected === undefined || line.expected === line.counted.counted);

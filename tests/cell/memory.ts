/** What lies in the memory of a process: its pages as /proc/PID/mem shows them (proc(5), proc_pid_pagemap(5)). */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { Hit, LeakSearch } from '../../scripts/cell/leak-search.ts';

const PAGE = 4096;
const CHUNK = 1024 * PAGE;
/** A hexadecimal window is 64 bytes long: chunks overlap by one byte less. */
const OVERLAP = 63;
/** Pages that are in memory or in the swap; others hold nothing of this process. */
const HELD = 0xc0;

interface Mapping { readonly start: number; readonly end: number; readonly name: string }

function readableMappings(pid: number): Mapping[] {
  return readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n').flatMap((line) => {
    const found = /^([0-9a-f]+)-([0-9a-f]+) (r\S{3}) \S+ \S+ \S+\s*(.*)$/.exec(line);
    // What cannot be written and is mapped from a file is that file: programs and libraries.
    if (found === null || /^\[(vvar|vsyscall)/.test(found[4] as string) || (!(found[3] as string).startsWith('rw') && (found[4] as string).startsWith('/'))) return [];
    return [{ start: Number.parseInt(found[1] as string, 16), end: Number.parseInt(found[2] as string, 16), name: found[4] as string }];
  });
}

/** Runs of pages that are held, as byte ranges. */
function* heldRanges(pagemap: number, { start, end }: Mapping): Generator<{ from: number; to: number }> {
  const entries = Buffer.alloc(8 * 4096);
  let from: number | undefined;
  for (let at = start; at < end;) {
    const wanted = Math.min((end - at) / PAGE, entries.length / 8);
    const got = readSync(pagemap, entries, 0, wanted * 8, (at / PAGE) * 8) / 8;
    if (got === 0) break;
    for (let i = 0; i < got; i++, at += PAGE) {
      const held = ((entries[8 * i + 7] as number) & HELD) !== 0;
      if (held && from === undefined) from = at;
      if (!held && from !== undefined) {
        yield { from, to: at };
        from = undefined;
      }
    }
  }
  if (from !== undefined) yield { from, to: end };
}

export interface MemorySearch { readonly bytes: number; readonly hit: (Hit & { readonly mapping: string }) | undefined }

/** Searches each held page of each readable mapping that the process itself could have filled, until something is found. @throws Error when there is nothing to read: no search is no good news */
export function searchMemory(pid: number, search: LeakSearch): MemorySearch {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  const chunk = Buffer.allocUnsafe(OVERLAP + CHUNK);
  let bytes = 0;
  try {
    for (const mapping of readableMappings(pid)) {
      for (const { from, to } of heldRanges(pagemap, mapping)) {
        let kept = 0;
        for (let at = from; at < to;) {
          let got: number;
          try {
            got = readSync(memory, chunk, kept, Math.min(CHUNK, to - at), at);
          } catch {
            break; // unmapped meanwhile, or memory of a device
          }
          if (got === 0) break;
          bytes += got;
          const hit = search.search(chunk.subarray(0, kept + got));
          if (hit !== undefined) return { bytes, hit: { ...hit, mapping: mapping.name } };
          at += got;
          const tail = Math.min(OVERLAP, kept + got);
          chunk.copyWithin(0, kept + got - tail, kept + got);
          kept = tail;
        }
      }
    }
  } finally {
    closeSync(memory);
    closeSync(pagemap);
  }
  if (bytes < 10_000_000) throw new Error(`only ${bytes} bytes of process ${pid} could be read`);
  return { bytes, hit: undefined };
}

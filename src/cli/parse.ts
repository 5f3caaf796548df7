/** Values of options: each parser throws a one-line `UsageError` that says what would be right. */
import { UsageError } from '../base/errors.js';
import { GIB, KIB, MIB, PAGE_SIZE } from '../base/units.js';
import { TRACE_KINDS, type TraceKind } from '../runtime/trace.js';
import type { ClockKind } from '../vmm/config.js';

const UNITS: Readonly<Record<string, number>> = { '': MIB, K: KIB, M: MIB, G: GIB, T: 1024 * GIB };

/** A size of memory as in `512M`, `2G`; a number alone is MiB. In bytes, whole pages. */
export function parseMemory(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text);
  if (!match) throw new UsageError(`--memory ${text} is not a size of memory; write it as 512M or 2G`);
  const size = Number(match[1]) * UNITS[match[2].toUpperCase()];
  if (size > Number.MAX_SAFE_INTEGER) throw new UsageError(`--memory ${text} is more than any machine has`);
  if (size % PAGE_SIZE !== 0) throw new UsageError(`--memory ${text} is not a whole number of pages of 4 KiB`);
  if (size < MIB) throw new UsageError(`--memory ${text} is too small: a PC has at least 1M`);
  return size;
}

/** `file[,words]`: a multiboot module and what it is told. */
export function parseModule(text: string): { readonly path: string; readonly words: string | undefined } {
  const at = /(?<!,),(?!,)/.exec(text)?.index ?? text.length;
  const path = text.slice(0, at).replaceAll(',,', ',');
  if (path === '') throw new UsageError(`--module ${text} names no file`);
  return { path, words: at < text.length ? text.slice(at + 1) : undefined };
}

/** Words between commas; a comma that is written twice is one of the word. */
export function splitCommas(text: string): string[] {
  return text.split(/(?<!,),(?!,)/).map((part) => part.replaceAll(',,', ','));
}

export function parseClock(text: string): ClockKind {
  if (text === 'host' || text === 'virtual') return text;
  throw new UsageError(`unknown clock "${text}"; there are host and virtual`);
}

/** `tcp:[host:]port`: where gdb connects to; this machine alone unless a host is named. */
export function parseGdb(text: string): { readonly host: string; readonly port: number } {
  const match = /^tcp:(?:(?<host>[^:]*|\[[^\]]*\]):)?(?<port>\d+)$/.exec(text);
  const port = Number(match?.groups?.['port']);
  if (!match || port > 65535) throw new UsageError(`--gdb ${text} is no address; write it as tcp:1234`);
  const host = match.groups?.['host']?.replace(/^\[|\]$/g, '');
  return { host: host === undefined || host === '' ? '127.0.0.1' : host, port };
}

/** `exec,int,mmio,pio`, or some of them. */
export function parseTrace(text: string): TraceKind[] {
  return text.split(',').map((word) => {
    const kind = TRACE_KINDS.find((known) => known === word);
    if (kind === undefined)
      throw new UsageError(`--trace does not know "${word}"; there are ${TRACE_KINDS.join(', ')}`);
    return kind;
  });
}

/** A choice that is fixed so far. */
export function parseOnly(what: string, only: string, text: string): void {
  if (text !== only) throw new UsageError(`unknown ${what} "${text}"; there is ${only}`);
}

export function parseCpuCount(text: string): void {
  if (!/^\d+$/.test(text) || Number(text) === 0) throw new UsageError(`--smp ${text} is not a number of CPUs`);
  if (Number(text) > 1) throw new UsageError(`--smp ${text}: more than one CPU is not available yet`);
}

/** Values of options: each parser throws a one-line `UsageError` that says what would be right. */
import { UsageError } from '../base/errors.js';
import { GIB, KIB, MIB, PAGE_SIZE } from '../base/units.js';
import { MAX_VCPUS } from '../memory/layout.js';
import type { QmpAddress } from '../runtime/node/qmp-server.js';
import { TRACE_KINDS, type TraceKind } from '../runtime/trace-kinds.js';
import { MACHINES, type ClockKind, type MachineKind } from '../vmm/config.js';

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

/** A comma that stands alone, or behind others that are written twice. */
const SEPARATOR = /(?<=(?:^|[^,])(?:,,)*),(?!,)/;

/** `file[,words]`: a multiboot module and what it is told. */
export function parseModule(text: string): { readonly path: string; readonly words: string | undefined } {
  const at = SEPARATOR.exec(text)?.index ?? text.length;
  const path = text.slice(0, at).replaceAll(',,', ',');
  if (path === '') throw new UsageError(`--module ${text} names no file`);
  return { path, words: at < text.length ? text.slice(at + 1) : undefined };
}

/** Words between commas; a comma that is written twice is one of the word. */
export function splitCommas(text: string): string[] {
  return text.split(SEPARATOR).map((part) => part.replaceAll(',,', ','));
}

export function parseClock(text: string): ClockKind {
  if (text === 'host' || text === 'virtual') return text;
  throw new UsageError(`unknown clock "${text}"; there are host and virtual`);
}

/** `tcp:[host:]port`: this machine alone unless a host is named. */
function parseTcp(option: string, text: string): { readonly host: string; readonly port: number } {
  const match = /^tcp:(?:(?<host>[^:]*|\[[^\]]*\]):)?(?<port>\d+)$/.exec(text);
  const port = Number(match?.groups?.['port']);
  if (!match || port > 65535) throw new UsageError(`${option} ${text} is no address; write it as tcp:1234`);
  const host = match.groups?.['host']?.replace(/^\[|\]$/g, '');
  return { host: host === undefined || host === '' ? '127.0.0.1' : host, port };
}

/** Where gdb connects to. */
export const parseGdb = (text: string): { readonly host: string; readonly port: number } => parseTcp('--gdb', text);

/** `tcp:[host:]port` or `unix:path`, with QEMU's words `server` and `wait=off`, which say what is so anyway. */
export function parseQmp(text: string): QmpAddress {
  const [address, ...words] = splitCommas(text);
  const unknown = words.find((word) => !['server', 'server=on', 'wait=off', 'nowait'].includes(word));
  if (unknown !== undefined) throw new UsageError(`--qmp does not know "${unknown}"; there are server=on and wait=off`);
  if (!address.startsWith('unix:')) return { kind: 'tcp', ...parseTcp('--qmp', address) };
  const path = address.slice('unix:'.length);
  if (path === '') throw new UsageError(`--qmp ${text} names no socket; write it as unix:PATH`);
  return { kind: 'unix', path };
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

export function parseMachine(text: string): MachineKind {
  const found = MACHINES.find((name) => name === text);
  if (found === undefined) throw new UsageError(`unknown machine "${text}"; there are ${MACHINES.join(', ')}`);
  return found;
}

/** How many virtual CPUs. */
export function parseCpuCount(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) === 0) throw new UsageError(`--smp ${text} is not a number of CPUs`);
  if (Number(text) > MAX_VCPUS) throw new UsageError(`--smp ${text}: a machine has ${String(MAX_VCPUS)} CPUs at most`);
  return Number(text);
}

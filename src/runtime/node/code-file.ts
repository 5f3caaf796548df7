/** What a machine's CPU has made of its guest's code, in a file in memory, which other machines of the process map privately. */
import { HostError } from '../../base/errors.js';
import { PAGE_SIZE } from '../../base/units.js';
import { mapOrRead } from '../../host/node/give-back.js';
import { unite, type PageRange } from '../../host/node/memory-runs.js';
import { memoryFiles } from '../../host/node/native/memory-files.js';
import { writeTo } from '../../host/node/snapshot-file.js';
import type { CarriedCode, Vm } from '../../iface/vcpu.js';

export interface CodeOfBranch {
  /** Of the process, and of whoever has this. */
  readonly fd: number;
  readonly code: CarriedCode;
  /** Pages of the machine's RAM that may have been written to since. */
  readonly stale: readonly PageRange[];
}

export function closeCode(code: CodeOfBranch | undefined): void {
  if (code) memoryFiles?.close(code.fd);
}

function createFile(): number {
  const fd = memoryFiles?.create() ?? -1;
  if (fd < 0) throw new HostError(`no file in memory can be had (error ${-fd})`);
  return fd;
}

export class CodeFile {
  private current: CodeOfBranch | undefined;

  /**
   * For a machine whose memory begins as this one's is, which stands still. `changed`: pages of its RAM that may have been written to since the last time, or
   * since it began. Undefined: the other one begins without.
   */
  branch(vm: Vm, changed: readonly PageRange[]): CodeOfBranch | undefined {
    const { current } = this;
    this.current = undefined;
    this.current = this.take(vm, current, changed);
    if (!this.current) return undefined;
    const fd = memoryFiles?.duplicate(this.current.fd) ?? -1;
    return fd < 0 ? undefined : { ...this.current, fd };
  }

  /** What is current then. */
  private take(vm: Vm, current: CodeOfBranch | undefined, changed: readonly PageRange[]): CodeOfBranch | undefined {
    let fd: number | undefined;
    let length = 0;
    try {
      const code = vm.takeCode?.(current?.code, (bytes) => {
        fd ??= createFile();
        writeTo(fd).write(length, bytes);
        length += bytes.length;
      });
      if (code && fd === undefined && current) return { ...current, stale: unite(current.stale, changed) };
      closeCode(current);
      return code && fd !== undefined ? { fd, code, stale: [] } : undefined;
    } catch (error) {
      closeCode(current);
      if (fd !== undefined) memoryFiles?.close(fd);
      // The host has no room for it: others make it anew.
      if (error instanceof HostError || (error instanceof Error && 'syscall' in error)) return undefined;
      throw error;
    }
  }

  /** A new machine, to whose memory nobody has written, begins with it. It is this one's from now on. */
  adopt(vm: Vm, code: CodeOfBranch): void {
    this.current = code;
    vm.adoptCode?.(code.code, (into, offset) => mapOrRead(into, code.fd, offset));
    for (const { page, count } of code.stale) vm.backingWritten(page * PAGE_SIZE, count * PAGE_SIZE);
  }

  close(): void {
    closeCode(this.current);
    this.current = undefined;
  }
}

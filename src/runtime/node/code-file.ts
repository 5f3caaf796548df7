/** What a machine's CPU has made of its guest's code, in a file in memory, which other machines of the process map privately. */
import { writeSync } from 'node:fs';
import { PAGE_SIZE } from '../../base/units.js';
import { mapOrRead } from '../../host/node/give-back.js';
import { unite, type PageRange } from '../../host/node/memory-runs.js';
import { memoryFiles } from '../../host/node/native/memory-files.js';
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

export class CodeFile {
  private current: CodeOfBranch | undefined;

  /**
   * For a machine whose memory begins as this one's is, which stands still. `changed`: pages of its RAM that may have been written to since the last time, or
   * since it began. Undefined: the other one begins without.
   */
  branch(vm: Vm, changed: readonly PageRange[]): CodeOfBranch | undefined {
    this.current = this.take(vm, changed);
    if (!this.current) return undefined;
    const fd = memoryFiles?.duplicate(this.current.fd) ?? -1;
    return fd < 0 ? undefined : { ...this.current, fd };
  }

  private take(vm: Vm, changed: readonly PageRange[]): CodeOfBranch | undefined {
    const { current } = this;
    let fd: number | undefined;
    try {
      const code = vm.takeCode?.(current?.code, (bytes) => {
        fd ??= memoryFiles?.create() ?? -1;
        for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
      });
      if (code && fd === undefined && current) return { ...current, stale: unite(current.stale, changed) };
      closeCode(current);
      return code && fd !== undefined ? { fd, code, stale: [] } : undefined;
    } catch {
      // The host has no room for it: others make it anew.
      closeCode(current);
      if (fd !== undefined && fd >= 0) memoryFiles?.close(fd);
      return undefined;
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

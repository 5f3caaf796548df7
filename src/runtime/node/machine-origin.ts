/** What a machine begins with: its description, a file that it was saved to, or another machine of this process; and what others begin with that are made of it. */
import { deflate } from '../../host/node/deflate.js';
import { closeLayers, LayeredMemory, type MemoryLayers } from '../../host/node/layered-memory.js';
import { memoryFiles } from '../../host/node/native/memory-files.js';
import { FileSource, writeTo } from '../../host/node/snapshot-file.js';
import { HostError } from '../../base/errors.js';
import type { BootSource } from '../../machine/common/board.js';
import { SnapshotReader, SnapshotWriter, uncompressed } from '../../snapshot/container.js';
import { SnapshotBuffer } from '../../snapshot/snapshot-buffer.js';
import type { MachineHost } from '../../vmm/machine-host.js';
import { VirtualMachine } from '../../vmm/machine.js';
import { readBoot, writeBoot } from '../../vmm/machine-snapshot.js';
import { closeCode, CodeFile, type CodeOfBranch } from './code-file.js';
import type { Branch, MachineStart } from './protocol.js';

/** How messages call what has no name. */
const NAME = 'of a fork';

/** An open file of this process by a name, under which it is opened anew. */
const nameOf = (fd: number): string => `/proc/self/fd/${fd}`;

/** A new file in memory with what a machine boots. Throws a one-line error. */
function writeBootFile(boot: BootSource): number {
  const fd = memoryFiles?.create() ?? -1;
  if (fd < 0) throw new HostError(`the machine cannot be forked: no file in memory can be had (error ${-fd})`);
  try {
    writeBoot(new SnapshotWriter(writeTo(fd), uncompressed(deflate)), boot);
  } catch (error) {
    memoryFiles?.close(fd);
    throw error;
  }
  return fd;
}

function stateOf(machine: VirtualMachine): Uint8Array {
  const state = new SnapshotBuffer(NAME);
  machine.save(new SnapshotWriter(state, uncompressed(deflate)), 'apart');
  return state.toBytes();
}

export class MachineOrigin {
  private memory: LayeredMemory | undefined;
  private readonly code = new CodeFile();
  /** A file with what the machine boots: its template, or one in memory. */
  private boot: number | undefined;
  /** A template, of which something may be read later. */
  private source: FileSource | undefined;

  constructor(private readonly start: MachineStart) {}

  /** Makes the machine. Throws a one-line error when it cannot be. */
  begin(host: MachineHost): VirtualMachine {
    const { start } = this;
    switch (start.kind) {
      case 'create':
        return VirtualMachine.create(start.config, host);
      case 'resume':
        return this.resume(start, host);
      case 'branch':
        return this.goOn(start, host);
    }
  }

  private resume(start: Extract<MachineStart, { kind: 'resume' }>, host: MachineHost): VirtualMachine {
    const { file, noReboot, forceCpu, template = false } = start;
    const source = new FileSource(file, 'snapshot');
    try {
      const map = template ? (offset: number, into: Uint8Array) => this.map(source.fd, offset, into) : undefined;
      const reader = new SnapshotReader(
        {
          name: source.name,
          size: source.size,
          read: (offset, length) => source.read(offset, length),
          ...(map && { map }),
        },
        deflate,
      );
      return VirtualMachine.restore(reader, host, {
        name: file,
        ...(noReboot !== undefined && { noReboot }),
        ...(forceCpu !== undefined && { forceCpu }),
        bootLater: template,
      });
    } finally {
      if (template) this.source = source;
      else source.close();
    }
  }

  private map(fd: number, offset: number, into: Uint8Array): boolean {
    this.memory = new LayeredMemory(into);
    return this.memory.begin(fd, offset);
  }

  private goOn(
    { branch: { state, boot, memory, code }, forceCpu }: Extract<MachineStart, { kind: 'branch' }>,
    host: MachineHost,
  ): VirtualMachine {
    this.boot = boot;
    const left: { memory?: MemoryLayers; code?: CodeOfBranch | undefined } = { memory, code };
    try {
      return VirtualMachine.restore(new SnapshotReader(new SnapshotBuffer(NAME, state), deflate), host, {
        name: NAME,
        ...(forceCpu !== undefined && { forceCpu }),
        apart: {
          readBoot: () => readBootFile(boot),
          fillMemory: (ram, vm) => {
            delete left.memory;
            this.memory = new LayeredMemory(ram);
            this.memory.adopt(memory);
            delete left.code;
            if (code) this.code.adopt(vm, code);
          },
        },
      });
    } finally {
      if (left.memory) closeLayers(left.memory);
      closeCode(left.code);
    }
  }

  /**
   * What a machine begins with that is to be as this one is now, which stands still. Undefined: that cannot be had here, it has to be saved to a file.
   * `among`: machines that this process has. Throws a one-line error when the host has no room.
   */
  branch(machine: VirtualMachine, among: number): Branch | undefined {
    if (!memoryFiles || machine.config.boot.bios) return undefined;
    this.memory ??= new LayeredMemory(machine.ram);
    const memory = this.memory.branch(among);
    if (!memory) return undefined;
    let boot: number | undefined;
    try {
      boot = this.bootFile(machine);
      return { boot, state: stateOf(machine), memory, code: this.code.branch(machine.vm, this.memory.takeChanged()) };
    } catch (error) {
      if (boot !== undefined) memoryFiles.close(boot);
      closeLayers(memory);
      throw error;
    }
  }

  private bootFile(machine: VirtualMachine): number {
    this.boot ??= this.source ? duplicate(this.source.fd) : writeBootFile(machine.config.boot);
    return duplicate(this.boot);
  }

  close(): void {
    this.source?.close();
    this.memory?.close();
    this.code.close();
    if (this.boot !== undefined) memoryFiles?.close(this.boot);
  }
}

function duplicate(fd: number): number {
  const own = memoryFiles?.duplicate(fd) ?? -1;
  if (own < 0) throw new HostError(`the machine cannot be forked: too many files are open (error ${-own})`);
  return own;
}

function readBootFile(fd: number): BootSource {
  const source = new FileSource(nameOf(fd), 'kernel');
  try {
    return readBoot(new SnapshotReader(source, deflate), NAME);
  } finally {
    source.close();
  }
}

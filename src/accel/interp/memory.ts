import { HostError } from '../../base/errors.js';
import { gpa, PAGE_SIZE } from '../../base/units.js';
import type { MemorySlot } from '../../iface/guest-memory.js';
import { ATTN, STATE } from '../../cpu/x86/state-layout.js';
import {
  cpuOrigin,
  guestBase,
  LAYOUT,
  MAX_SLOTS,
  REMOTE,
  SLOT,
  SLOT_SIZE,
  SYNC,
  withStaging,
} from '../../memory/layout.js';

/** Bytes of a page of WebAssembly, and pages that one memory can have without memory64. */
export const WASM_PAGE = 65536;
export const WASM_PAGES = 65536;

/** Most guest memory (RAM and ROM) that a machine with so many CPUs can have on this accelerator, in bytes. */
export const maxBacking = (cpus: number): number => WASM_PAGES * WASM_PAGE - guestBase(cpus);

/** A memory of that size; `ahead`: one that is too small for the machine yet. */
function reserve(size: number, backingSize: number, ahead?: WebAssembly.Memory): WebAssembly.Memory {
  const pages = Math.ceil(size / WASM_PAGE);
  try {
    if (!ahead) return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    ahead.grow(pages - ahead.buffer.byteLength / WASM_PAGE);
    return ahead;
  } catch (cause) {
    const mib = String(Math.ceil(backingSize / 1048576));
    throw new HostError(`cannot reserve ${mib} MiB of memory for the guest`, { cause });
  }
}

/** The one Wasm memory of a machine, and the guest's memory within it. */
export class MachineMemory {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  private readonly words: Int32Array;
  /** RAM, then ROM. */
  readonly backing: Uint8Array;
  /** As in Vm. */
  readonly staging: Uint8Array;
  private readonly guestBase: number;

  /**
   * `backingSize` is in bytes, a multiple of the page size; `memory` is the same machine's, from another thread, or `ahead` what has been made for some
   * machine, without the guest's.
   */
  constructor(
    backingSize: number,
    readonly cpus = 1,
    {
      memory,
      ahead,
    }: { readonly memory?: WebAssembly.Memory | undefined; readonly ahead?: WebAssembly.Memory | undefined } = {},
  ) {
    this.guestBase = guestBase(cpus);
    const end = this.guestBase + backingSize;
    this.memory = memory ?? reserve(withStaging(end), backingSize, ahead);
    this.bytes = new Uint8Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
    this.words = new Int32Array(this.memory.buffer);
    this.backing = new Uint8Array(this.memory.buffer, this.guestBase, backingSize);
    this.staging = new Uint8Array(this.memory.buffer, end);
    this.view.setUint32(LAYOUT.SYNC + SYNC.CPUS, cpus, true);
  }

  /** Tells the CPUs where guest-physical addresses lie. */
  writeSlots(slots: readonly MemorySlot[]): void {
    if (slots.length > MAX_SLOTS) throw new RangeError('too many memory slots');
    this.view.setUint32(LAYOUT.SLOTS, slots.length, true);
    for (const [i, slot] of slots.entries()) {
      if (slot.start % PAGE_SIZE || slot.size % PAGE_SIZE || slot.offset % PAGE_SIZE)
        throw new RangeError('memory slots are whole pages');
      const at = LAYOUT.SLOTS + 8 + i * SLOT_SIZE;
      this.view.setBigUint64(at + SLOT.START, BigInt(slot.start), true);
      this.view.setBigUint64(at + SLOT.LENGTH, BigInt(slot.size), true);
      this.view.setUint32(at + SLOT.HOST, this.guestBase + slot.offset, true);
      this.view.setUint32(at + SLOT.FLAGS, slot.kind === 'rom' ? 1 : 0, true);
    }
  }

  /** As they were written, on whatever thread. */
  readSlots(): readonly MemorySlot[] {
    const { view } = this;
    return Array.from({ length: view.getUint32(LAYOUT.SLOTS, true) }, (_, i) => {
      const at = LAYOUT.SLOTS + 8 + i * SLOT_SIZE;
      return {
        start: gpa(Number(view.getBigUint64(at + SLOT.START, true))),
        size: Number(view.getBigUint64(at + SLOT.LENGTH, true)),
        offset: view.getUint32(at + SLOT.HOST, true) - this.guestBase,
        kind: view.getUint32(at + SLOT.FLAGS, true) === 1 ? 'rom' : 'ram',
      };
    });
  }

  /** Makes a CPU look at `bits` of ATTN. */
  attend(cpu: number, bits: number): void {
    Atomics.or(this.words, (LAYOUT.STATES + cpuOrigin(cpu) + STATE.ATTN) >> 2, bits);
  }

  /** Leaves flags for a CPU on another thread. */
  leave(cpu: number, flags: number): void {
    Atomics.or(this.words, (LAYOUT.REMOTE_WRITES + cpuOrigin(cpu) + REMOTE.FLAGS) >> 2, flags);
    this.attend(cpu, ATTN.REMOTE);
  }

  /** Address in the Wasm memory of a byte of the backing. */
  hostAddress(offset: number): number {
    return this.guestBase + offset;
  }
}

/** A PC from its description: what it needs of an accelerator, and how its boards are made and started. */
import { cpuModel, type CpuModel } from '../../arch/x86/cpu-models.js';
import { assert } from '../../base/assert.js';
import { UsageError } from '../../base/errors.js';
import { GIB, PAGE_SIZE } from '../../base/units.js';
import { placeBios, type BiosPlacement } from '../../firmware/bios.js';
import { bootBios, bootKernel, fillFwCfg, installBios, pcRamMap } from './boot.js';
import type { BoardBuilder, BoardConnections, BootServices, BootSource, VmRequest } from '../common/board.js';
import { splitRam } from '../../firmware/memory-map.js';
import { GUEST_MEMORY_LIMIT } from '../../memory/layout.js';
import { boardCpuid } from '../common/identity.js';
import { DEFAULT_BOOT, type PcBootOptions } from './boot-order.js';
import { displayMemory, type PcDisplayOptions } from './display.js';
import { placeFlash, type PcFlash } from './flash.js';
import { PC } from './layout.js';
import { Pc } from './pc.js';

export interface PcSpecification {
  /** Name of a CPU model. */
  readonly cpu: string;
  /** RAM in bytes, a multiple of 4 KiB. */
  readonly ramSize: number;
  readonly debugExit: boolean;
  readonly boot: BootSource;
  /** Chips with firmware, instead of a BIOS image. */
  readonly flash?: readonly PcFlash[];
  /** Ticks of the time-stamp counter per second. */
  readonly tscHz: number;
  /** Virtual CPUs; absent: one. */
  readonly cpus?: number;
  /** Absent: a VGA without a card. */
  readonly display?: PcDisplayOptions;
}

export class PcBuilder implements BoardBuilder<PcBootOptions> {
  readonly vmRequest: VmRequest;
  private readonly model: CpuModel;
  private readonly bios: BiosPlacement | undefined;
  private readonly display: PcDisplayOptions;
  /** ROM begins here in the backing, and RAM above 4 GiB there. */
  private readonly romOffset: number;
  private readonly highOffset: number;
  /** RAM and ROM end here in the backing, but for RAM that is far; display memory follows. */
  private readonly displayOffset: number;

  /** Throws a one-line error when there can be no such machine. */
  constructor(readonly specification: PcSpecification) {
    const { cpu, cpus = 1, ramSize, boot, tscHz, flash = [] } = specification;
    this.model = cpuModel(cpu);
    assert(ramSize % PAGE_SIZE === 0, 'memory is whole pages');
    // Checks the size as well.
    pcRamMap(ramSize);
    if (ramSize > PC.LOW_RAM_LIMIT && this.model.physicalBits < 36)
      throw new UsageError(`the CPU model ${cpu} reaches no more than ${PC.LOW_RAM_LIMIT / 2 ** 20} MiB of memory`);
    if (boot.bios && flash.length > 0) throw new UsageError('give either a BIOS image or flash images');
    this.bios = boot.bios ? placeBios(boot.bios.image, boot.bios.name) : placeFlash(flash);
    this.display = specification.display ?? { vga: 'isa' };
    const behind = (nearRam: number): number =>
      Math.ceil((nearRam + (this.bios?.high.size ?? 0)) / PAGE_SIZE) * PAGE_SIZE;
    const { low, high } = splitRam(ramSize, PC.LOW_RAM_LIMIT);
    if (4 * GIB + high > PC.PCI_64)
      throw new UsageError(`the machine pc has room for ${(PC.PCI_64 - 4 * GIB + low) / GIB} GiB of memory at most`);
    // What every accelerator can give lies in one piece.
    const farSize = behind(ramSize) + displayMemory(this.display.vga) > GUEST_MEMORY_LIMIT ? high : 0;
    this.romOffset = ramSize - farSize;
    this.displayOffset = behind(this.romOffset);
    const backingSize = this.displayOffset + displayMemory(this.display.vga);
    this.highOffset = farSize > 0 ? backingSize : low;
    this.vmRequest = {
      cpus,
      model: this.model,
      cpuid: (index) => boardCpuid(this.model, tscHz, cpus, index),
      tscHz,
      backingSize,
      ...(farSize > 0 && { farSize }),
    };
  }

  assemble(
    connections: BoardConnections,
    services: BootServices,
    options: PcBootOptions = DEFAULT_BOOT,
  ): { readonly board: Pc; readonly start: () => string } {
    const board = this.build(connections, services, options);
    return { board, start: () => this.start(board, services, options) };
  }

  private build(connections: BoardConnections, services: BootServices, bootOptions: PcBootOptions): Pc {
    const { cpus = 1, ramSize, debugExit, boot, tscHz, flash = [] } = this.specification;
    const { model, bios, display, displayOffset, romOffset, highOffset } = this;
    const options = {
      model,
      cpus,
      ramSize,
      romOffset,
      highOffset,
      bios,
      flash,
      tscHz,
      debugExit,
      display,
      displayOffset,
    };
    const pc = new Pc(options, connections);
    if (boot.bios) installBios(boot.bios, romOffset, services);
    fillFwCfg(pc, bios && { kernel: boot.kernel, boot: bootOptions }, services);
    return pc;
  }

  private start(pc: Pc, services: BootServices, bootOptions: PcBootOptions): string {
    const { boot } = this.specification;
    if (this.bios) {
      bootBios(pc, bootOptions);
      return 'BIOS';
    }
    assert(boot.kernel !== undefined, 'there is something to boot');
    return bootKernel(pc, boot.kernel, services);
  }
}

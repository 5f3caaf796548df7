/** A microvm from its description: what it needs of an accelerator, and how its boards are made and started. */
import { cpuModel, type CpuModel } from '../../arch/x86/cpu-models.js';
import { firmwareMemoryTypes } from '../../arch/x86/msr-policy.js';
import { assert } from '../../base/assert.js';
import { UsageError } from '../../base/errors.js';
import { PAGE_SIZE } from '../../base/units.js';
import { GED_EVENT, GED_REG, GED_SIZE, RESET_VALUE, SLP_TYP_S5 } from '../../devices/acpi/generic-event.js';
import { IO_APIC_BASE } from '../../devices/apic/io-apic.js';
import { buildReducedAcpi } from '../../firmware/acpi/build.js';
import type { ReducedBoard } from '../../firmware/board.js';
import { loadKernel } from '../../firmware/loaders/load-kernel.js';
import { pcMemoryMap, type MemoryMap } from '../../firmware/memory-map.js';
import { placeTables } from '../../firmware/place-tables.js';
import type { BoardBuilder, BoardConnections, BootKernel, BootServices, VmRequest } from '../common/board.js';
import { boardCpuid, boardSmbios } from '../common/identity.js';
import { startCpus } from '../common/start-cpus.js';
import { MICROVM } from './layout.js';
import { MicroVm } from './microvm.js';

export interface MicroVmSpecification {
  /** Name of a CPU model. */
  readonly cpu: string;
  /** Virtual CPUs. */
  readonly cpus: number;
  /** RAM in bytes, a multiple of 4 KiB. */
  readonly ramSize: number;
  readonly debugExit: boolean;
  readonly kernel: BootKernel | undefined;
  /** A virtio GPU. */
  readonly gpu: boolean;
  /** `virtio`: a keyboard and a tablet; otherwise there is neither. */
  readonly input: 'ps2' | 'virtio';
  /** Ticks of the time-stamp counter per second. */
  readonly tscHz: number;
}

const memoryMap = (ramSize: number): MemoryMap => pcMemoryMap({ ramSize, lowRamLimit: MICROVM.LOW_RAM_LIMIT });

/** What the firmware tables say of the board. */
const describeBoard = ({ cpus, slots }: MicroVm): ReducedBoard => ({
  cpus: cpus.map((cpu) => cpu.index),
  localApicBase: MICROVM.LOCAL_APIC,
  ioApics: [{ id: 0, base: IO_APIC_BASE, gsiBase: 0 }],
  events: { base: MICROVM.GED, size: GED_SIZE, gsi: MICROVM.GED_GSI, powerButton: GED_EVENT.POWER_BUTTON },
  sleep: {
    control: MICROVM.GED + GED_REG.SLEEP_CONTROL,
    status: MICROVM.GED + GED_REG.SLEEP_STATUS,
    s5: SLP_TYP_S5,
  },
  reset: { address: MICROVM.GED + GED_REG.RESET, value: RESET_VALUE },
  serial: [MICROVM.COM1],
  virtio: slots.windows,
});

export class MicroVmBuilder implements BoardBuilder<unknown> {
  readonly vmRequest: VmRequest;
  private readonly model: CpuModel;
  private readonly kernel: BootKernel;

  /** Throws a one-line error when there can be no such machine. */
  constructor(readonly specification: MicroVmSpecification) {
    const { cpu, cpus, ramSize, kernel, tscHz } = specification;
    this.model = cpuModel(cpu);
    assert(ramSize % PAGE_SIZE === 0, 'memory is whole pages');
    // Checks the size as well.
    memoryMap(ramSize);
    if (kernel === undefined) throw new UsageError('the machine microvm has no firmware: give it a kernel');
    if (!this.model.features.has('apic'))
      throw new UsageError(
        `the machine microvm has no interrupt controllers but APICs, and the CPU model ${cpu} has none`,
      );
    if (ramSize > MICROVM.LOW_RAM_LIMIT && this.model.physicalBits < 36)
      throw new UsageError(
        `the CPU model ${cpu} reaches no more than ${MICROVM.LOW_RAM_LIMIT / 2 ** 20} MiB of memory`,
      );
    this.kernel = kernel;
    this.vmRequest = {
      cpus,
      model: this.model,
      cpuid: (index) => boardCpuid(this.model, tscHz, cpus, index),
      tscHz,
      backingSize: ramSize,
    };
  }

  assemble(
    connections: BoardConnections,
    services: BootServices,
  ): { readonly board: MicroVm; readonly start: () => string } {
    const { cpus, ramSize, tscHz, debugExit, gpu, input } = this.specification;
    const { model } = this;
    const board = new MicroVm({ model, cpus, ramSize, tscHz, debugExit, gpu, input: input === 'virtio' }, connections);
    return { board, start: () => this.start(board, services) };
  }

  /** Loads the kernel as a boot loader would and sets the first CPU to its entry. Returns what kind of kernel it is. */
  private start(board: MicroVm, services: BootServices): string {
    const { vm, entropy, uuid, version } = services;
    const { kernel, model } = this;
    const { cpus, ramSize, tscHz } = this.specification;
    const smbios = boardSmbios(
      { product: 'microvm', model, cpus, ramSize, lowRamLimit: MICROVM.LOW_RAM_LIMIT, tscHz },
      uuid,
      version,
    );
    const acpiRsdp = placeTables(vm.dma, buildReducedAcpi(describeBoard(board)), smbios, [MICROVM.COM1.port]);
    const randomSeed = new Uint8Array(32);
    entropy.fill(randomSeed);
    const loaded = loadKernel(vm.dma, {
      name: kernel.name,
      kernel: kernel.data,
      commandLine: kernel.commandLine,
      modules: kernel.modules,
      memoryMap: memoryMap(ramSize),
      acpiRsdp,
      randomSeed,
      longMode: model.features.has('lm'),
      vgaText: false,
      gunzip: (data) => services.gunzip(data),
    });
    const msrs = firmwareMemoryTypes(model, MICROVM.LOW_RAM_LIMIT);
    startCpus(board.cpus, model, { ...loaded.boot, msrs: [...msrs, ...(loaded.boot.msrs ?? [])] });
    return loaded.description;
  }
}

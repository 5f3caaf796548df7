import { gpa, type Gpa } from '../../base/units.js';
import type { IoWindow } from '../../iface/bus.js';
import { ConfigPorts, ecamHandler } from '../../bus/pci/config-access.js';
import { PciFunction, type PciEnvironment } from '../../bus/pci/function.js';
import type { PciBus } from '../../bus/pci/pci-bus.js';
import { HEADER } from '../../bus/pci/registers.js';
import { struct, u32, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

/** Registers of device 0. "Intel 3 Series Express Chipset Family Datasheet" 316966, chapter on device 0; by name there. */
const MCH = { PCIEXBAR: 0x60, PAM0: 0x90, LAC: 0x97, SMRAM: 0x9d, ESMRAMC: 0x9e } as const;

/** PCI Express register range base address: enable in bit 0, length in bits 2:1, base in bits 35:26. */
const PCIEXBAR = { ENABLE: 1, LENGTH_SHIFT: 1, LENGTH_MASK: 6 } as const;

/** By length field: bytes of the range, 1 MiB for each bus. 3 is reserved. */
const ECAM_SIZES = [2 ** 28, 2 ** 27, 2 ** 26] as const;

/** Programmable attribute maps 0 … 6: for each segment reads (bit 0) and writes (bit 1) go to RAM. */
const PAM = { READ: 1, WRITE: 2 } as const;

/** System management RAM control. */
const SMRAM = { LOCK: 1 << 4, RESET: 0x02, WRITABLE: 0x78 } as const;

/** Extended system management RAM control: caching bits are fixed. */
const ESMRAMC = { RESET: 0x38, WRITABLE: 0x87, CLEARABLE: 0x40 } as const;

/** Where accesses to a part of the BIOS area go. Otherwise reads come from ROM and writes are dropped. */
export interface ShadowSegment {
  readonly start: Gpa;
  /** Bytes. */
  readonly size: number;
  readonly readRam: boolean;
  readonly writeRam: boolean;
}

const stateSchema = (pci: PciFunction['stateSchema']) => struct({ pci, configAddress: u32 });
type State = Infer<ReturnType<typeof stateSchema>>;

/**
 * Memory controller hub of the Q35, as device 0:0.0: configuration by ports and by ECAM, shadow RAM, and the SMRAM
 * registers, which only keep what is written (there is no system management mode).
 */
export class HostBridge implements Snapshotable<State> {
  readonly id = 'host-bridge';
  readonly stateVersion = 1;
  readonly pci: PciFunction;

  private readonly ports: ConfigPorts;
  private readonly ecam: readonly IoWindow[];
  private mapped: { readonly base: number; readonly length: number } | undefined;
  private pam = '';

  /**
   * Claims ports 0xcf8 … 0xcff, so that port 0xcf9 has to be claimed afterwards. `shadow` is told the 13 segments from
   * 0xc0000 to 0xfffff whenever one of them changes, and once from here with none of them in RAM.
   */
  constructor(
    environment: PciEnvironment,
    bus: PciBus,
    private readonly shadow: (segments: readonly ShadowSegment[]) => void,
  ) {
    const identity = { vendorId: 0x8086, deviceId: 0x29c0, revision: 0, classCode: 0x060000 };
    this.pci = new PciFunction('host-bridge', identity, environment);
    const targets = { bus: (number: number) => (number === 0 ? bus : undefined) };
    this.ports = new ConfigPorts(targets);
    environment.ports.claim('pci-config', 8, this.ports.handler, 0xcf8);
    const handler = ecamHandler(targets);
    this.ecam = ECAM_SIZES.map((size) => environment.memory.claim('pci-ecam', size, handler));
    this.defineRegisters();
    bus.attach(0, this.pci);
    this.updateShadow();
  }

  private defineRegisters(): void {
    const { config } = this.pci;
    config.define(MCH.PCIEXBAR, 4, { value: 0xe000_0000, writable: 0xfc00_0007 });
    config.define(MCH.PCIEXBAR + 4, 4, { writable: 0xf });
    config.define(MCH.PAM0, 1, { writable: 0x30 });
    for (let i = 1; i <= 6; i++) config.define(MCH.PAM0 + i, 1, { writable: 0x33 });
    config.define(MCH.LAC, 1, { writable: 0x80 });
    config.define(MCH.SMRAM, 1, { value: SMRAM.RESET, writable: SMRAM.WRITABLE });
    config.define(MCH.ESMRAMC, 1, {
      value: ESMRAMC.RESET,
      writable: ESMRAMC.WRITABLE,
      clearable: ESMRAMC.CLEARABLE,
    });
    // Memory decoding and bus mastering of the host bridge are hard-wired on.
    config.define(HEADER.COMMAND, 2, { value: 0x0006, writable: 0x0100 });
    config.watch(MCH.PCIEXBAR, 8, () => this.updateEcam());
    config.watch(MCH.PAM0, 7, () => this.updateShadow());
    config.watch(MCH.SMRAM, 1, () => this.lockSmram());
  }

  /** Programs ECAM as firmware would, for kernels loaded without any. `base` is a multiple of 256 MiB. */
  enableEcam(base: Gpa): void {
    this.pci.config.write(MCH.PCIEXBAR + 4, 4, Math.floor(base / 2 ** 32));
    this.pci.config.write(MCH.PCIEXBAR, 4, (base % 2 ** 32) + PCIEXBAR.ENABLE);
  }

  reset(): void {
    this.ports.address = 0;
    this.pci.config.define(MCH.SMRAM, 1, { value: SMRAM.RESET, writable: SMRAM.WRITABLE });
    this.pci.reset();
  }

  private updateEcam(): void {
    const { config } = this.pci;
    const low = config.get(MCH.PCIEXBAR, 4);
    const length = (low & PCIEXBAR.LENGTH_MASK) >>> PCIEXBAR.LENGTH_SHIFT;
    const { mapped } = this;
    let wanted: typeof mapped;
    if (low & PCIEXBAR.ENABLE && length < ECAM_SIZES.length) {
      const address = config.get(MCH.PCIEXBAR + 4, 4) * 2 ** 32 + low;
      wanted = { base: address - (address % ECAM_SIZES[length]), length };
    }
    if (wanted?.base === mapped?.base && wanted?.length === mapped?.length) return;
    if (mapped) this.ecam[mapped.length].unmap();
    if (wanted) this.ecam[wanted.length].map(wanted.base);
    this.mapped = wanted;
  }

  /** D_LCK makes SMRAM read-only, itself included, until reset, and closes D_OPEN. */
  private lockSmram(): void {
    const { config } = this.pci;
    const value = config.get(MCH.SMRAM, 1);
    if (value & SMRAM.LOCK) config.define(MCH.SMRAM, 1, { value: value & ~0x40, dynamic: 0xff });
  }

  private updateShadow(): void {
    const { config } = this.pci;
    const registers = Array.from({ length: 7 }, (_, i) => config.get(MCH.PAM0 + i, 1));
    const pam = registers.join();
    if (pam === this.pam) return;
    this.pam = pam;
    const segment = (start: number, size: number, bits: number): ShadowSegment => ({
      start: gpa(start),
      size,
      readRam: (bits & PAM.READ) !== 0,
      writeRam: (bits & PAM.WRITE) !== 0,
    });
    const segments: ShadowSegment[] = [];
    for (let i = 0; i < 12; i++)
      segments.push(segment(0xc_0000 + i * 0x4000, 0x4000, registers[1 + (i >> 1)] >>> (i & 1 ? 4 : 0)));
    segments.push(segment(0xf_0000, 0x1_0000, registers[0] >>> 4));
    this.shadow(segments);
  }

  get stateSchema(): ReturnType<typeof stateSchema> {
    return stateSchema(this.pci.stateSchema);
  }

  save(): State {
    return { pci: this.pci.save(), configAddress: this.ports.address };
  }

  restore(state: State): void {
    this.ports.address = state.configAddress;
    this.pci.config.define(MCH.SMRAM, 1, { value: SMRAM.RESET, writable: SMRAM.WRITABLE });
    this.pci.restore(state.pci);
  }
}

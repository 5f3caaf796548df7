import type { IoHandler } from '../../iface/bus.js';
import { allOnes } from './config-space.js';
import type { PciBus } from './pci-bus.js';

/** The buses that a host bridge reaches. There are no bridges behind bus 0 yet. */
export interface ConfigTargets {
  bus(number: number): PciBus | undefined;
}

/** CONFIG_ADDRESS, PCI 3.0 §3.2.2.3.2. Bits 30:24 are reserved; bits 1:0 select nothing. */
const ADDRESS = { ENABLE: 0x8000_0000, WRITABLE: 0x80ff_fffc } as const;

/**
 * Configuration mechanism #1: ports 0xcf8 (address, 32-bit accesses only) and 0xcfc … 0xcff (data). Narrow
 * accesses to the address ports do nothing; the chipset's reset control register at 0xcf9 is a window of its own.
 */
export class ConfigPorts {
  private register = 0;

  constructor(private readonly targets: ConfigTargets) {}

  /** For ports 0xcf8 … 0xcff. */
  readonly handler: IoHandler = {
    read: (offset, size) => this.access(offset, size, 'read'),
    peek: (offset, size) => this.access(offset, size, 'peek'),
    write: (offset, size, value) => {
      if (offset >= 4) this.target()?.write(this.devfn, (this.register & 0xfc) + offset - 4, size, value);
      else if (size === 4) this.address = value;
    },
  };

  private access(offset: number, size: number, how: 'read' | 'peek'): number {
    if (offset >= 4)
      return this.target()?.[how](this.devfn, (this.register & 0xfc) + offset - 4, size) ?? allOnes(size);
    return size === 4 ? this.register : allOnes(size);
  }

  private target(): PciBus | undefined {
    return this.register >= ADDRESS.ENABLE ? this.targets.bus((this.register >>> 16) & 0xff) : undefined;
  }

  private get devfn(): number {
    return (this.register >>> 8) & 0xff;
  }

  /** The address register, which the owner saves. */
  get address(): number {
    return this.register;
  }

  set address(value: number) {
    this.register = (value & ADDRESS.WRITABLE) >>> 0;
  }
}

/**
 * Enhanced configuration access (PCI Express 3.0 §7.2.2): 1 MiB of memory for each bus, 4 KiB for each function. The
 * handler of a window that begins at bus 0.
 */
export function ecamHandler(targets: ConfigTargets): IoHandler {
  const access =
    (how: 'read' | 'peek') =>
    (offset: number, size: number): number =>
      targets.bus(offset >>> 20)?.[how]((offset >>> 12) & 0xff, offset & 0xfff, size) ?? allOnes(size);
  return {
    read: access('read'),
    peek: access('peek'),
    write: (offset, size, value) =>
      targets.bus(offset >>> 20)?.write((offset >>> 12) & 0xff, offset & 0xfff, size, value),
  };
}

import { ich9PirqRoutes, type BoardDescription } from '../firmware/board.js';

/** A board with everything, for tests. */
export const testBoard: BoardDescription = {
  cpus: [0, 1, 2, 3],
  localApicBase: 0xfee0_0000,
  ioApics: [{ id: 0, base: 0xfec0_0000, gsiBase: 0 }],
  hpet: { base: 0xfed0_0000, id: 0x8086_a201, minimumTick: 0x80 },
  pm: { base: 0x600, size: 0x80, gpe0Size: 16, sci: 9, s5: 7 },
  reset: { port: 0xcf9, value: 6 },
  century: 0x32,
  ecam: { base: 0xb000_0000, size: 2 ** 28, buses: 256 },
  pci: {
    mmio32: [{ start: 0xc000_0000, end: 0xfec0_0000 }],
    mmio64: { start: 0x40_0000_0000, end: 0x80_0000_0000 },
    routes: ich9PirqRoutes,
    firstPirqGsi: 16,
    lpcSlot: 31,
  },
  serial: [
    { port: 0x3f8, irq: 4 },
    { port: 0x2f8, irq: 3 },
  ],
  keyboard: true,
  mouse: true,
  vga: true,
  fwCfg: 0x510,
  hotplug: { base: 0xcc0, size: 0x18, event: 1, slots: [17, 18, 24] },
};

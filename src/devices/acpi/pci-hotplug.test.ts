import { describe, expect, it } from 'vitest';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { HOTPLUG_PORTS, HOTPLUG_REG, PciHotplug } from './pci-hotplug.js';

const SLOTS = (1 << 17) | (1 << 24);

function block(): { readonly hotplug: PciHotplug; readonly ejected: number[]; readonly events: () => number } {
  const ejected: number[] = [];
  let events = 0;
  const hotplug = new PciHotplug({ slots: SLOTS, raise: () => events++, eject: (slot) => ejected.push(slot) });
  return { hotplug, ejected, events: () => events };
}

describe('registers of PCI hot-plug', () => {
  it('tell once which slots have a card now', () => {
    const { hotplug, events } = block();
    hotplug.plugged(17);
    expect(events()).toBe(1);
    expect(hotplug.peek(HOTPLUG_REG.UP, 4)).toBe(1 << 17);
    expect(hotplug.read(HOTPLUG_REG.UP, 4)).toBe(1 << 17);
    expect(hotplug.read(HOTPLUG_REG.UP, 4)).toBe(0);
  });

  it('tell which cards are to go until they have gone', () => {
    const { hotplug, ejected, events } = block();
    hotplug.requestEject(24);
    hotplug.requestEject(24);
    expect(events()).toBe(2);
    expect([hotplug.read(HOTPLUG_REG.DOWN, 4), hotplug.read(HOTPLUG_REG.DOWN, 4)]).toEqual([1 << 24, 1 << 24]);
    expect(hotplug.isLeaving(24)).toBe(true);
    hotplug.write(HOTPLUG_REG.EJECT, 4, 1 << 24);
    expect(ejected).toEqual([24]);
    hotplug.removed(24);
    expect(hotplug.read(HOTPLUG_REG.DOWN, 4)).toBe(0);
    expect(hotplug.read(HOTPLUG_REG.REMOVABLE, 4)).toBe(SLOTS);
  });

  it('eject nothing from slots that are none, from other buses, or by parts of a write', () => {
    const { hotplug, ejected } = block();
    hotplug.write(HOTPLUG_REG.EJECT, 4, ~SLOTS >>> 0);
    hotplug.write(HOTPLUG_REG.EJECT + 2, 2, 0xffff);
    hotplug.write(HOTPLUG_REG.EJECT, 1, 0xff);
    hotplug.write(HOTPLUG_REG.BUS, 4, 7);
    hotplug.plugged(17);
    expect([hotplug.read(HOTPLUG_REG.BUS, 4), hotplug.read(HOTPLUG_REG.UP, 4)]).toEqual([7, 0]);
    hotplug.write(HOTPLUG_REG.EJECT, 4, SLOTS);
    expect(ejected).toEqual([]);
    hotplug.write(HOTPLUG_REG.BUS, 4, 0);
    expect(hotplug.read(HOTPLUG_REG.UP + 2, 2)).toBe(1 << 1);
    hotplug.write(HOTPLUG_REG.EJECT, 4, 0xffff_ffff);
    expect(ejected).toEqual([17, 24]);
  });

  it('answer anything without harm', () => {
    const { hotplug } = block();
    for (let offset = 0; offset < HOTPLUG_PORTS; offset++)
      for (const size of [1, 2, 4]) {
        hotplug.write(offset, size, 0xffff_ffff);
        const value = hotplug.read(offset, size);
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThan(2 ** (8 * size));
      }
  });
});

snapshotSuite('PCI hot-plug', {
  create: () => block().hotplug,
  change(hotplug) {
    hotplug.plugged(17);
    hotplug.requestEject(24);
    hotplug.write(HOTPLUG_REG.BUS, 4, 2);
  },
});

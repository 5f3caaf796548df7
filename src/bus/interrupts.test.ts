import { describe, expect, it } from 'vitest';
import { gsi } from '../base/units.js';
import { InterruptRouter, SharedLine } from './interrupts.js';

function setUp(): { router: InterruptRouter; log: string[] } {
  const log: string[] = [];
  const chip = (name: string) => (pin: number) => ({
    set: (asserted: boolean) => void log.push(`${asserted ? '+' : '-'}${name}${pin}`),
  });
  return { router: new InterruptRouter(chip('pic'), chip('apic')), log };
}

describe('a shared line', () => {
  it('is asserted while any driver asserts it, and reports changes only', () => {
    const seen: boolean[] = [];
    const line = new SharedLine((asserted) => seen.push(asserted));
    const [a, b] = [line.driver(), line.driver()];
    a.set(true);
    a.set(true);
    b.set(true);
    a.set(false);
    expect(line.level).toBe(true);
    b.set(false);
    b.set(false);
    expect(seen).toEqual([true, false]);
  });
});

describe('interrupt routing', () => {
  it('takes an ISA interrupt to both controllers, interrupt 0 to I/O APIC pin 2', () => {
    const { router, log } = setUp();
    router.isa(4).set(true);
    router.isa(0).set(true);
    expect(log).toEqual(['+pic4', '+apic4', '+pic0', '+apic2']);
  });

  it('takes PIRQs to I/O APIC pins 16 and up, and to the 8259 where they are routed', () => {
    const { router, log } = setUp();
    router.pirq(1).set(true);
    router.routePirq(1, 11);
    router.routePirq(1, 10);
    router.routePirq(1, undefined);
    expect(log).toEqual(['+apic17', '+pic11', '-pic11', '+pic10', '-pic10']);
  });

  it('shares an 8259 pin between PIRQs and ISA', () => {
    const { router, log } = setUp();
    const [isa, a, b] = [router.isa(10), router.pirq(0), router.pirq(7)];
    router.routePirq(0, 10);
    router.routePirq(7, 10);
    a.set(true);
    b.set(true);
    isa.set(true);
    a.set(false);
    isa.set(false);
    b.set(false);
    expect(log.filter((entry) => entry.slice(1) === 'pic10')).toEqual(['+pic10', '-pic10']);
  });

  it('numbers lines by GSI', () => {
    const { router, log } = setUp();
    router.gsi(gsi(2)).set(true);
    router.gsi(gsi(9)).set(true);
    router.gsi(gsi(20)).set(true);
    router.gsi(gsi(0)).set(true);
    expect(log).toEqual(['+pic0', '+apic2', '+pic9', '+apic9', '+apic20', '+apic0']);
  });
});

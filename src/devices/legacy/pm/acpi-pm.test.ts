import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../../host/fake/clock.js';
import { RecordingControl, RecordingLine } from '../../../host/fake/lines.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { AcpiPm, APM, PM_OFFSET, SLP_TYP } from './acpi-pm.js';

const { PM1_STS, PM1_EN, PM1_CNT, PM1_TMR, GPE0_STS, GPE0_EN, SMI_EN, SMI_STS } = PM_OFFSET;

describe('ACPI power management', () => {
  let clock: FakeClock;
  let sci: RecordingLine;
  let control: RecordingControl;
  let pm: AcpiPm;
  beforeEach(() => {
    clock = new FakeClock();
    sci = new RecordingLine();
    control = new RecordingControl();
    pm = new AcpiPm(sci, control, clock);
  });
  const sleep = (type: number): void => pm.write(PM1_CNT, 2, (type << 10) | 0x2001);

  it('counts 24 bits at 3.579545 MHz', () => {
    clock.advance(1e9);
    expect(pm.read(PM1_TMR, 4)).toBe(3_579_545);
    clock.advance(4e9);
    expect(pm.read(PM1_TMR, 4)).toBe((5 * 3_579_545) % 2 ** 24);
    const wide = new AcpiPm(sci, control, clock, 32);
    clock.advance(1e12);
    expect(wide.read(PM1_TMR, 4)).toBe((1005 * 3_579_545) % 2 ** 32);
  });

  it('reports a change of the top bit, by interrupt if asked', () => {
    pm.enterAcpiMode();
    clock.advance(2e9);
    expect(pm.read(PM1_STS, 2)).toBe(0);
    clock.advance(0.4e9);
    expect(pm.read(PM1_STS, 2)).toBe(1);
    pm.write(PM1_STS, 2, 1);
    expect(pm.read(PM1_STS, 2)).toBe(0);
    pm.write(PM1_EN, 2, 1);
    clock.advance(2.2e9);
    expect(sci.level).toBe(false);
    clock.advance(0.2e9);
    expect(sci.level).toBe(true);
    pm.write(PM1_STS, 2, 1);
    expect(sci.level).toBe(false);
  });

  it('interrupts for the power button in ACPI mode, entered through port 0xb2', () => {
    pm.write(PM1_EN, 2, 0x100);
    pm.pressPowerButton();
    expect(sci.level).toBe(false);
    pm.apmPorts.write(0, 1, APM.ACPI_ENABLE);
    expect([pm.acpiMode, pm.read(PM1_CNT, 2), sci.level]).toEqual([true, 1, true]);
    expect(pm.read(PM1_STS, 4)).toBe(0x0100_0100);
    pm.write(PM1_STS + 1, 1, 1);
    expect(sci.level).toBe(false);
    pm.apmPorts.write(0, 1, APM.ACPI_DISABLE);
    expect(pm.acpiMode).toBe(false);
    pm.apmPorts.write(1, 1, 0x5a);
    expect([pm.apmPorts.read(0, 1), pm.apmPorts.read(1, 1)]).toEqual([APM.ACPI_DISABLE, 0x5a]);
  });

  it('powers off by S5', () => {
    sleep(SLP_TYP.S5);
    expect(control.requests).toEqual(['power-off']);
    // SLP_EN reads as 0.
    expect(pm.read(PM1_CNT, 4)).toBe((SLP_TYP.S5 << 10) | 1);
  });

  it('refuses S3: awake at once', () => {
    sleep(SLP_TYP.S3);
    expect(control.requests).toEqual([]);
    expect(pm.read(PM1_STS, 2)).toBe(0x8000);
  });

  it('raises general-purpose events by byte', () => {
    pm.enterAcpiMode();
    pm.write(GPE0_EN, 4, 0x2_0002);
    pm.raiseGpe(16);
    expect(sci.level).toBe(false);
    pm.raiseGpe(17);
    expect([sci.level, pm.read(GPE0_STS, 4)]).toEqual([true, 0x3_0000]);
    pm.write(GPE0_STS + 2, 1, 2);
    expect([sci.level, pm.read(GPE0_STS + 2, 1)]).toEqual([false, 1]);
    pm.raiseGpe(63);
    pm.write(GPE0_EN + 7, 1, 0x80);
    expect(sci.level).toBe(true);
  });

  it('remembers SMI_EN, whose SMIs never come', () => {
    expect(pm.read(SMI_EN, 4)).toBe(0x20);
    pm.write(SMI_EN, 4, 0x8000_0003);
    expect(pm.read(SMI_EN, 4)).toBe(0x8000_0021);
    pm.write(SMI_STS, 4, 0xffff_ffff);
    expect(pm.read(SMI_STS, 4)).toBe(0);
    // BIOS_RLS told the OS.
    expect(pm.read(PM1_STS, 2)).toBe(0x20);
  });

  it('answers every byte of the block', () => {
    for (let offset = 0; offset < 128; offset++) {
      if (offset !== PM1_CNT + 1) pm.write(offset, 1, 0xff);
      expect(pm.read(offset, 1)).toBeLessThan(256);
    }
    expect(control.requests).toEqual([]);
  });
});

snapshotSuite('ACPI power management', {
  create: (clock) => new AcpiPm(new RecordingLine(), new RecordingControl(), clock),
  change(pm, clock) {
    pm.apmPorts.write(0, 1, APM.ACPI_ENABLE);
    pm.apmPorts.write(1, 1, 7);
    pm.write(PM1_EN, 2, 0x421);
    pm.write(GPE0_EN, 4, 4);
    pm.write(SMI_EN, 4, 1);
    pm.raiseGpe(2);
    clock.advance(3e9);
    pm.rtcAlarm();
  },
  observe(pm, clock) {
    const seen: number[] = [];
    for (let i = 0; i < 8; i++) {
      clock.advance(1e9);
      for (const offset of [PM1_STS, PM1_CNT, PM1_TMR, GPE0_STS, GPE0_EN, SMI_EN]) seen.push(pm.read(offset, 4));
      pm.write(PM1_STS, 2, 0xffff);
    }
    return seen;
  },
});

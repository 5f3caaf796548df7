import { expect, it } from 'vitest';
import { RecordingControl, RecordingLine } from '../../host/fake/lines.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { GED_REG, GenericEventDevice, RESET_VALUE } from './generic-event.js';

function setUp(): { device: GenericEventDevice; line: RecordingLine; control: RecordingControl } {
  const [line, control] = [new RecordingLine(), new RecordingControl()];
  return { device: new GenericEventDevice(line, control), line, control };
}

it('switches off by the sleep type of S5 alone (ACPI 6.5 §4.8.4.2)', () => {
  const { device, control } = setUp();
  device.write(GED_REG.SLEEP_CONTROL, 1, 5 << 2);
  device.write(GED_REG.SLEEP_CONTROL, 1, (3 << 2) | 0x20);
  expect(control.requests).toEqual([]);
  device.write(GED_REG.SLEEP_CONTROL, 1, (5 << 2) | 0x20);
  expect(control.requests).toEqual(['power-off']);
});

it('resets by one value', () => {
  const { device, control } = setUp();
  device.write(GED_REG.RESET, 1, 1);
  device.write(GED_REG.RESET, 1, RESET_VALUE);
  expect(control.requests).toEqual(['reset']);
});

it('asserts its interrupt while an event waits', () => {
  const { device, line } = setUp();
  device.pressPowerButton();
  expect([device.read(GED_REG.EVENTS), line.level]).toEqual([1, true]);
  device.write(GED_REG.EVENTS, 1, 1);
  expect([device.read(GED_REG.EVENTS), line.level]).toEqual([0, false]);
});

snapshotSuite('the event device', {
  create: () => setUp().device,
  change: (device) => device.pressPowerButton(),
  observe: (device) => device.read(GED_REG.EVENTS),
});

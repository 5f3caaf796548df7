import { describe, expect, it } from 'vitest';
import { MemorySink, RecordingControl, RecordingLine } from '../../host/fake/lines.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { CoprocessorError } from './coprocessor-error.js';
import { DebugConsole, DebugExit } from './debug-ports.js';
import { FastA20, ResetControl } from './reset-ports.js';

describe('isa-debugcon', () => {
  it('is found by what it reads as, and sends bytes', () => {
    const sink = new MemorySink();
    const port = new DebugConsole(sink);
    port.write(0, 1, 0x4f);
    port.write(0, 1, 0x4b);
    expect([port.read(), sink.text]).toEqual([0xe9, 'OK']);
  });
});

describe('isa-debug-exit', () => {
  it('ends the machine with (value << 1) | 1', () => {
    const control = new RecordingControl();
    const port = new DebugExit(control);
    port.write(0, 1, 0x10);
    port.write(0, 4, 0);
    port.write(0, 4, 0xffff_ffff);
    expect(control.requests).toEqual(['exit 33', 'exit 1', 'exit 255']);
  });
});

describe('port 0x92', () => {
  it('gates A20 and resets on bit 0', () => {
    const [gate, control] = [new RecordingLine(), new RecordingControl()];
    const port = new FastA20(gate, control);
    expect([port.read(), gate.level]).toEqual([0, false]);
    port.write(0, 1, 0xfe);
    expect([port.read(), gate.level]).toEqual([2, true]);
    port.write(0, 1, 0x03);
    expect(control.requests).toEqual(['reset']);
    port.write(0, 1, 0);
    expect(gate.level).toBe(false);
  });
});

describe('port 0xcf9', () => {
  it('resets when RST_CPU rises', () => {
    const control = new RecordingControl();
    const port = new ResetControl(control);
    port.write(0, 1, 0x02);
    expect([port.read(), control.requests]).toEqual([2, []]);
    port.write(0, 1, 0x06);
    port.write(0, 1, 0x06);
    expect(control.requests).toEqual(['reset']);
    port.write(0, 1, 0xf0);
    expect(port.read()).toBe(0);
  });
});

snapshotSuite('port 0x92', {
  create: () => new FastA20(new RecordingLine(), new RecordingControl()),
  change: (port) => port.write(0, 1, 2),
  observe: (port) => port.read(),
});

snapshotSuite('port 0xcf9', {
  create: () => new ResetControl(new RecordingControl()),
  change: (port) => port.write(0, 1, 0xa),
  observe: (port) => port.read(),
});

describe('x87 errors while CR0.NE is 0', () => {
  it('raise interrupt 13 until port 0xf0 is written', () => {
    const line = new RecordingLine();
    const port = new CoprocessorError(line);
    port.setFerr(true);
    expect(line.level).toBe(true);
    port.setFerr(false);
    expect(line.level).toBe(true);
    port.write();
    expect(line.level).toBe(false);
  });
});

snapshotSuite('x87 errors by interrupt 13', {
  create: () => new CoprocessorError(new RecordingLine()),
  change: (device) => device.setFerr(true),
});

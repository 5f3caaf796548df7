import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../../host/fake/clock.js';
import { MemorySink, RecordingLine } from '../../../host/fake/lines.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { Uart16550 } from './uart-16550.js';

const [DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7];
const bytes = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

describe('the 16550A', () => {
  let irq: RecordingLine;
  let sink: MemorySink;
  let clock: FakeClock;
  let uart: Uart16550;
  beforeEach(() => {
    irq = new RecordingLine();
    sink = new MemorySink();
    clock = new FakeClock();
    uart = new Uart16550('serial0', irq, sink, clock);
    write(LCR, 3);
  });
  const read = (register: number): number => uart.read(register);
  const write = (register: number, value: number): void => uart.write(register, 1, value);

  it('has the reset state of the datasheet', () => {
    const fresh = new Uart16550('serial0', irq, sink, clock);
    expect([IER, IIR, LCR, MCR, LSR].map((register) => fresh.read(register))).toEqual([0, 1, 0, 0, 0x60]);
    expect(fresh.read(MSR)).toBe(0xb0);
  });

  it('transmits at once, and whole bytes where nobody has set the length of words', () => {
    for (const byte of bytes('hello\n')) write(DATA, byte);
    expect(sink.text).toBe('hello\n');
    expect(read(LSR)).toBe(0x60);
    write(LCR, 0);
    write(DATA, 0xc1);
    expect(sink.bytes.at(-1)).toBe(0xc1);
  });

  it('loops back short words without their upper bits', () => {
    write(LCR, 2);
    write(MCR, 0x10);
    write(DATA, 0xc1);
    expect(read(DATA)).toBe(0x41);
  });

  it('keeps the divisor behind DLAB', () => {
    write(LCR, 0x83);
    write(DATA, 0x34);
    write(IER, 0x12);
    expect([read(DATA), read(IER)]).toEqual([0x34, 0x12]);
    write(LCR, 3);
    expect(read(IER)).toBe(0);
    expect(sink.text).toBe('');
  });

  it('raises the THR interrupt when enabled, clears it by reading IIR, raises it again after a write', () => {
    write(IER, 2);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(2);
    expect(irq.level).toBe(false);
    expect(read(IIR)).toBe(1);
    write(DATA, 0x41);
    expect(irq.edges).toBe(2);
    write(DATA, 0x42);
    // Each write is a new edge: an edge-triggered input would otherwise see only the first.
    expect(irq.edges).toBe(3);
    write(IER, 0);
    expect(irq.level).toBe(false);
    write(IER, 2);
    expect(read(IIR)).toBe(2);
    write(IER, 2);
    expect(read(IIR)).toBe(1);
  });

  it('passes the tests by which Linux looks for bugs and for later chips', () => {
    // serial8250_do_startup: THRE must come back when IER is written again; and with TEMT the interrupt is there.
    write(IER, 2);
    const first = read(IIR);
    write(IER, 0);
    write(IER, 2);
    expect([first & 1, read(IIR) & 1, read(LSR) & 0x40]).toEqual([0, 0, 0x40]);
    write(IER, 0);
    // autoconfig: IER's upper bits read 0; loopback shows the outputs; FIFOs, but no 64 bytes and no EFR.
    write(IER, 0xff);
    expect(read(IER)).toBe(0x0f);
    write(IER, 0);
    write(MCR, 0x1a);
    expect(read(MSR) & 0xf0).toBe(0x90);
    write(MCR, 0);
    write(IIR, 1);
    expect(read(IIR) >> 6).toBe(3);
    write(LCR, 0xbf);
    expect(read(IIR)).not.toBe(0);
    write(LCR, 0x80);
    write(IIR, 0x21);
    expect(read(IIR) >> 5).toBe(6);
  });

  it('receives one byte without FIFOs and tells the back end when there is room', () => {
    let drained = 0;
    uart.onDrain = () => drained++;
    write(IER, 1);
    expect(uart.receive(bytes('abc'))).toBe(1);
    expect(irq.level).toBe(true);
    expect([read(IIR), read(LSR)]).toEqual([4, 0x61]);
    expect(read(DATA)).toBe(0x61);
    expect([irq.level, drained, read(LSR)]).toEqual([false, 1, 0x60]);
    read(DATA);
    expect(drained).toBe(1);
  });

  it('takes input again from within onDrain', () => {
    let rest = bytes('wxyz');
    uart.onDrain = () => {
      rest = rest.subarray(uart.receive(rest));
    };
    write(IER, 1);
    uart.onDrain();
    expect(Array.from('wxyz', () => String.fromCharCode(read(DATA))).join('')).toBe('wxyz');
    expect(irq.level).toBe(false);
  });

  it('interrupts at the trigger level, and below it after four character times', () => {
    write(LCR, 0x83);
    write(DATA, 1);
    write(LCR, 3);
    write(IIR, 0x81);
    write(IER, 1);
    expect(uart.receive(bytes('1234567'))).toBe(7);
    expect(irq.level).toBe(false);
    uart.receive(bytes('8'));
    expect(read(IIR)).toBe(0xc4);
    read(DATA);
    expect(irq.level).toBe(false);
    clock.advance(347_000);
    expect(irq.level).toBe(false);
    clock.advance(1_000);
    expect(read(IIR)).toBe(0xcc);
    read(DATA);
    expect(irq.level).toBe(false);
    clock.advance(1e9);
    expect(irq.level).toBe(true);
    for (let i = 0; i < 6; i++) read(DATA);
    clock.advance(1e9);
    expect([irq.level, read(LSR)]).toEqual([false, 0x60]);
  });

  it('holds 16 bytes and drops them when told', () => {
    write(IIR, 1);
    expect(uart.receive(bytes('0123456789abcdefgh'))).toBe(16);
    write(IIR, 3);
    expect(read(LSR)).toBe(0x60);
    uart.receive(bytes('x'));
    write(IIR, 0);
    expect(read(LSR)).toBe(0x60);
  });

  it('loops back data and modem lines, and keeps the wire out', () => {
    write(MCR, 0x10);
    read(MSR);
    write(DATA, 0x5a);
    expect(sink.text).toBe('');
    expect(uart.receive(bytes('a'))).toBe(0);
    expect(read(DATA)).toBe(0x5a);
    write(MCR, 0x1f);
    expect(read(MSR)).toBe(0xfb);
    write(MCR, 0x1b);
    expect(read(MSR)).toBe(0xb4);
    write(DATA, 1);
    write(DATA, 2);
    expect(read(LSR)).toBe(0x63);
    expect(read(LSR)).toBe(0x61);
    expect(read(DATA)).toBe(2);
  });

  it('reports overruns, breaks and modem changes by priority', () => {
    write(IIR, 1);
    write(IER, 0x0f);
    uart.setInputs({ cts: false, dsr: true, ri: false, dcd: true });
    uart.receive(bytes('a'));
    uart.receiveBreak();
    expect(read(IIR)).toBe(0xc4);
    expect(read(DATA)).toBe(0x61);
    expect(read(IIR)).toBe(0xc6);
    expect(read(LSR)).toBe(0xf1);
    expect(read(IIR)).toBe(0xc4);
    expect(read(DATA)).toBe(0);
    expect(read(IIR)).toBe(0xc2);
    expect(read(IIR)).toBe(0xc0);
    expect(read(MSR)).toBe(0xa1);
    expect(read(IIR)).toBe(0xc1);
    expect(irq.level).toBe(false);
  });

  it('peeks without side effects', () => {
    write(IER, 3);
    uart.receive(bytes('a'));
    const before = uart.save();
    for (let register = 0; register < 8; register++) uart.peek(register);
    expect(uart.save()).toEqual(before);
    write(SCR, 0xa5);
    expect(uart.peek(SCR)).toBe(0xa5);
  });
});

snapshotSuite('the 16550A', {
  create: (clock) => new Uart16550('serial0', new RecordingLine(), new MemorySink(), clock),
  change(uart, clock) {
    for (const [register, value] of [
      [LCR, 0x9b],
      [DATA, 0x34],
      [IER, 0x12],
      [LCR, 0x1b],
      [IER, 0x0f],
      [IIR, 0xc1],
      [MCR, 0x10],
      [DATA, 0x41],
      [MCR, 0x0b],
      [SCR, 0x77],
    ])
      uart.write(register, 1, value);
    uart.receiveBreak();
    uart.receive(bytes('xyz'));
    uart.read(DATA);
    clock.advance(1e9);
    // The timeout is pending; a byte more starts it again, so both are shown by what is read in between.
    uart.receive(bytes('b'));
  },
  // `change` leaves the timeout running; that it is pending is mutually exclusive with it.
  untouched: ['timeout'],
  observe(uart, clock) {
    const seen: number[] = [];
    for (let i = 0; i < 6; i++) {
      clock.advance(1e9);
      seen.push(uart.read(IIR), uart.read(LSR), uart.read(DATA), uart.read(MSR));
    }
    return seen;
  },
});

import { describe, expect, it } from 'vitest';
import { resetVcpuState } from '../../arch/x86/boot-state.js';
import { x86GdbArchitecture } from '../../arch/x86/gdb.js';
import type { Vcpu } from '../../iface/vcpu.js';
import type { Plain } from '../../snapshot/schema.js';
import { frame, PacketReader } from './packet.js';
import { GdbStub } from './stub.js';

const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const bytes = (value: string): Uint8Array => Uint8Array.from(value, (c) => c.charCodeAt(0));

function setUp() {
  let state: Plain = resetVcpuState({ signature: 0x1234, msrs: [] }, true);
  const memory = new Uint8Array(256);
  const cpu = {
    saveState: () => state,
    restoreState: (next: Plain) => {
      state = next;
    },
  } as unknown as Vcpu;
  const sent: string[] = [];
  const stub = new GdbStub(
    {
      cpus: [cpu],
      architecture: x86GdbArchitecture(true),
      readMemory: (_, address, length) => memory.slice(Number(address), Number(address) + length),
      writeMemory: (_, address, data) => {
        if (Number(address) + data.length > memory.length) return false;
        memory.set(data, Number(address));
        return true;
      },
    },
    (data) => sent.push(text(data)),
  );
  const ask = (packet: string): string => {
    sent.length = 0;
    stub.receive(frame(packet));
    const answer = sent.join('').replace(/^\+/, '');
    return new PacketReader().push(bytes(answer)).map((p) => (p.kind === 'packet' ? p.data : p.kind))[0] ?? '';
  };
  return { stub, ask, memory, sent, state: () => state as unknown as ReturnType<typeof resetVcpuState> };
}

describe('gdb stub', () => {
  it('frames with a checksum and escapes, and reads back what it framed across any split', () => {
    const framed = frame('a}b$c#d*e');
    const reader = new PacketReader();
    const got = [...framed].flatMap((byte) => reader.push(Uint8Array.of(byte)));
    expect(got).toEqual([{ kind: 'packet', data: 'a}b$c#d*e' }]);
  });

  it('asks for a damaged packet again and answers unknown ones with nothing', () => {
    const { stub, sent, ask } = setUp();
    stub.receive(bytes('$g#00'));
    expect(sent).toEqual(['-']);
    expect(ask('vMustReplyEmpty')).toBe('');
  });

  it('reads and writes registers by number and all at once', () => {
    const { ask, state } = setUp();
    expect(ask('p10')).toBe('f0ff000000000000');
    expect(ask('P10=8877665544332211')).toBe('OK');
    expect(state().rip).toBe(0x1122334455667788n);
    // EDX after reset holds the CPU's signature.
    expect(ask('p3')).toBe('3412000000000000');
    const all = ask('g');
    expect(ask(`G${all}`)).toBe('OK');
    expect(ask('g')).toBe(all);
    expect(ask('pffff')).toBe('E01');
    expect(ask('P10=12')).toBe('E01');
  });

  it('reads and writes memory, in hexadecimal and binary', () => {
    const { ask, memory } = setUp();
    expect(ask('M10,3:0a0b0c')).toBe('OK');
    expect(ask('m10,3')).toBe('0a0b0c');
    expect(ask('X20,2:}}')).toBe('OK');
    expect(memory[0x20]).toBe(0x7d);
    expect(ask('m100,4')).toBe('E14');
    expect(ask('Mfe,4:00000000')).toBe('E14');
    expect(ask('Mzz')).toBe('E01');
  });

  it('keeps breakpoints and watchpoints for the next run', () => {
    const { ask, stub } = setUp();
    expect(ask('Z0,ffffffff81000000,1')).toBe('OK');
    expect(ask('Z2,1000,8')).toBe('OK');
    expect(stub.request(true)).toEqual({
      singleStep: true,
      breakpoints: [0xffff_ffff_8100_0000n],
      watchpoints: [{ address: 0x1000n, length: 8, access: 'write' }],
    });
    expect(ask('z0,ffffffff81000000,1')).toBe('OK');
    expect(ask('z2,1000,8')).toBe('OK');
    expect(stub.request(false)).toEqual({ singleStep: false, breakpoints: [], watchpoints: [] });
    expect(ask('Z2,1000,40')).toBe('');
  });

  it('says what the debugger wants: continue, step, stop, detach', () => {
    const { stub } = setUp();
    expect(stub.receive(frame('vCont;s:1;c'))).toBe('step');
    expect(stub.receive(frame('c'))).toBe('continue');
    expect(stub.receive(bytes('\x03'))).toBe('stop');
    expect(stub.receive(frame('D'))).toBe('detach');
  });

  it('hands the target description out in pieces', () => {
    const { ask } = setUp();
    let xml = '';
    for (;;) {
      const piece = ask(`qXfer:features:read:target.xml:${xml.length.toString(16)},100`);
      xml += piece.slice(1);
      if (piece.startsWith('l')) break;
    }
    expect(xml).toBe(x86GdbArchitecture(true).targetXml);
  });
});

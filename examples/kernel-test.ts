// A test of an operating system: a kernel of 66 bytes says hello on the serial port and ends the machine with an exit code.
// Run it with: node kernel-test.ts
import { MachineHandle } from 'vitrine';

const LOAD = 0x100000;
const CODE = 32;
const TEXT = CODE + 21;

/** A multiboot kernel: the header (Multiboot 0.6.96, §3.1, with addresses), then 32-bit code, then what it prints. */
function kernel(text: string): Uint8Array {
  const image = new Uint8Array(TEXT + text.length + 1);
  const view = new DataView(image.buffer);
  const FLAGS = 0x10000;
  const header = [0x1badb002, FLAGS, -(0x1badb002 + FLAGS), LOAD, LOAD, 0, 0, LOAD + CODE];
  header.forEach((word, i) => view.setInt32(4 * i, word, true));
  // prettier-ignore
  image.set([
    0xbe, 0, 0, 0, 0,       // mov esi, text
    0x66, 0xba, 0xf8, 0x03, // mov dx, 3f8h: the first serial port
    0xac,                   // next: lodsb
    0x84, 0xc0,             // test al, al
    0x74, 0x03,             // jz end
    0xee,                   // out dx, al
    0xeb, 0xf8,             // jmp next
    0xb0, 0x15,             // end: mov al, 21
    0xe6, 0xf4,             // out 0f4h, al: ends the machine
  ], CODE);
  view.setUint32(CODE + 1, LOAD + TEXT, true);
  image.set(new TextEncoder().encode(text), TEXT);
  return image;
}

let output = '';
const machine = new MachineHandle(
  {
    kind: 'create',
    config: {
      cpu: 'x86-64-v2',
      memory: 4 << 20,
      boot: { kernel: { name: 'hello', data: kernel('hello, world'), commandLine: '', modules: [] } },
      disks: [],
      debugExit: true,
      noReboot: true,
      clock: 'virtual',
    },
  },
  {
    output: (channel, bytes, done) => {
      if (channel === 'serial') output += new TextDecoder().decode(bytes);
      done();
    },
  },
  { version: '1' },
);
const exit = await machine.exited;
console.log(output);
console.log(exit.kind === 'exit' ? `ended with ${exit.code}` : exit.kind);

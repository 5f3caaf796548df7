/** A Linux program for guests without one: connects standard input and output of a command with an AF_VSOCK socket. */
import { Assembler, byte, dword, qword, R } from '../cpu/x86/assembler/index.js';

const ORIGIN = 0x40_0000;
/** ELF header and one program header, bytes. */
const HEADERS = 0x78;

const SYSCALL = { DUP2: 33, SOCKET: 41, CONNECT: 42, ACCEPT: 43, BIND: 49, LISTEN: 50, EXECVE: 59, EXIT: 60 } as const;
const AF_VSOCK = 40;

/**
 * `vsock c PORT COMMAND …` connects to PORT of the host, `vsock l PORT COMMAND …` waits for one connection to PORT. COMMAND is
 * a path. Exit code 1 when something fails.
 */
export function vsockTool(): Uint8Array {
  const a = new Assembler({ bits: 64, origin: ORIGIN + HEADERS });
  const [digit, parsed, listen, connected, fail] = ['digit', 'parsed', 'listen', 'connected', 'fail'].map((name) =>
    a.label(name),
  );
  const call = (number: number): void => {
    a.emit('mov', R.eax, number);
    a.emit('syscall');
    a.emit('test', R.rax, R.rax);
    a.emit('js', fail);
  };
  // argc, argv …, NULL, envp: r12 = &argv[3], r13 = envp, r14 = argv[1].
  a.emit('mov', R.rax, qword([R.rsp]));
  a.emit('lea', R.r12, qword([R.rsp, 32]));
  a.emit('mov', R.r13, R.rax);
  a.emit('shl', R.r13, 3);
  a.emit('add', R.r13, R.rsp);
  a.emit('add', R.r13, 16);
  a.emit('mov', R.r14, qword([R.rsp, 16]));
  a.emit('mov', R.rsi, qword([R.rsp, 24]));
  a.emit('xor', R.ebx, R.ebx);
  a.bind(digit);
  a.emit('movzx', R.eax, byte([R.rsi]));
  a.emit('inc', R.rsi);
  a.emit('test', R.eax, R.eax);
  a.emit('je', parsed);
  a.emit('imul', R.ebx, R.ebx, 10);
  a.emit('sub', R.eax, 48);
  a.emit('add', R.ebx, R.eax);
  a.emit('jmp', digit);
  a.bind(parsed);
  a.emit('mov', R.edi, AF_VSOCK);
  a.emit('mov', R.esi, 1);
  a.emit('xor', R.edx, R.edx);
  call(SYSCALL.SOCKET);
  a.emit('mov', R.ebp, R.eax);
  // struct sockaddr_vm: family, reserved, port, context identifier (here the host's, or any), zeros.
  a.emit('sub', R.rsp, 16);
  a.emit('mov', qword([R.rsp]), AF_VSOCK);
  a.emit('mov', dword([R.rsp, 4]), R.ebx);
  a.emit('mov', qword([R.rsp, 8]), 2);
  a.emit('mov', R.edi, R.ebp);
  a.emit('mov', R.rsi, R.rsp);
  a.emit('mov', R.edx, 16);
  a.emit('cmp', byte([R.r14]), 'l'.charCodeAt(0));
  a.emit('je', listen);
  call(SYSCALL.CONNECT);
  a.emit('jmp', connected);
  a.bind(listen);
  a.emit('mov', R.eax, 0xffff_ffff);
  a.emit('mov', dword([R.rsp, 8]), R.eax);
  call(SYSCALL.BIND);
  a.emit('mov', R.edi, R.ebp);
  a.emit('mov', R.esi, 1);
  call(SYSCALL.LISTEN);
  a.emit('mov', R.edi, R.ebp);
  a.emit('xor', R.esi, R.esi);
  a.emit('xor', R.edx, R.edx);
  call(SYSCALL.ACCEPT);
  a.emit('mov', R.ebp, R.eax);
  a.bind(connected);
  for (const descriptor of [0, 1]) {
    a.emit('mov', R.edi, R.ebp);
    a.emit('mov', R.esi, descriptor);
    call(SYSCALL.DUP2);
  }
  a.emit('mov', R.rdi, qword([R.r12]));
  a.emit('mov', R.rsi, R.r12);
  a.emit('mov', R.rdx, R.r13);
  call(SYSCALL.EXECVE);
  a.bind(fail);
  a.emit('mov', R.edi, 1);
  a.emit('mov', R.eax, SYSCALL.EXIT);
  a.emit('syscall');
  return elf(a.finish());
}

/** An executable of x86-64 that is one segment. System V ABI, ELF-64 object file format. */
function elf(code: Uint8Array): Uint8Array {
  const image = new Uint8Array(HEADERS + code.length);
  const view = new DataView(image.buffer);
  image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  // ET_EXEC, EM_X86_64, entry, program headers.
  view.setUint16(16, 2, true);
  view.setUint16(18, 62, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(ORIGIN + HEADERS), true);
  view.setBigUint64(32, 0x40n, true);
  view.setUint16(52, 0x40, true);
  view.setUint16(54, 0x38, true);
  view.setUint16(56, 1, true);
  // PT_LOAD, readable and executable, all of the file.
  view.setUint32(0x40, 1, true);
  view.setUint32(0x44, 5, true);
  view.setBigUint64(0x50, BigInt(ORIGIN), true);
  view.setBigUint64(0x58, BigInt(ORIGIN), true);
  view.setBigUint64(0x60, BigInt(image.length), true);
  view.setBigUint64(0x68, BigInt(image.length), true);
  view.setBigUint64(0x70, 0x1000n, true);
  image.set(code, HEADERS);
  return image;
}

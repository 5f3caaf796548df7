// A Linux with the real KVM on a processor that Bochs emulates, VT-x and nested paging included: a host for our KVM accelerator where this one has none.
//
//   node tools/verify/kvm/vmx.mjs [--limit SECONDS] COMMAND     one command of a shell, with its output; `sh` to type more
//
// It has what is built here, and a folder /guests, and what it writes is gone afterwards. It is there within two minutes, or ten on a slow host.
import { Buffer } from 'node:buffer';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { debianFile, debianTool } from '../../../dist/guests/debian-tools.js';
import { cacheRoot } from '../../../dist/host/node/cache.js';
import { expect, extendedInitrd, FIRST_STEPS, root, runProgram, withFolder } from '../lib.mjs';
import { hostLinux, runAndSay, saidBy } from './host-linux.mjs';

/** Instructions of the emulated processor in a second of its clocks, and ticks of its time-stamp counter. */
const IPS = 150_000_000;
/** What Linux counts by in a 250th of a second: it need not find out. */
export const LPJ = IPS / 250;

const INIT = `${FIRST_STEPS}dmesg -n 4
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
modprobe kvm_intel
export HOME=/root
cd /vitrine
${runAndSay('sh /commands')}`;

/** What a program of this machine is loaded with. */
const librariesOf = (program) =>
  [...execFileSync('ldd', [program], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g)].map(([, file]) => file);

/** Our files there: their names, with a text, or with the file that they come from. */
function ourFiles(commands, guests) {
  const node = realpathSync(process.execPath);
  const files = new Map([
    ['vmx', { text: INIT }],
    ['commands', { text: `${commands}\n` }],
    ['usr/bin/node', { from: node }],
    ['vitrine/package.json', { from: path.join(root, 'package.json') }],
  ]);
  for (const file of librariesOf(node)) files.set(file.slice(1), { from: file });
  for (const folder of ['dist', 'node_modules/koffi', 'node_modules/@koromix/koffi-linux-x64'])
    for (const name of readdirSync(path.join(root, folder), { recursive: true })) {
      const from = path.join(root, folder, name);
      if (!/\.(map|d\.ts)$/.test(name) && statSync(from).isFile())
        files.set(path.join('vitrine', folder, name), { from });
    }
  for (const [name, from] of Object.entries(guests)) files.set(path.join('guests', name), { from });
  return files;
}

/** An initramfs with files behind it. */
function initrdWithFiles(initrd, files) {
  const folders = new Set();
  for (const name of files.keys())
    for (let folder = path.dirname(name); folder !== '.'; folder = path.dirname(folder)) folders.add(folder);
  return extendedInitrd(initrd, [
    // Those that hold others come first.
    ...[...folders].sort().map((name) => ({ kind: 'folder', path: name })),
    ...[...files].map(([name, { from, text }]) => ({
      ...{ kind: 'file', path: name, mode: 0o755 },
      data: from === undefined ? Buffer.from(text) : readFileSync(from),
    })),
  ]);
}

/** A CD that starts it: Bochs has no other way to a kernel. */
async function bootableCd(folder, commands, guests) {
  const cache = cacheRoot();
  const { kernel, initrd } = await hostLinux();
  const tree = path.join(folder, 'cd');
  mkdirSync(tree);
  const put = (name, text) => writeFileSync(path.join(tree, name), text);
  const copy = (file) => copyFileSync(file, path.join(tree, path.basename(file)));
  copy(await debianFile('/usr/lib/ISOLINUX/isolinux.bin', 'isolinux', { cache }));
  copy(await debianFile('/usr/lib/syslinux/modules/bios/ldlinux.c32', 'syslinux-common', { cache }));
  copyFileSync(kernel, path.join(tree, 'linux'));
  put('initrd', initrdWithFiles(initrd, ourFiles(commands, guests)));
  const words = `console=ttyS0,115200 quiet panic=-1 rdinit=/vmx tsc=reliable mitigations=off lpj=${LPJ}`;
  put('isolinux.cfg', `default linux\nlabel linux\nkernel linux\ninitrd initrd\nappend ${words}\n`);
  const { path: xorriso, env } = await debianTool('xorriso', 'xorriso', { cache });
  const cd = path.join(folder, 'cd.iso');
  const loader = ['-b', 'isolinux.bin', '-c', 'boot.cat', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table'];
  execFileSync(xorriso, ['-as', 'mkisofs', '-quiet', '-o', cd, ...loader, tree], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return cd;
}

/** Bochs's configuration, and what its debugger is to do: go on. The serial port is a connection to `port`. */
async function configure(folder, cd, port) {
  const cache = cacheRoot();
  const [file, start] = ['bochsrc', 'start'].map((name) => path.join(folder, name));
  const bios = await debianFile('/usr/share/bochs/BIOS-bochs-latest', 'bochsbios', { cache });
  const vgaBios = await debianFile('/usr/share/vgabios/vgabios.bin', 'vgabios', { cache });
  const lines = [
    `cpu: model=corei7_haswell_4770, ips=${IPS}`,
    'memory: guest=2048, host=2048',
    `romimage: file=${bios}`,
    `vgaromimage: file=${vgaBios}`,
    `ata0-master: type=cdrom, path=${cd}, status=inserted`,
    'boot: cdrom',
    `com1: enabled=1, mode=socket-client, dev=localhost:${port}`,
    'clock: sync=none',
    'display_library: rfb, options="timeout=0"',
    `log: ${path.join(folder, 'log')}`,
    'panic: action=fatal',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  writeFileSync(start, 'c\n');
  return ['-q', '-f', file, '-rc', start];
}

/** Has somebody at the other end of a serial port while `use` runs with the number of its port. */
async function withSerial(talk, use) {
  const server = createServer(talk);
  await new Promise((resolve, reject) => server.on('error', reject).listen(0, '127.0.0.1', resolve));
  try {
    return await use(server.address().port);
  } finally {
    server.close();
  }
}

/** Runs commands of a shell on that host, in a folder with `dist`. What they wrote, and the exit code of the last one. `guests`: files for /guests. `limit`: seconds. `seen` gets the output as it comes, `typed` who can type. */
export const onEmulatedVmx = (commands, { limit = 3600, guests = {}, seen, typed } = {}) =>
  withFolder(async (folder) => {
    const cd = await bootableCd(folder, commands, guests);
    const cache = cacheRoot();
    const bochs = await debianTool('bochs-bin', 'bochs', { cache });
    // An unpacked one does not find its parts by itself, and has no room for a long path to them.
    const part = await debianFile('/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_rfb_gui.so', 'bochs', { cache });
    const parts = path.join(folder, 'parts');
    symlinkSync(path.dirname(part), parts);
    let output = '';
    const talk = (socket) => {
      socket.on('error', () => {});
      socket.setEncoding('utf8').on('data', (text) => {
        output += text;
        seen?.(text);
      });
      typed?.(socket);
    };
    const bochsOn = async (port) => {
      const args = await configure(folder, cd, port);
      // It ends with this process. Where nobody looks at its screen it sends that to its standard input, if that is a socket.
      const command = 'exec setpriv --pdeathsig KILL "$@" </dev/null';
      const env = { ...process.env, ...bochs.env, LTDL_LIBRARY_PATH: parts };
      return runProgram('sh', ['-c', command, 'sh', bochs.path, ...args], { env, limit });
    };
    const { seconds, stdout, stderr } = await withSerial(talk, bochsOn).catch(({ message }) => {
      throw new Error(`${message}\n${output.slice(-2000)}`);
    });
    const said = saidBy(output);
    const tails = () => [stdout, stderr, output].map((text) => text.slice(-2000)).join('\n');
    expect(said !== undefined, `the host that Bochs emulates went down before the commands had ended\n${tails()}`);
    return { ...said, seconds };
  });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: { limit: { type: 'string', default: '3600' } },
    allowPositionals: true,
  });
  const { code } = await onEmulatedVmx(positionals.join(' '), {
    limit: Number(values.limit),
    seen: (text) => process.stdout.write(text),
    typed: (socket) => process.stdin.pipe(socket),
  });
  process.stdin.destroy();
  process.exitCode = code;
}

import { Command } from 'commander';
import { cpuModel } from '../arch/x86/cpu-models.js';
import { UsageError } from '../base/errors.js';
import { checkInitrd } from '../firmware/loaders/initrd.js';
import { gunzip } from '../host/node/deflate.js';
import { readWholeFile } from '../host/node/read-file.js';
import type { BootSource } from '../machine/common/board.js';
import { checkAccelerator } from '../runtime/node/accelerator-names.js';
import { checkMemory } from '../runtime/node/accelerators.js';
import {
  addBootOptions,
  BOOT_HELP,
  configureFirmware,
  type BootOptions,
  type ConfiguredFirmware,
} from './boot-options.js';
import { configureDisks, type DiskOptions } from './disk-options.js';
import { addDisplayOptions, configureDisplay, type DisplayOptions } from './display-options.js';
import { runDetached, type DetachedOptions } from './detached-run.js';
import { bootByAgent, bootOnConsole, type ImageBoot } from './image-boot.js';
import { DEMO, guestBoot } from './images.js';
import { addNetOptions, configureNetworks, NET_HELP, type NetOptions } from './net-options.js';
import { parseClock, parseCpuCount, parseMachine, parseMemory, parseModule } from './parse.js';
import {
  addImageOptions,
  checkImageOptions,
  findImage,
  IMAGE_HELP,
  isImageName,
  refuseImageOptions,
  type ImageOptions,
} from './image-options.js';
import { chooseIo, collect } from './program-options.js';
import { configureSharing, type SharingOptions } from './sharing-options.js';
import { addSessionOptions, readSessionOptions, type RawSessionOptions } from './session-options.js';

interface RunOptions
  extends
    RawSessionOptions,
    BootOptions,
    DetachedOptions,
    DiskOptions,
    DisplayOptions,
    ImageOptions,
    NetOptions,
    SharingOptions {
  readonly machine: string;
  readonly cpu: string;
  readonly memory: string;
  readonly smp: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly module?: readonly string[];
  readonly append?: string;
  readonly clock: string;
  /** commander's reading of --no-reboot. */
  readonly reboot: boolean;
  readonly debugExit?: boolean;
}

const EXAMPLES = `
Without --kernel and --bios, Debian's own Linux boots to a shell; it is fetched the
first time (see vitrine guest). Kernels are recognised by what is in them: a Linux
bzImage, an ELF file with a PVH entry, or a multiboot 1 kernel, gzip'ed or not.

The terminal is the guest's first serial port. Ctrl-A x quits, Ctrl-A h lists the other
keys; Ctrl-C goes to the guest. Without a terminal, standard input is piped to the port.

A disk is a file, or the address of one (http, https), and words, divided by commas (a comma in
the name is written twice); "vitrine disk" makes images:
  format=raw|qcow2       what the image is; otherwise what it looks like
  readonly               the guest cannot write
  snapshot               what the guest writes is thrown away in the end
  if=virtio|sata|ide|floppy  what it is attached to; virtio unless it is a CD
  media=cdrom            a CD in a drive
  serial=TEXT            the serial number that the guest reads
  internal=NAME          a snapshot within a qcow2 image; with readonly or snapshot
  cache=writeback|none   through the host's cache, or past it; writeback unless given
  queues=N               queues of a virtio disk, 1 to 16

${BOOT_HELP.trim()}

A shared folder is a folder and words:
  tag=NAME               what the guest mounts it by; otherwise share, share1 ...
  readonly               the guest cannot write
  driver=virtiofs|9p     how it is carried: mount -t virtiofs NAME /mnt, or
                         mount -t 9p -o trans=virtio,version=9p2000.L NAME /mnt

The exit code is 0 when the guest powers off. Otherwise it is not 0, and the last line on
standard error says why.

Examples:
  vitrine run                                  Debian's Linux, to a shell
  vitrine run demo                             our own guest: all modes of the processor
  vitrine run demo --append stages=real,ring3  some of them; also protected, v86, pae, long, calls
  vitrine run amd64-generic --memory 1G        another guest of "vitrine guest list"
  vitrine run oci:debian:12 -- cat /etc/issue  a container image, and what it runs
  vitrine run --kernel vmlinuz --initrd initrd --append "console=ttyS0 quiet"
  vitrine run --kernel xen.gz --append "console=com1" \\
              --module "vmlinuz,console=hvc0" --module initrd --memory 2G
  vitrine run --bios bios.bin --disk disk.img
  vitrine run --save-on-exit shell.snap        then Ctrl-A x, then:
  vitrine resume shell.snap
  vitrine run --gdb tcp:1234 -S                then in gdb: target remote :1234
  vitrine run demo --trace exec,int            what it does, in vitrine.trace`;

export function runCommand(): Command {
  const command = new Command('run');
  command
    .description('run a machine on this terminal')
    .argument('[image]', 'what to run: a name from "vitrine guest list", demo, or a container image (oci:NAME)')
    .argument('[command...]', "behind --: what a container image's program is given")
    .optionsGroup('What to boot:')
    .option('--kernel <file>', 'a kernel, started without firmware')
    .option('--initrd <file>', "Linux's initial file system")
    .option('--module <file[,words]>', 'a module for a multiboot kernel, in order', collect)
    .option('--append <words>', 'the kernel command line');
  addBootOptions(command);
  addImageOptions(command)
    .optionsGroup('The machine:')
    .option('--memory <size>', 'RAM: 512M, 2G', '512M')
    .option(
      '--cpu <model>',
      "CPU model: x86-64-v2, pentium4 (32-bit), 486; x86-64-v2,kvmclock: with KVM's clock for guests",
      'x86-64-v2',
    )
    .option('--smp <n>', 'number of CPUs', '1')
    .option('--machine <type>', 'the board: pc (Q35, ICH9), or microvm (virtio alone, starts faster)', 'pc')
    .option('--disk <file[,words]>', 'a disk image; words: see below', collect)
    .option('--cdrom <file>', 'a CD image, in a drive', collect)
    .option('--snapshot', 'throw away what the guest writes to any disk')
    .option('--share <folder[,words]>', 'share a folder with the guest; words: see below', collect)
    .option('--balloon', 'a memory balloon: what the guest does not need is given back to the host')
    .option(
      '--vsock <path=file[,cid=n]>',
      'sockets between guest and host (vsock), by a Unix socket: CONNECT PORT there reaches the guest; the guest reaches FILE_PORT',
    )
    .option('--port <name=name,path=file>', 'a port of the virtio console, by a Unix socket', collect)
    .option(
      '--clock <kind>',
      'host, or virtual: time made by instructions, a fixed date and fixed random numbers, so that every run is the same',
      'host',
    )
    .option('-d, --detach', 'run it in the background, and print its name; see vitrine ls')
    .option('--json', 'with --detach: print what it is, as JSON')
    .option('--no-reboot', 'a reset or triple fault of the guest ends the machine')
    .option('--debug-exit', 'add isa-debug-exit: a write of n to port 0xf4 ends with exit code 2n+1');
  return addSessionOptions(addDisplayOptions(addNetOptions(command)))
    .addHelpText('after', `${NET_HELP}\n${IMAGE_HELP}\n${EXAMPLES}`)
    .action(run);
}

/** What was asked for, checked as far as it can be without a machine. */
async function configure(
  image: string | undefined,
  command: readonly string[],
  options: RunOptions,
): Promise<ImageBoot> {
  const machine = parseMachine(options.machine);
  if (image === DEMO && machine !== 'pc') throw new UsageError('the demo needs the chips of a PC: --machine pc');
  const cpus = parseCpuCount(options.smp);
  cpuModel(options.cpu);
  const memory = parseMemory(options.memory);
  checkMemory(memory, cpus, options.accel === undefined ? undefined : checkAccelerator(options.accel));
  const sharing = configureSharing(options);
  const firmware = await configureFirmware(options);
  const display = configureDisplay(options, firmware.file, machine);
  if (display.vga === 'none' && (options.vnc !== undefined || options.display === 'vnc'))
    throw new UsageError('there is no screen for --vnc to show; --vga std or virtio gives one');
  const base = {
    machine,
    cpu: options.cpu,
    cpus,
    memory,
    disks: configureDisks(options),
    // The demonstration ends by isa-debug-exit when something failed.
    debugExit: (options.debugExit ?? false) || image === DEMO,
    noReboot: !options.reboot || image === DEMO,
    clock: parseClock(options.clock),
    display,
    ...(firmware.config && { firmware: firmware.config }),
    ...(sharing && { sharing }),
    networks: configureNetworks(options, parseClock(options.clock), image !== DEMO),
  };
  if (image === undefined || !isImageName(image)) {
    refuseImageOptions(options, command);
    return { config: { ...base, boot: await whatToBoot(image, options, firmware) } };
  }
  if (options.kernel !== undefined || firmware.file !== undefined)
    throw new UsageError(`give either an image (${image}) or --kernel and --bios`);
  checkImageOptions(options);
  if (options.tty ?? options.interactive) chooseIo(options);
  // A machine that is saved is saved with its terminal, and one that is the same each time takes nothing from outside.
  const alone = options.saveOnExit !== undefined || base.clock === 'virtual';
  const boot = alone ? bootOnConsole : bootByAgent;
  return boot(await findImage(image, options.insecure), command, options, base, options.append);
}

async function whatToBoot(
  image: string | undefined,
  options: RunOptions,
  { bios, file }: ConfiguredFirmware,
): Promise<BootSource> {
  const { kernel, initrd, module = [], append } = options;
  const fromFiles = kernel !== undefined || file !== undefined;
  if (image !== undefined && fromFiles) throw new UsageError(`give either a guest (${image}) or --kernel and --bios`);
  if (kernel === undefined && (initrd !== undefined || module.length > 0))
    throw new UsageError('--initrd and --module need --kernel');
  if (!fromFiles) return guestBoot(image, append);
  if (kernel === undefined && append !== undefined) throw new UsageError('--append needs --kernel');
  const modules = module.map(parseModule).map(({ path, words }) => ({
    name: path,
    data: readWholeFile(path, 'module'),
    ...(words !== undefined && { arguments: words }),
  }));
  if (initrd !== undefined) {
    const data = readWholeFile(initrd, 'initrd');
    checkInitrd(data, initrd, gunzip);
    modules.unshift({ name: initrd, data });
  }
  return {
    ...(bios && { bios }),
    ...(kernel !== undefined && {
      kernel: { name: kernel, data: readWholeFile(kernel, 'kernel'), commandLine: append ?? '', modules },
    }),
  };
}

async function run(
  image: string | undefined,
  command: readonly string[],
  options: RunOptions,
  described: Command,
): Promise<void> {
  if (options.detach) {
    await runDetached(image, command, options, described);
    return;
  }
  if (options.json) throw new UsageError('--json goes together with --detach');
  const session = readSessionOptions(options);
  if (image !== undefined && isImageName(image) && session.console !== 'serial')
    throw new UsageError("a container image's program runs on ttyS0: --console cannot be another");
  const { config, ...how } = await configure(image, command, options);
  // What is only wanted by what can run is loaded then: a mistake is told at once.
  const { runSession } = await import('./session.js');
  process.exitCode = await runSession({ kind: 'create', config }, { ...session, ...how });
}

/** Firmware by name: where distributions put it, else out of Debian's packages, as guests are. */
import * as fs from 'node:fs';
import type { ToolOptions } from './debian-tools.js';
import { ensureGuest } from './prepare.js';

export interface Firmware {
  /** The image that runs. */
  readonly code: string;
  /** An empty store of variables; empty text for firmware that has none. */
  readonly variables: string;
}

/** Places of Debian, Fedora, Arch, openSUSE and QEMU itself. */
const PLACES = {
  seabios: [
    '/usr/share/seabios/bios-256k.bin',
    '/usr/share/qemu/bios-256k.bin',
    '/usr/share/seabios/bios.bin',
    '/usr/local/share/qemu/bios-256k.bin',
  ].map((code) => [code, '']),
  ovmf: [
    ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'],
    ['/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'],
    ['/usr/share/edk2/ovmf/OVMF_CODE.fd', '/usr/share/edk2/ovmf/OVMF_VARS.fd'],
    ['/usr/share/edk2/x64/OVMF_CODE.4m.fd', '/usr/share/edk2/x64/OVMF_VARS.4m.fd'],
    ['/usr/share/qemu/ovmf-x86_64-code.bin', '/usr/share/qemu/ovmf-x86_64-vars.bin'],
    ['/usr/share/qemu/edk2-x86_64-code.fd', '/usr/share/qemu/edk2-i386-vars.fd'],
  ],
} as const satisfies Readonly<Record<string, readonly (readonly string[])[]>>;

/** Names of the files in the prepared guest of the same name. */
const FETCHED = {
  seabios: ['bios-256k.bin', undefined],
  ovmf: ['OVMF_CODE_4M.fd', 'OVMF_VARS_4M.fd'],
} as const;

/** Finds firmware, or fetches it. Throws a one-line error when neither can be. */
export async function findFirmware(name: keyof typeof PLACES, options: ToolOptions): Promise<Firmware> {
  for (const [code, variables] of PLACES[name] as readonly (readonly string[])[])
    if (fs.existsSync(code) && (variables === '' || fs.existsSync(variables))) return { code, variables };
  const { files } = await ensureGuest(name, options);
  const [code, variables] = FETCHED[name];
  return { code: files[code], variables: variables === undefined ? '' : files[variables] };
}

/** Folders with network boot ROMs. */
const ROM_FOLDERS = ['/usr/lib/ipxe/qemu', '/usr/share/qemu', '/usr/share/ipxe/qemu', '/usr/share/ipxe'];

/** The file of a network card's boot ROM (iPXE), such as `pxe-virtio.rom`: of this machine, or of one that was fetched. */
export async function findBootRom(file: string, options: ToolOptions): Promise<string | undefined> {
  const own = ROM_FOLDERS.map((folder) => `${folder}/${file}`).find((name) => fs.existsSync(name));
  if (own !== undefined) return own;
  return (await ensureGuest('ipxe', options)).files[file];
}

/** A machine's screen for real clients: SeaBIOS's text, and a boot loader's graphics. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import WebSocket from 'ws';
import { NoVnc } from '../testing/novnc.js';
import { differingPixels, readPng } from '../testing/png-reader.js';
import { describeWith, requireFile, requireGuest, requireTool } from '../testing/tools.js';
import { VitrineProcess } from '../testing/machine-process.js';

const seabios = await requireGuest('seabios');
const gvnccapture = await requireTool('gvnccapture', 'gvncviewer');
const vncsnapshot = await requireTool('vncsnapshot');
const chromium = await requireTool('chromium');
const novnc = await requireFile('/usr/share/novnc/vnc.html', 'novnc');

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-vnc-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A boot sector that sets a VESA mode (0x4117: 1024 × 768, 16 bits) and fills the first bank with green; then it waits. */
function graphicsBootSector(): Uint8Array {
  const sector = new Uint8Array(1474560);
  sector.set([
    ...[0xb8, 0x02, 0x4f, 0xbb, 0x17, 0x01, 0xcd, 0x10], // mov ax,4f02h; mov bx,117h; int 10h
    ...[0xb8, 0x00, 0xa0, 0x8e, 0xc0, 0x31, 0xff], // mov ax,0a000h; mov es,ax; xor di,di
    ...[0xb8, 0xe0, 0x07, 0xb9, 0x00, 0x80, 0xfc, 0xf3, 0xab], // mov ax,7e0h; mov cx,8000h; cld; rep stosw
    ...[0xf4, 0xeb, 0xfd], // hlt; jmp $-1
  ]);
  sector.set([0x55, 0xaa], 510);
  return sector;
}

async function started(args: readonly string[]): Promise<{ machine: VitrineProcess; port: number; webSocket: number }> {
  const machine = new VitrineProcess(['run', '--memory', '32M', ...args]);
  for (let i = 0; i < 400 && !/vnc: .*\n/.test(machine.errors); i++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  const [, port, webSocket = '0'] =
    /vnc: 127\.0\.0\.1:(\d+)(?:, WebSocket 127\.0\.0\.1:(\d+))?/.exec(machine.errors) ?? [];
  expect(machine.errors).toMatch(/vnc: 127/);
  return { machine, port: Number(port), webSocket: Number(webSocket) };
}

async function screenshot(port: number, to: string, words = ''): Promise<string> {
  const file = path.join(folder, to);
  const { code, errors } = await new VitrineProcess(['screenshot', `:${port}${words}`, '--to', file]).ended;
  expect([code, errors]).toEqual([0, '']);
  return file;
}

describeWith([seabios, chromium, novnc], 'noVNC in Chromium', () => {
  it('shows the picture and types', async () => {
    const bios = seabios.files['bios-256k.bin'];
    const disk = path.join(folder, 'menu.img');
    writeFileSync(disk, graphicsBootSector());
    const menu = ['--boot', 'menu=on,splash-time=60000', '--disk', disk];
    const { machine, port, webSocket } = await started(['--bios', bios, ...menu, '--vnc', ':auto,websocket']);
    await machine.until(/Press ESC for boot menu/);
    const page = await NoVnc.open(chromium, path.dirname(novnc.path), webSocket);
    onTestFinished(() => page.close());
    await page.press('Escape', 'Escape');
    await machine.until(/Select boot device/);
    // The cursor blinks, and the page is told of it a moment later.
    const differences: number[] = [];
    for (let i = 0; i < 20 && !differences.includes(0); i++)
      differences.push(differingPixels(readPng(await screenshot(port, 'menu.png')), await page.picture()));
    expect(Math.min(...differences)).toBe(0);
    await page.type('1');
    await machine.until(/Booting from/);
  });
});

describeWith([seabios, gvnccapture, vncsnapshot], 'a machine with --vnc', () => {
  const bios = seabios.files['bios-256k.bin'];

  it('shows SeaBIOS’s text to Debian’s clients as to our own', async () => {
    const { machine, port, webSocket } = await started(['--bios', bios, '--vnc', ':auto,websocket']);
    await machine.until(/No bootable device/);
    const ours = await screenshot(port, 'text.png');
    expect(readPng(ours)).toMatchObject({ width: 720, height: 400 });
    const captured = path.join(folder, 'captured.png');
    await gvnccapture.run([`127.0.0.1:${port - 5900}`, captured]);
    // The cursor may be in the other half of its blinking.
    expect(differingPixels(readPng(ours), readPng(captured))).toBeLessThan(9 * 16);
    for (const encodings of ['raw', 'hextile', 'tight', 'rre', 'copyrect']) {
      const file = path.join(folder, `${encodings}.jpg`);
      await vncsnapshot.run(['-encodings', encodings, `127.0.0.1::${port}`, file]);
      expect(readFileSync(file).length).toBeGreaterThan(1000);
    }
    // As noVNC connects, and as a page of somebody else's would.
    const socket = new WebSocket(`ws://127.0.0.1:${webSocket}`, ['binary', 'base64']);
    const first = await new Promise((resolve) =>
      socket.once('message', (data: Buffer) => resolve(data.toString('latin1'))),
    );
    expect([first, socket.protocol]).toEqual(['RFB 003.008\n', 'binary']);
    socket.close();
    const foreign = new WebSocket(`ws://127.0.0.1:${webSocket}`, { origin: 'http://example.com' });
    expect(await new Promise((resolve) => foreign.once('error', (error) => resolve(error.message)))).toMatch(/401/);
  });

  it('has the machine’s name for a title', async () => {
    const name = `vnc-title-${process.pid}`;
    const { machine, port } = await started(['--bios', bios, '--vnc', ':auto', '--name', name]);
    const client = connect(port, '127.0.0.1');
    // RFB 3.3: the server chooses no security.
    client.write('RFB 003.003\n\x01');
    let text = '';
    for await (const bytes of client) if (/Vitrine \(.*\)$/.test((text += String(bytes)))) break;
    expect(text.endsWith(`Vitrine (${name})`)).toBe(true);
    machine.kill('SIGTERM');
    await machine.ended;
  });

  it('shows VESA graphics, to who knows the password', async () => {
    const disk = path.join(folder, 'disk.img');
    writeFileSync(disk, graphicsBootSector());
    const { machine, port } = await started(['--bios', bios, '--disk', disk, '--vnc', ':auto,password=secret']);
    await machine.until(/Booting from/);
    // VESA graphics of a boot sector: the upper 32 lines are green.
    let picture: ReturnType<typeof readPng> = { width: 0, height: 0, rgb: new Uint8Array(0) };
    for (let i = 0; i < 40 && picture.width !== 1024; i++)
      picture = readPng(await screenshot(port, 'graphics.png', ',password=secret'));
    expect([picture.width, picture.height, ...picture.rgb.subarray(0, 3)]).toEqual([1024, 768, 0, 255, 0]);
    const at = 40 * 1024 * 3;
    expect([...picture.rgb.subarray(at, at + 3)]).toEqual([0, 0, 0]);
    const { code, errors } = await new VitrineProcess(['screenshot', `:${port}`, '--to', '/dev/null']).ended;
    expect([code, errors]).toEqual([1, `vitrine: no picture of 127.0.0.1:${port}: the server wants a password\n`]);
  });
});

describe('a screenshot', () => {
  const shot = (display: string, ...words: readonly string[]): Promise<{ code: number | null; errors: string }> =>
    new VitrineProcess(['screenshot', display, '--to', path.join(folder, 'none.png'), ...words]).ended;

  it('is not waited for longer than was said, whatever the server sends meanwhile', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      // RFB 3.8, no security, a screen of one pixel; then it rings the bell.
      const greeting = [...Buffer.from('RFB 003.008\n'), 1, 1, 0, 0, 0, 0, 0, 1, 0, 1];
      socket.write(Uint8Array.from([...greeting, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 0, 0, 0, 0]));
      const bell = setInterval(() => socket.write(Uint8Array.of(2)), 50);
      socket.on('close', () => clearInterval(bell));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const { code, errors } = await shot(`:${port}`, '--timeout', '1');
    expect([code, errors]).toEqual([
      1,
      `vitrine: no picture of 127.0.0.1:${port}: the server has not sent it in 1 s\n`,
    ]);
  });

  it.each([
    [':auto', 'the display has no number: "auto" is for --vnc'],
    [':1,websocket', 'the display does not know "websocket": pictures come by TCP'],
    ['nowhere.invalid:1', 'no picture of nowhere.invalid:5901: there is no host of this name'],
  ])('of %s is refused in one line', async (display, message) => {
    const { code, errors } = await shot(display);
    expect([code, errors]).toEqual([1, `vitrine: ${message}\n`]);
  });
});

import { connect } from 'node:net';
import { Command } from 'commander';
import { HostError, UsageError } from '../base/errors.js';
import { encodePng } from '../display/png.js';
import { RfbClient } from '../display/rfb/client.js';
import type { Frame } from '../display/scan-out.js';
import { zlib } from '../host/node/deflate.js';
import { writeWholeFile } from '../host/node/output-file.js';
import { rfbCrypto } from '../host/node/rfb-crypto.js';
import type { VncOptions } from '../runtime/node/vnc-server.js';
import { ask, printJson } from './machine-client.js';
import { parseVnc } from './vnc-options.js';

interface ScreenshotOptions {
  readonly to: string;
  readonly timeout: string;
  readonly json?: boolean;
}

const EXAMPLES = `
A machine that runs detached is called by its name, and needs --vga std; one on a terminal must
run with --vnc, and any other VNC server will do, too.

Examples:
  vitrine run -d --name box --vga std
  vitrine screenshot box --to screen.png
  vitrine run --bios bios.bin --disk disk.img --vnc :1
  vitrine screenshot :1 --to screen.png
  vitrine screenshot :1,password-file=secret --to screen.png`;

export function screenshotCommand(): Command {
  return new Command('screenshot')
    .description("write a picture of a machine's screen to a PNG file")
    .argument(
      '<machine>',
      'the name of a detached machine; or a display as given to --vnc: :1, HOST:1 or HOST:5901, with password= or password-file=',
    )
    .requiredOption('--to <file>', 'where to')
    .option('--timeout <seconds>', 'how long to wait for the server', '10')
    .option('--json', 'say what was written, as JSON')
    .addHelpText('after', EXAMPLES)
    .action(run);
}

async function run(display: string, { to, timeout, json }: ScreenshotOptions): Promise<void> {
  const seconds = Number(timeout);
  if (!(seconds > 0 && seconds < 1e6)) throw new UsageError(`--timeout ${timeout} is not a number of seconds`);
  // Names have no colon, and displays have.
  const picture = display.includes(':')
    ? encodePng(await look(parseVnc(display, 'the display'), seconds * 1000), zlib)
    : await ask(display, (client) => client.screenshot(display, { signal: AbortSignal.timeout(seconds * 1000) }));
  writeWholeFile(to, 'picture', picture);
  if (json) printJson({ file: to, bytes: picture.length });
}

function connectReason({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'there is no server';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'there is no host of this name';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'there is no way to this host';
    default:
      return code ?? message;
  }
}

/** The screen of a VNC server. Rejected with a one-line error. */
function look({ address, password, webSocket }: VncOptions, milliseconds: number): Promise<Frame> {
  if (address.port === 0) throw new UsageError('the display has no number: "auto" is for --vnc');
  if (webSocket) throw new UsageError('the display does not know "websocket": pictures come by TCP');
  const where = `${address.host}:${address.port}`;
  return new Promise((resolve, reject) => {
    const socket = connect(address.port, address.host);
    // A server that sends something now and then but no picture does not answer either.
    const timer = setTimeout(() => fail(`the server has not sent it in ${milliseconds / 1000} s`), milliseconds);
    const fail = (reason: string, cause?: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new HostError(`no picture of ${where}: ${reason}`, { cause }));
    };
    const client = new RfbClient({
      password,
      crypto: rfbCrypto,
      write: (bytes) => socket.write(bytes),
      finished: (frame) => {
        clearTimeout(timer);
        socket.destroy();
        resolve(frame);
      },
      failed: (reason) => fail(reason),
    });
    socket.on('data', (bytes) => client.receive(new Uint8Array(bytes)));
    socket.on('end', () => client.ended());
    socket.on('error', (error: NodeJS.ErrnoException) => fail(connectReason(error), error));
  });
}

/** `--vnc` and `--display`: how a machine's screen is shown, and where a VNC server is. */
import { UsageError } from '../base/errors.js';
import { PASSWORD_LENGTH } from '../display/rfb/handshake.js';
import { readWholeFile } from '../host/node/read-file.js';
import type { StreamAddress } from '../host/node/stream-listener.js';
import type { VncOptions } from '../runtime/node/vnc-server.js';
import { splitCommas } from './parse.js';

/** TCP ports of VNC's displays begin here; WebSockets' where other programs have them. */
const FIRST_PORT = 5900;
const FIRST_WEB_SOCKET_PORT = 5700;
/** Numbers below are displays, others ports. */
const DISPLAYS = 100;
const LAST_PORT = 65535;
const THIS_HOST = '127.0.0.1';

/** `[HOST]:NUMBER`: a display, or a port from 100 on. Without a host, this one alone. */
function parseAddress(text: string, option: string, firstPort: number): StreamAddress {
  const match = /^(?:(?<host>[^:[\]]+|\[[^\]]+\]))?:(?<number>\d+|auto)$/.exec(text);
  const word = match?.groups?.['number'];
  const number = word === 'auto' ? 0 : Number(word);
  if (!match || number > LAST_PORT)
    throw new UsageError(`${option} ${text} is no display; write it as :1, HOST:1 or HOST:5901`);
  const host = match.groups?.['host']?.replace(/^\[|\]$/g, '') ?? THIS_HOST;
  return { host, port: word === 'auto' ? 0 : number < DISPLAYS ? firstPort + number : number };
}

function checkPassword(password: string, from: string): string {
  if (password === '') throw new UsageError(`${from} is empty`);
  if (password.length > PASSWORD_LENGTH)
    throw new UsageError(`${from} is too long: VNC looks at the first ${PASSWORD_LENGTH} characters alone`);
  if (/[^\x20-\xff]/.test(password)) throw new UsageError(`${from} has characters that no VNC client can send`);
  return password;
}

/** The first line of a file. */
export function readPassword(file: string): string {
  const [line] = new TextDecoder('latin1').decode(readWholeFile(file, 'password file')).split(/\r?\n/, 1);
  return checkPassword(line, `the password in ${file}`);
}

const WORDS: readonly string[] = ['password', 'password-file', 'websocket'];

/** `ADDRESS[,password=…|password-file=…][,websocket[=ADDRESS]]`; a comma within is written twice. */
export function parseVnc(text: string, option = '--vnc'): VncOptions {
  const [first, ...words] = splitCommas(text);
  const address = parseAddress(first, option, FIRST_PORT);
  let password: string | undefined;
  let webSocket: StreamAddress | undefined;
  for (const word of words) {
    const [name, value] = word.split(/=(.*)/s, 2);
    const known = name.startsWith('password') ? password : webSocket;
    if (known !== undefined && WORDS.includes(name))
      throw new UsageError(`${option} is given ${name === 'websocket' ? name : 'a password'} twice`);
    if (name === 'password' && value !== undefined) password = checkPassword(value, 'the password');
    else if (name === 'password-file' && value !== undefined) password = readPassword(value);
    else if (name === 'websocket')
      webSocket = value === undefined ? besides(address, option) : parseWebSocket(value, address, option);
    else throw new UsageError(`${option} does not know "${word}"; there are password=, password-file= and websocket=`);
  }
  return { address, ...(webSocket && { webSocket }), ...(password !== undefined && { password }) };
}

/** Where a display's WebSockets are. */
function besides({ host, port }: StreamAddress, option: string): StreamAddress {
  if (port === 0) return { host, port };
  if (port >= FIRST_PORT && port < FIRST_PORT + DISPLAYS)
    return { host, port: port - FIRST_PORT + FIRST_WEB_SOCKET_PORT };
  if (port === LAST_PORT)
    throw new UsageError(`${option} websocket: no port comes after ${port}; say which, as in websocket=5700`);
  return { host, port: port + 1 };
}

const parseWebSocket = (text: string, { host }: StreamAddress, option: string): StreamAddress =>
  /^\d+$|^auto$/.test(text)
    ? { ...parseAddress(`:${text}`, `${option} websocket`, FIRST_WEB_SOCKET_PORT), host }
    : parseAddress(text, `${option} websocket`, FIRST_WEB_SOCKET_PORT);

/** `--display none|vnc`, together with `--vnc`. Undefined: nobody is shown the screen. */
export function chooseDisplay(display: string | undefined, vnc: string | undefined): VncOptions | undefined {
  if (display !== undefined && display !== 'none' && display !== 'vnc')
    throw new UsageError(`unknown display "${display}"; there are none and vnc`);
  if (display === 'none' && vnc !== undefined) throw new UsageError('--display none and --vnc contradict each other');
  if (vnc !== undefined) return parseVnc(vnc);
  return display === 'vnc' ? parseVnc(':0') : undefined;
}

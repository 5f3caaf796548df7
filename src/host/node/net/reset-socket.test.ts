import { spawn } from 'node:child_process';
import { describe, expect, it } from 'vitest';

/** A process with a server that does something with a socket that has sent a byte, and with its client; tells how each ended. */
const PROGRAM = `
import net from 'node:net';
import { resetSocket } from ${JSON.stringify(new URL('../../../../dist/host/node/net/reset-socket.js', import.meta.url).href)};
const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', (error) => console.log('server', error.code));
  socket.on('close', () => console.log('closed'));
  socket.once('data', () => { ACT });
});
server.listen(0, '127.0.0.1', () => {
  const client = net.connect(server.address().port, '127.0.0.1', () => client.write('a'));
  client.on('error', (error) => console.log('client', error.code));
  client.on('close', () => server.close());
  client.on('data', () => console.log('data'));
});
`;

/** What it has written, and whether it has ended by itself. */
function run(act: string): Promise<{ lines: readonly string[]; signal: string | null }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM.replace('ACT', act)], {
    timeout: 60_000,
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => (text += more));
  return new Promise((resolve) =>
    child.on('close', (_code, signal) => resolve({ lines: text.split('\n').filter(Boolean).toSorted(), signal })),
  );
}

describe('a connection that is reset', () => {
  it.each([
    ['is', 'resetSocket(socket)'],
    ['while its end is being told is, behind that', 'socket.end(); resetSocket(socket)'],
    ['when its end has been told is', "socket.end(); socket.on('finish', () => resetSocket(socket))"],
    ['twice is', 'socket.end(); resetSocket(socket); resetSocket(socket)'],
  ])('%s', async (_name, act) => {
    const { lines, signal } = await run(act);
    expect(signal).toBeNull();
    expect(lines.filter((line) => line !== 'client ECONNRESET')).toEqual(['closed']);
  });
  it('with much to send and nobody who takes it does not wait', async () => {
    const act = 'socket.write(new Uint8Array(64 << 20)); socket.end(); resetSocket(socket)';
    const { lines, signal } = await run(act);
    expect([signal, lines.includes('closed')]).toEqual([null, true]);
  });
});

import type { Socket } from 'node:net';

/**
 * Ends a connection as one that has failed: the other side is told at once. A socket whose end is just being told cannot be reset: libuv refuses it (1.46,
 * uv_tcp_close_reset), and Node 20 never closes it then, nor ends the process, which takes a whole processor to wait for that. So it is waited for the end.
 */
export function resetSocket(socket: Socket): void {
  const isTellingEnd = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  // A socket that is still connecting cannot be reset.
  if (socket.connecting) socket.destroy();
  else if (isTellingEnd) socket.once('finish', () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
}

import * as dgram from 'node:dgram';
import * as fs from 'node:fs';
import type { EchoEvents, EchoSent, HostEchoes } from '../../../iface/host-sockets.js';
import { PingSocket } from '../native/ping.js';

/** Type of a request and of a reply: RFC 792, RFC 4443 §4. */
const TYPES = { 4: { ECHO: 8, REPLY: 0 }, 6: { ECHO: 128, REPLY: 129 } } as const;
/** Bytes in front of the data: type, code, checksum, identifier, sequence number. */
const HEADER = 8;
/** Errors that are taken at a time. */
const BATCH = 64;

/** A socket for echoes. To Node it is one for datagrams, which waits without a thread. */
export class EchoSocket implements HostEchoes {
  private open = true;

  private constructor(
    private readonly family: 4 | 6,
    private readonly ping: PingSocket,
    private readonly socket: dgram.Socket,
    private readonly events: EchoEvents,
  ) {
    socket.on('message', (message, { address }) => {
      if (message.length < HEADER || message[0] !== TYPES[family].REPLY) return;
      events.reply(address, message.readUInt16BE(6), message.subarray(HEADER));
    });
    // The socket is readable, and reading fails, for as long as there are errors in the queue.
    socket.on('error', () => this.takeErrors());
  }

  /** Undefined: this host, or this user, has none. `whileLoading`: see PingSocket. */
  static open(
    family: 4 | 6,
    events: EchoEvents,
    whileLoading: <T>(load: () => T) => T | undefined,
  ): EchoSocket | undefined {
    const ping = PingSocket.open(family, whileLoading);
    if (!ping) return undefined;
    const socket = dgram.createSocket(family === 4 ? 'udp4' : 'udp6');
    const echoes = new EchoSocket(family, ping, socket, events);
    try {
      socket.bind({ fd: ping.fd });
    } catch {
      // Node takes it for something else, or has no room for it.
      fs.closeSync(ping.fd);
      return undefined;
    }
    return echoes;
  }

  send({ address, sequence, data, hopLimit }: Parameters<HostEchoes['send']>[0]): EchoSent {
    if (!this.open) return 'lost';
    const { ping } = this;
    const message = new Uint8Array(HEADER + data.length);
    message[0] = TYPES[this.family].ECHO;
    new DataView(message.buffer).setUint16(6, sequence);
    message.set(data, HEADER);
    ping.setHopLimit(hopLimit);
    let sent = ping.send(message, address);
    // What fails may be an error that came for an earlier request.
    if (sent !== 'sent' && this.takeErrors()) sent = ping.send(message, address);
    return sent;
  }

  /** False: there were none. */
  private takeErrors(): boolean {
    for (let i = 0; i < BATCH; i++) {
      // What is told may have closed it.
      const error = this.open ? this.ping.takeError() : undefined;
      if (!error) return i > 0;
      if (error !== 'other') this.events.error(error);
    }
    return true;
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.socket.close();
  }
}

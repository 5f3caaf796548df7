import type { HostDatagrams, HostSockets } from '../../iface/host-sockets.js';
import type { Address } from '../addresses.js';
import { get16, put16 } from './packet.js';
import type { Policy } from './policy.js';

/** Questions under way at a time, and milliseconds until one is given up. */
const MAX_QUESTIONS = 256;
const PATIENCE = 5000;
/** Milliseconds after which the next server is asked. */
const NEXT_SERVER = 1500;

const TYPE = { A: 1, AAAA: 28 } as const;
const CODE = { FORMAT_ERROR: 1, SERVER_FAILURE: 2, REFUSED: 5 } as const;

interface Server {
  readonly address: string;
  readonly port: number;
}

interface Question {
  readonly message: Uint8Array;
  /** As the guest chose it. */
  readonly id: number;
  readonly name: string;
  readonly asked: number;
  servers: readonly Server[];
  tried: number;
  readonly answer: (message: Uint8Array) => void;
}

/** Passes questions of names on to the host's name servers, as they are, RFC 1035. */
export class DnsProxy {
  private readonly questions = new Map<number, Question>();
  /** Sockets that questions go out from, by the family of the server's address. */
  private readonly asking = new Map<4 | 6, HostDatagrams>();

  constructor(
    private readonly sockets: HostSockets,
    private readonly policy: Policy,
    private readonly servers: () => readonly Server[],
  ) {}

  /** Where questions by TCP go; undefined: nowhere. They cannot be looked at, so not under `restrict`. */
  get tcpServer(): Server | undefined {
    return this.policy.restricted ? undefined : this.servers().at(0);
  }

  ask(message: Uint8Array, answer: (message: Uint8Array) => void): void {
    if (message.length < 12 || message[2] & 0x80) return;
    const question = readQuestion(message);
    if (!question) {
      answer(failure(message, CODE.FORMAT_ERROR));
      return;
    }
    const { name, type } = question;
    const known = type === TYPE.A || type === TYPE.AAAA;
    if (this.policy.restricted && !(known && this.policy.allowsName(name))) {
      answer(failure(message, CODE.REFUSED));
      return;
    }
    const servers = this.servers();
    const id = this.freeId();
    if (servers.length === 0 || id === undefined) {
      answer(failure(message, CODE.SERVER_FAILURE));
      return;
    }
    const copy = message.slice();
    put16(copy, 0, id);
    const entry = { message: copy, id: get16(message, 0), name, asked: this.sockets.now(), servers, tried: 0, answer };
    this.questions.set(id, entry);
    this.send(entry);
  }

  /** Not to be guessed by who would like to answer instead. */
  private freeId(): number | undefined {
    if (this.questions.size >= MAX_QUESTIONS) return undefined;
    for (let attempt = 0; attempt < 16; attempt++) {
      const id = get16(this.sockets.random(2), 0);
      if (!this.questions.has(id)) return id;
    }
    return undefined;
  }

  private send(question: Question): void {
    const server = question.servers[question.tried % question.servers.length];
    question.tried++;
    const family = server.address.includes(':') ? 6 : 4;
    let socket = this.asking.get(family);
    if (!socket) {
      socket = this.sockets.datagrams(
        family,
        (bytes, address, port) => this.receive(bytes, address, port),
        () => this.asking.delete(family),
      );
      this.asking.set(family, socket);
    }
    socket.send(question.message, server.address, server.port);
  }

  private receive(bytes: Uint8Array, address: string, port: number): void {
    if (bytes.length < 12) return;
    const id = get16(bytes, 0);
    const question = this.questions.get(id);
    if (!question?.servers.some((server) => server.address === address && server.port === port)) return;
    const same = readQuestion(bytes);
    if (same && same.name.toLowerCase() !== question.name.toLowerCase()) return;
    this.questions.delete(id);
    this.policy.learn(question.name, readAddresses(bytes));
    const answer = bytes.slice();
    put16(answer, 0, question.id);
    question.answer(answer);
  }

  /** Nothing of it will ever be due. */
  get isIdle(): boolean {
    return this.questions.size === 0;
  }

  tick(): void {
    const now = this.sockets.now();
    for (const [id, question] of this.questions) {
      const age = now - question.asked;
      if (age > PATIENCE) {
        this.questions.delete(id);
        const message = question.message.slice();
        put16(message, 0, question.id);
        question.answer(failure(message, CODE.SERVER_FAILURE));
      } else if (age > NEXT_SERVER * question.tried) this.send(question);
    }
  }
}

/** A name that begins at `at`, and where what follows it is; undefined: it is malformed. RFC 1035 §4.1.4. */
function readName(message: Uint8Array, start: number): { readonly name: string; readonly end: number } | undefined {
  const labels: string[] = [];
  let [at, end, length] = [start, -1, 0];
  // No name is longer than 255 bytes, so one with more steps goes in circles.
  for (let steps = 0; steps < 255 && at < message.length; steps++) {
    const size = message[at];
    if (size === 0) return { name: labels.join('.'), end: end < 0 ? at + 1 : end };
    if (size >= 0xc0) {
      if (at + 1 >= message.length) return undefined;
      if (end < 0) end = at + 2;
      at = ((size & 0x3f) << 8) | message[at + 1];
      continue;
    }
    length += size + 1;
    if (size > 63 || at + 1 + size > message.length || length > 255) return undefined;
    labels.push(String.fromCharCode(...message.subarray(at + 1, at + 1 + size)));
    at += 1 + size;
  }
  return undefined;
}

/** The one question of a message; undefined: it is malformed. `end`: where what follows it is. */
export function readQuestion(
  message: Uint8Array,
): { readonly name: string; readonly type: number; readonly end: number } | undefined {
  if (get16(message, 4) !== 1) return undefined;
  const name = readName(message, 12);
  if (!name || name.end + 4 > message.length) return undefined;
  return { name: name.name, type: get16(message, name.end), end: name.end + 4 };
}

/** Addresses in the answers of a message. */
function readAddresses(message: Uint8Array): Address[] {
  const found: Address[] = [];
  let at = readQuestion(message)?.end;
  for (let left = Math.min(get16(message, 6), 64); left > 0 && at !== undefined; left--) {
    const name = readName(message, at);
    if (!name || name.end + 10 > message.length) break;
    const type = get16(message, name.end);
    const length = get16(message, name.end + 8);
    const data = message.slice(name.end + 10, name.end + 10 + length);
    if ((type === TYPE.A && data.length === 4) || (type === TYPE.AAAA && data.length === 16)) found.push(data);
    at = name.end + 10 + length;
  }
  return found;
}

/** The question sent back with a response code. */
function failure(message: Uint8Array, code: number): Uint8Array {
  const end = readQuestion(message)?.end ?? 12;
  const answer = message.slice(0, end);
  answer[2] = 0x80 | (message[2] & 0x79);
  answer[3] = 0x80 | code;
  if (end === 12) put16(answer, 4, 0);
  answer.fill(0, 6, 12);
  return answer;
}

/** The server's side of a connection's beginning, RFC 6143 §7.1 and §7.3: version, security, and who shares the screen. */
import type { ByteQueue } from './byte-queue.js';
import { SECURITY } from './protocol.js';

/** What the host does for it. */
export interface RfbCrypto {
  /** So many random bytes. */
  random(count: number): Uint8Array;
  /** DES in ECB mode with a key of 8 bytes, of two blocks. */
  des(key: Uint8Array, data: Uint8Array): Uint8Array;
}

export type Password = string | undefined;

/** Longer ones cannot be told apart. */
export const PASSWORD_LENGTH = 8;
const VERSION_LENGTH = 12;
const CHALLENGE_LENGTH = 16;
const FAILED = 1;

/** §7.2.2: DES takes the password's bits in the opposite order. */
export function passwordKey(password: string): Uint8Array {
  const key = new Uint8Array(PASSWORD_LENGTH);
  for (let i = 0; i < Math.min(PASSWORD_LENGTH, password.length); i++)
    for (let bit = 0; bit < 8; bit++) if ((password.charCodeAt(i) >> bit) & 1) key[i] |= 0x80 >> bit;
  return key;
}

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

function failure(text: string): Uint8Array {
  const bytes = new Uint8Array(4 + text.length);
  new DataView(bytes.buffer).setUint32(0, text.length);
  bytes.set(latin1(text), 4);
  return bytes;
}

type Stage = 'version' | 'security' | 'response' | 'init';

/** What became of the bytes that have come. */
export type Progress = 'more' | 'done' | 'refused' | 'wrong-password';

export class Handshake {
  private stage: Stage = 'version';
  private minor = 8;
  private challenge = new Uint8Array(0);

  constructor(
    private readonly password: Password,
    private readonly crypto: RfbCrypto,
    private readonly write: (bytes: Uint8Array) => void,
    /** Why nobody is let in now, if so. */
    private readonly refusal?: string,
  ) {
    write(latin1('RFB 003.008\n'));
  }

  /** Takes what it can of what has come. */
  advance(input: ByteQueue): Progress {
    for (;;) {
      const progress = this.step(input);
      if (progress !== undefined) return progress;
    }
  }

  private step(input: ByteQueue): Progress | undefined {
    switch (this.stage) {
      case 'version':
        return input.length < VERSION_LENGTH ? 'more' : this.version(input.take(VERSION_LENGTH));
      case 'security': {
        if (input.length < 1) return 'more';
        const [type] = input.take(1);
        if (type !== this.security) return 'refused';
        this.authenticate();
        return undefined;
      }
      case 'response':
        return input.length < CHALLENGE_LENGTH ? 'more' : this.check(input.take(CHALLENGE_LENGTH));
      case 'init':
        if (input.length < 1) return 'more';
        // Whether others may stay: they may.
        input.skip(1);
        return 'done';
    }
  }

  private get security(): number {
    return this.password === undefined ? SECURITY.NONE : SECURITY.VNC;
  }

  private version(bytes: Uint8Array): Progress | undefined {
    const match = /^RFB 003\.(\d{3})\n$/.exec(String.fromCharCode(...bytes));
    if (!match) return 'refused';
    const minor = Number(match[1]);
    // §7.1.1: other versions than 3.3, 3.7 and 3.8 are taken for 3.3; some say 3.889.
    this.minor = minor >= 8 ? 8 : minor === 7 ? 7 : 3;
    if (this.refusal !== undefined) {
      // §7.1.2: no security type, and a reason instead.
      this.write(this.minor === 3 ? new Uint8Array(4) : Uint8Array.of(0));
      this.write(failure(this.refusal));
      return 'refused';
    }
    if (this.minor === 3) {
      // The server chooses.
      this.write(Uint8Array.of(0, 0, 0, this.security));
      this.authenticate();
      return undefined;
    }
    this.write(Uint8Array.of(1, this.security));
    this.stage = 'security';
    return undefined;
  }

  private authenticate(): void {
    if (this.password === undefined) {
      // Before 3.8, no result without authentication.
      if (this.minor === 8) this.write(new Uint8Array(4));
      this.stage = 'init';
      return;
    }
    this.challenge = this.crypto.random(CHALLENGE_LENGTH).slice();
    this.write(this.challenge);
    this.stage = 'response';
  }

  private check(response: Uint8Array): Progress | undefined {
    const expected = this.crypto.des(passwordKey(this.password ?? ''), this.challenge);
    let different = 0;
    for (let i = 0; i < CHALLENGE_LENGTH; i++) different |= expected[i] ^ response[i];
    if (different === 0) {
      this.write(new Uint8Array(4));
      this.stage = 'init';
      return undefined;
    }
    this.write(Uint8Array.of(0, 0, 0, FAILED));
    if (this.minor === 8) this.write(failure('wrong password'));
    return 'wrong-password';
  }
}

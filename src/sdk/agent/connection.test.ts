import { describe, expect, it } from 'vitest';
import { agentTarget } from '../../testing/fuzz/targets/agent.js';
import { fuzz } from '../../testing/fuzz/target.js';
import { STREAM_WINDOW, type StreamEnd, type StreamListener } from '../../iface/streams.js';
import { sendInput } from '../exec.js';
import { GuestFiles } from '../files.js';
import { AgentConnection } from './connection.js';
import { frame, FrameReader, GUEST, HEADER, HOST, HOST_FRAME, IN_WINDOW, MAGIC, type Ending } from './protocol.js';

/** The guest's side, as a test plays it. */
function guest(running: boolean): {
  readonly connection: AgentConnection;
  /** Types of the frames that were sent since the last call. */
  readonly sent: () => number[];
  readonly say: (type: number, stream: number, payload?: Uint8Array, aux?: number) => void;
  readonly greet: () => void;
} {
  let listener: StreamListener | undefined;
  const frames: Uint8Array[] = [];
  const end: StreamEnd = {
    room: STREAM_WINDOW,
    send: (bytes) => void frames.push(bytes),
    taken: () => {},
    accept: () => {},
    end: () => {},
    finish: () => {},
    close: () => {},
  };
  let nonce = new Uint8Array(8);
  const connection = new AgentConnection(
    (made) => {
      listener = made;
      return end;
    },
    { time: () => 0, random: (bytes) => new Uint8Array(bytes).fill(7), why: () => Promise.resolve(new Error('gone')) },
    running,
  );
  const say = (type: number, stream: number, payload?: Uint8Array, aux?: number): void =>
    listener?.data(frame(type, stream, payload, aux));
  return {
    connection,
    say,
    sent: () => {
      const types: number[] = [];
      for (const bytes of frames.splice(0)) {
        if (bytes[2] === HOST.HELLO) nonce = bytes.slice(HEADER + 24, HEADER + 32);
        new FrameReader().read(bytes, ({ type }) => types.push(type));
      }
      return types;
    },
    greet: () => {
      const payload = new Uint8Array(32);
      payload.set(MAGIC);
      payload[16] = 1;
      payload.set(nonce, 24);
      say(GUEST.HELLO, 0, payload);
    },
  };
}

const silent = { data: () => {}, ended: () => {}, failed: () => {} };

describe('the connection to an agent', () => {
  it('asks when the agent has answered, and at once where it is known to run', () => {
    const booting = guest(false);
    booting.connection.request({ argv: ['true'] }, silent);
    expect(booting.sent()).toEqual([HOST.HELLO]);
    booting.greet();
    expect(booting.sent()).toEqual([HOST.OPEN]);
    const restored = guest(true);
    restored.connection.request({ argv: ['true'] }, silent);
    expect(restored.sent()).toEqual([HOST.HELLO, HOST.OPEN]);
  });

  it('sends the end of input behind what asks for it, however late that is', () => {
    const { connection, sent, greet } = guest(false);
    connection.request({ argv: ['cat'], stdin: true }, silent).end();
    expect(sent()).toEqual([HOST.HELLO]);
    greet();
    expect(sent()).toEqual([HOST.OPEN, HOST.EOF]);
  });

  it('tells of each reset, answered or not, and of a machine that ends instead', async () => {
    const { connection } = guest(false);
    for (let time = 0; time < 2; time++) {
      const reset = connection.nextReset();
      connection.machineReset();
      await reset;
    }
    const never = connection.nextReset();
    connection.fail(new Error('gone'));
    await expect(never).rejects.toThrow('gone');
    await expect(connection.nextReset()).rejects.toThrow('gone');
  });

  it('takes nothing that was meant for another host', () => {
    const { connection, say, greet, sent } = guest(true);
    const endings: Ending[] = [];
    connection.request({ argv: ['true'] }, { ...silent, ended: (ending) => endings.push(ending) });
    sent();
    say(GUEST.EXIT, 1, Uint8Array.of(0, 0, 0, 0, 9, 0, 0, 0));
    expect(endings).toEqual([]);
    greet();
    say(GUEST.EXIT, 1, Uint8Array.of(0, 0, 0, 0, 3, 0, 0, 0));
    expect(endings).toEqual([{ kind: 'code', code: 3 }]);
  });

  it('sends as much input as the guest has room for, and its end behind all of it', () => {
    const { connection, say, greet, sent } = guest(false);
    sent();
    greet();
    const request = connection.request({ argv: ['cat'], stdin: true }, silent);
    void request.write(new Uint8Array(IN_WINDOW + 10));
    request.end();
    const first = sent();
    expect(first.filter((type) => type === HOST.DATA)).toHaveLength(Math.ceil(IN_WINDOW / (HOST_FRAME - HEADER)));
    expect(first).not.toContain(HOST.EOF);
    say(GUEST.CREDIT, 1, Uint8Array.of(20, 0, 0, 0));
    expect(sent()).toEqual([HOST.DATA, HOST.EOF]);
  });

  it('takes room for the ^D that ends the input of a terminal', () => {
    const { connection, say, greet, sent } = guest(false);
    let failure = '';
    const failed = (error: Error): void => void (failure = error.message);
    const tty = { columns: 80, rows: 24 };
    const request = connection.request({ argv: ['cat'], stdin: true, tty }, { ...silent, failed });
    sent();
    greet();
    void request.write(new Uint8Array(IN_WINDOW));
    request.end();
    expect(sent()).not.toContain(HOST.EOF);
    say(GUEST.CREDIT, 1, Uint8Array.of(0, 0, 1, 0));
    expect(sent()).toEqual([HOST.EOF]);
    // The agent has written the ^D to the terminal.
    say(GUEST.CREDIT, 1, Uint8Array.of(1, 0, 0, 0));
    expect(failure).toBe('');
  });

  it('asks for no more input when nobody takes it', async () => {
    const { connection, say, greet, sent } = guest(false);
    sent();
    greet();
    const request = connection.request({ argv: ['head', '-n1'], stdin: true }, silent);
    let given = 0;
    const sending = sendInput(
      request,
      (function* () {
        while (given < 10_000) {
          given++;
          yield 'line\n';
        }
      })(),
    );
    say(GUEST.EOF, 1);
    await sending;
    expect(given).toBeLessThan(100);
  });

  it('asks again what an agent that begins anew has not begun', async () => {
    const { connection, say, greet, sent } = guest(true);
    const failures: string[] = [];
    connection.request({ argv: ['one'] }, { ...silent, failed: (error) => failures.push(error.message) });
    connection.request({ argv: ['two'] }, silent);
    sent();
    greet();
    say(GUEST.STARTED, 1, Uint8Array.of(9, 0, 0, 0));
    const ready = new Uint8Array(32);
    ready.set(MAGIC);
    ready[16] = 1;
    say(GUEST.READY, 0, ready);
    expect(failures).toEqual(['the agent of the guest has begun anew']);
    expect(sent()).toEqual([HOST.HELLO]);
    greet();
    expect(sent()).toEqual([HOST.OPEN]);
    await expect(connection.ready).resolves.toMatchObject({ version: 1 });
  });

  it('does not ask again what has sent some of its input', () => {
    const { connection, say, greet, sent } = guest(true);
    const failures: string[] = [];
    const request = connection.request(
      { argv: ['cat'], stdin: true },
      { ...silent, failed: (error) => failures.push(error.message) },
    );
    void request.write(new Uint8Array(3));
    expect(sent()).toEqual([HOST.HELLO, HOST.OPEN, HOST.DATA]);
    const ready = new Uint8Array(32);
    ready.set(MAGIC);
    ready[16] = 1;
    say(GUEST.READY, 0, ready);
    greet();
    expect(failures).toEqual(['the agent of the guest has begun anew']);
  });

  it('keeps of an answer no more than it can be, and of events what somebody will take', async () => {
    const { connection, say, greet, sent } = guest(false);
    sent();
    greet();
    const files = new GuestFiles(connection);
    const status = files.stat('/x');
    for (let i = 0; i < 4; i++) say(GUEST.DATA, 1, new Uint8Array(20_000), 1);
    await expect(status).rejects.toMatchObject({ code: 'EFBIG' });
    const watching = files.watch('/x');
    const event = new Uint8Array(16);
    event[4] = 2;
    const many = new Uint8Array(16 * 2000).map((_, i) => event[i % 16]);
    say(GUEST.DATA, 2, many, 1);
    const watch = await watching;
    sent();
    for (let i = 0; i < 5; i++) say(GUEST.DATA, 2, many, 1);
    await new Promise((resolve) => setTimeout(resolve, 10));
    // The guest is given no more room until somebody looks.
    expect(sent()).toEqual([]);
    let count = 0;
    for await (const { change } of watch) {
      expect(change).toBe('changed');
      if (++count === 6 * 2000) break;
    }
    expect(sent()).toEqual([HOST.CREDIT, HOST.CLOSE]);
  });

  it('ends at a guest that sends more than it may', () => {
    const { connection, say, greet, sent } = guest(false);
    sent();
    greet();
    let failure = '';
    connection.request({ argv: ['yes'] }, { ...silent, failed: (error) => (failure = error.message) });
    for (let i = 0; i < 20; i++) say(GUEST.DATA, 1, new Uint8Array(20_000), 1);
    expect(failure).toBe("the guest's agent does not keep to its protocol: more output than it may send");
  });

  it('keeps its word to any guest', async () => {
    await fuzz(agentTarget, 10_000);
  });
});

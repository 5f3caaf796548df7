import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { MessageRing } from './message-ring.js';

const built = new URL('../../../dist/runtime/common/message-ring.js', import.meta.url);

describe('a ring of messages', () => {
  it('gives what was sent in order, across its end', () => {
    const ring = MessageRing.create(64);
    const reader = new MessageRing(ring.shared);
    for (let i = 0; i < 100; i++) {
      ring.send({ i, bytes: new Uint8Array(i % 16).fill(i) });
      expect(reader.take()).toEqual({ i, bytes: new Uint8Array(i % 16).fill(i) });
      expect(reader.take()).toBeUndefined();
    }
  });

  it('keeps what there is no room for until it is pushed', () => {
    const ring = MessageRing.create(64);
    const reader = new MessageRing(ring.shared);
    for (let i = 0; i < 20; i++) ring.enqueue(i.toString().repeat(10));
    const got: unknown[] = [];
    expect(ring.push()).toBe(false);
    while (got.length < 20) {
      got.push(reader.take());
      ring.push();
    }
    expect(got).toEqual(Array.from({ length: 20 }, (_, i) => i.toString().repeat(10)));
  });

  it('carries messages longer than itself between threads', async () => {
    const ring = MessageRing.create(4096);
    const script = `import { workerData } from 'node:worker_threads';
      const { MessageRing } = await import(${JSON.stringify(built.href)});
      const ring = new MessageRing(workerData);
      for (let i = 0; i < 50; i++) ring.send(new Uint8Array(i * 1000).fill(i));`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), {
      workerData: ring.shared,
    });
    for (let i = 0; i < 50;) {
      const message = ring.take();
      if (message === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
      else expect(message).toEqual(new Uint8Array(i * 1000).fill(i++));
    }
    await worker.terminate();
  });
});

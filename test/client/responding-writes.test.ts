import { EventEmitter } from 'node:events';
import type { Client } from '@grpc/grpc-js';
import test from 'ava';
import { ClientResponding } from '../../src/client/requests/responding.js';
import { encodeRespondDelivery } from '../../src/wire/request-frames.js';
import { recordBlock } from '../support/attack.js';

/** A Respond call that takes as many frames as the test lets it. */
class SlowCall extends EventEmitter {
  readonly written: Buffer[] = [];
  room = 1;

  write(frame: Buffer): boolean {
    this.written.push(frame);
    return this.written.length < this.room;
  }

  /** So many more frames are taken. */
  take(count: number): void {
    this.room = this.written.length + count;
    this.emit('drain');
  }

  cancel(): void {
    this.emit('error', Object.assign(new Error('cancelled'), { code: 1 }));
  }
}

const request = (id: number): Buffer =>
  encodeRespondDelivery(
    {
      ...{ id, channel: 'q', senderOrg: 'ACME', senderNode: 'asker', timeoutMs: 1_000, attempt: 1 },
      ...{ survey: false, oneWay: false, storedId: '' },
    },
    recordBlock('x'),
  );

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

test('respond: what the connection does not take waits, and no handler begins while that is so', async t => {
  const call = new SlowCall();
  const host = {
    channel: () => ({ makeBidiStreamRequest: () => call }) as unknown as Client,
    reconnected: () => new Promise<void>(() => undefined),
  };
  let begun = 0;
  const responding = new ClientResponding(host as never, ['q'], () => `${++begun}`, {}, new Set());
  t.is(call.written.length, 1, 'the start');
  for (let id = 1; id <= 10; id++) call.emit('data', request(id));
  await turn();
  t.deepEqual([begun, call.written.length], [0, 1]);
  call.take(3);
  await turn();
  await turn();
  t.true(begun >= 3, String(begun));
  t.is(call.written.length, 4, 'nothing is written that it did not ask for');
  for (let i = 0; call.written.length < 11 && i < 20; i++) {
    call.take(2);
    await turn();
  }
  t.is(call.written.length, 11);
  t.is(begun, 10);
  responding.close();
});

test('respond: what is unsaid to a connection that broke is not said to the next', async t => {
  const calls: SlowCall[] = [];
  const host = {
    channel: () =>
      ({
        makeBidiStreamRequest: () => {
          const call = new SlowCall();
          calls.push(call);
          return call;
        },
      }) as unknown as Client,
    reconnected: () => Promise.resolve(),
  };
  const responding = new ClientResponding(host as never, ['q'], () => 'x', {}, new Set());
  calls[0]?.emit('data', request(1));
  calls[0]?.emit('error', Object.assign(new Error('lost'), { code: 14, details: 'lost' }));
  await turn();
  calls[1]?.take(10);
  await turn();
  t.is(calls[1]?.written.length, 1, 'the start alone');
  responding.close();
});

import test from 'ava';
import type { StreamState } from '../../src/durable/outbox/state.js';
import { judgeStart, judgeWatermark, placeOf } from '../../src/durable/resume.js';
import type { StreamPosition } from '../../src/durable/types.js';

const at = (epoch: number, sequence: number): StreamPosition => ({ epoch: BigInt(epoch), sequence });
const OLD = Buffer.alloc(16, 1);
const NEW = Buffer.alloc(16, 2);

/** Epochs 5 (closed behind 9) and 7, receipts up to 5/6. */
const state = (more: Partial<StreamState> = {}): StreamState => ({
  epochs: [
    { epoch: 5n, next: 10 },
    { epoch: 7n, next: 4 },
  ],
  storeId: Buffer.alloc(16),
  acked: at(5, 6),
  batches: 6,
  records: 6,
  bytes: 6,
  keptBytes: 0,
  paused: false,
  peerStoreId: OLD,
  ...more,
});
const fresh = state({ acked: undefined, epochs: [{ epoch: 7n, next: 4 }], peerStoreId: Buffer.alloc(0) });

interface SenderCase {
  readonly title: string;
  readonly received: StreamPosition | undefined;
  readonly of?: StreamState;
  readonly restored?: boolean;
  readonly peer?: Buffer;
  readonly expect: 'refuse' | 'raise' | 'peer restored' | StreamPosition | 'nothing';
}

const SENDER: readonly SenderCase[] = [
  { title: 'all receipts arrived', received: at(5, 6), expect: at(5, 6) },
  { title: 'receipts got lost', received: at(5, 8), expect: at(5, 8) },
  { title: 'receipts of an epoch and the next got lost', received: at(7, 2), expect: at(7, 2) },
  { title: 'it has what was sent after the backup', received: at(5, 99), expect: at(5, 99) },
  { title: 'it has more than the newest epoch', received: at(7, 4), expect: 'refuse' },
  { title: 'it forgot', received: at(5, 5), expect: 'refuse' },
  { title: 'it forgot everything', received: undefined, expect: 'refuse' },
  { title: 'its store was restored', received: at(5, 5), peer: NEW, expect: 'peer restored' },
  { title: 'its store is new', received: undefined, peer: NEW, expect: 'peer restored' },
  { title: 'it knows an epoch that never was', received: at(6, 1), expect: 'refuse' },
  { title: 'it knows an epoch of a life that is lost', received: at(6, 1), restored: true, expect: at(6, 1) },
  { title: 'it knows an epoch to come', received: at(8, 1), expect: 'refuse' },
  {
    title: 'it knows an epoch above ours, of a life that is lost',
    received: at(8, 1),
    restored: true,
    expect: 'raise',
  },
  { title: 'first contact', received: undefined, of: fresh, expect: 'nothing' },
  { title: 'first contact after our store was lost', received: at(5, 3), of: fresh, expect: 'nothing' },
  { title: 'the same, and our clock went back', received: at(9, 3), of: fresh, expect: 'raise' },
];
for (const { title, received, of = state(), restored = false, peer = OLD, expect } of SENDER) {
  test(`resume: the sender, when ${title}`, t => {
    const decision = judgeWatermark(of, restored, received, peer);
    if (expect === 'refuse' || expect === 'raise') return t.is(decision.kind, expect);
    if (decision.kind !== 'go') return t.fail(decision.kind);
    t.is(decision.peerRestored, expect === 'peer restored');
    return t.deepEqual(decision.had, typeof expect === 'string' ? undefined : expect);
  });
}

interface ReceiverCase {
  readonly title: string;
  readonly watermark: StreamPosition | undefined;
  readonly start: StreamPosition;
  readonly restored?: boolean;
  readonly expect: 'refuse' | { readonly resend?: readonly unknown[]; readonly skip?: StreamPosition };
}

const RECEIVER: readonly ReceiverCase[] = [
  { title: 'nothing ever came', watermark: undefined, start: at(5, 1), expect: {} },
  { title: 'its store is new', watermark: undefined, start: at(5, 8), expect: { skip: at(5, 7) } },
  { title: 'all receipts arrived', watermark: at(5, 7), start: at(5, 8), expect: {} },
  {
    title: 'receipts got lost',
    watermark: at(5, 7),
    start: at(5, 6),
    expect: { resend: [{ epoch: 5n, first: 6, last: 7 }] },
  },
  {
    title: 'receipts of two epochs got lost',
    watermark: at(7, 2),
    start: at(5, 6),
    expect: {
      resend: [
        { epoch: 5n, first: 6, last: undefined },
        { epoch: 7n, first: 1, last: 2 },
      ],
    },
  },
  { title: 'a new epoch begins', watermark: at(5, 7), start: at(7, 1), expect: {} },
  { title: 'a hole is left', watermark: at(5, 7), start: at(5, 9), expect: 'refuse' },
  { title: 'a hole is left in a new epoch', watermark: at(5, 7), start: at(7, 2), expect: 'refuse' },
  {
    title: 'a hole is left and its store was restored',
    watermark: at(5, 7),
    start: at(7, 2),
    restored: true,
    expect: { skip: at(7, 1) },
  },
];
for (const { title, watermark, start, restored = false, expect } of RECEIVER) {
  test(`resume: the receiver, when ${title}`, t => {
    const decision = judgeStart(watermark, start, restored);
    if (expect === 'refuse' || decision.kind === 'refuse') return t.is(decision.kind, 'refuse');
    t.deepEqual(decision.resend, (expect.resend ?? []) as typeof decision.resend);
    return t.deepEqual(decision.skip, expect.skip);
  });
}

test('resume: the next batch is the next number, or the first of a higher epoch, and nothing else', t => {
  const places = [at(5, 8), at(7, 1), at(5, 7), at(5, 1), at(4, 8), at(5, 9), at(7, 2), at(7, 0)];
  t.deepEqual(
    places.map(position => placeOf(at(5, 7), position)),
    ['next', 'next', 'again', 'again', 'again', 'gap', 'gap', 'gap'],
  );
  t.deepEqual([placeOf(undefined, at(5, 1)), placeOf(undefined, at(5, 2))], ['next', 'gap']);
});

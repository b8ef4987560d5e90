import { randomBytes } from 'node:crypto';
import test from 'ava';
import {
  OpenStreamRequest,
  OpenStreamResponse,
  StreamServiceService,
} from '../../gen/ts/fedgate/messaging/v1/stream_service.js';
import type { ByteStream, FedgateClient } from '../../src/client/index.js';
import type { FedgateError, Reason } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import type { Identity } from '../../src/identity/verify.js';
import { encodeFrame, type Frame } from '../../src/link/lane.js';
import { StreamsLink } from '../../src/link/streams-link.js';
import { Access } from '../../src/messaging/access.js';
import { parsePattern } from '../../src/messaging/address.js';
import { NO_POLICY } from '../../src/policy/types.js';
import { Acceptor } from '../../src/streams/acceptors.js';
import type { Offer } from '../../src/streams/offer.js';
import { Streams } from '../../src/streams/streams.js';
import { MAX_STREAMS_PER_PEER, OPENS } from '../../src/streams/terms.js';
import { Turns } from '../../src/streams/turns.js';
import { fromGrpcError, fromRpcStatus } from '../../src/transport/status.js';
import { encodeLaneStreamFrame, type StreamFrame } from '../../src/wire/stream-frames.js';
import { startFederation, type TestOrg } from '../support/federation.js';
import { LanePair } from '../support/lane-pair.js';

const settled = (): Promise<void> => new Promise(resolve => setImmediate(() => setImmediate(() => resolve())));

/** GLOBEX's side of a link to ACME, which says what it likes, and a node of GLOBEX that accepts everything. */
function world() {
  const access = new Access('GLOBEX' as OrgName, {
    nodes: [],
    peers: [{ org: 'ACME', node: '*', publish: [], propose: false, nodes: [], streams: ['open/**'] }],
  });
  const streams = new Streams({
    policy: NO_POLICY,
    org: 'GLOBEX' as OrgName,
    access,
    link: () => Promise.reject(new Error('unused')),
    explain: error => error,
    inactive: () => undefined,
  });
  const alarms: FedgateError[] = [];
  const refused: FedgateError[] = [];
  const [forth, back] = [new LanePair().automatic(), new LanePair().automatic()];
  const lie = (frame: Frame): void => void forth.a.out.put(encodeFrame(frame));
  // Nobody dialled here: the lane of ACME's bytes is that of the dialler.
  new StreamsLink({
    host: {
      streams,
      onAlarm: error => void alarms.push(error),
      onRefused: error => void refused.push(error),
    },
    peer: { org: 'ACME', name: 'gw1', role: 'gateway' } as Identity,
    instance: 'one',
    dialled: false,
    own: back.b,
    theirs: forth.b,
  });
  const answers: Frame[] = [];
  forth.a.listen(frame => void answers.push(frame as Frame));
  back.a.listen(() => undefined);
  const ends: { finished: (Error | undefined)[] } = { finished: [] };
  const offers: Offer[] = [];
  const acceptor = new Acceptor('shop', 1_000, {
    offered: offer => {
      offers.push(offer);
      const turns = new Turns({ writable: true, put: () => undefined });
      const call = {
        half: 'both' as const,
        track: { turns, encode: () => Buffer.alloc(0) },
        opened: () => undefined,
        finish: (error: Error | undefined) => void ends.finished.push(error),
      };
      queueMicrotask(() =>
        streams.accept({ name: 'shop', complaint: () => undefined }, offer.facts.token, call, end => {
          queueMicrotask(() => end.take(call, { kind: 'credit', limit: 100, received: 0, ended: false, round: 1 }));
        }),
      );
    },
    withdrawn: () => undefined,
  });
  acceptor.patterns.set('**', parsePattern('**'));
  streams.acceptors.all.add(acceptor);
  const open = (id: number, channel = 'open/x', key = randomBytes(16)): void =>
    lie({
      $case: 'streamOpen',
      value: { id: BigInt(id), key, resume: false, channel, senderNode: 'n', resumeMs: 1_000, timeoutMs: 1_000 },
    });
  const stream = (id: number, frame: StreamFrame): void => forth.a.out.put(encodeLaneStreamFrame(id, frame));
  return { streams, alarms, refused, forth, back, lie, open, stream, answers, ends, settled };
}

type World = ReturnType<typeof world>;

/** Stream 1 is open, and 100 bytes may come. */
async function begun(): Promise<World> {
  const it = world();
  it.open(1);
  await settled();
  await settled();
  it.stream(1, { kind: 'from', round: 1, offset: 0 });
  await settled();
  return it;
}

const data = (offset: number, length: number): StreamFrame => ({ kind: 'data', offset, data: Buffer.alloc(length) });

const LIES: readonly [title: string, reason: Reason, lie: (world: World) => void][] = [
  ['more than the credit', 'CREDIT_EXCEEDED', it => it.stream(1, data(0, 101))],
  ['bytes from further on', 'FRAME_UNEXPECTED', it => it.stream(1, data(1, 10))],
  [
    'the same bytes twice',
    'FRAME_UNEXPECTED',
    it => {
      it.stream(1, data(0, 10));
      it.stream(1, data(0, 10));
    },
  ],
  [
    'bytes after the end',
    'FRAME_UNEXPECTED',
    it => {
      it.stream(1, { kind: 'end', offset: 0 });
      it.stream(1, data(0, 10));
    },
  ],
  ['an end elsewhere', 'FRAME_UNEXPECTED', it => it.stream(1, { kind: 'end', offset: 7 })],
  ['bytes of a stream that never was', 'FRAME_UNEXPECTED', it => it.stream(3, data(0, 10))],
  ['bytes of a stream of ours that never was', 'FRAME_UNEXPECTED', it => it.stream(2, data(0, 10))],
  ['a number that was used', 'FRAME_UNEXPECTED', it => it.open(1)],
  ['a number of ours', 'FRAME_UNEXPECTED', it => it.open(4)],
  ['empty data', 'FRAME_MALFORMED', it => it.stream(1, data(0, 0))],
  [
    'credit on the lane of its bytes',
    'FRAME_UNEXPECTED',
    it => it.stream(1, { kind: 'credit', limit: 1, received: 0, ended: false, round: 0 }),
  ],
  ['a frame of another lane', 'FRAME_UNEXPECTED', it => it.lie({ $case: 'ping', value: { nonce: 1n } })],
];

for (const [title, reason, lie] of LIES) {
  test(`hostile peer: ${title} ends the link with ${reason}, and is a security event`, async t => {
    const it = await begun();
    t.is(it.forth.b.closed.aborted, false, 'it is well until then');
    lie(it);
    await settled();
    t.is(it.forth.b.reason.reason, reason);
    // What cannot be read is told of where lanes are read.
    if (reason !== 'FRAME_MALFORMED') t.is(it.alarms[0]?.reason, reason);
    it.streams.close();
  });
}

const ACKS: readonly [title: string, credit: Partial<Extract<StreamFrame, { kind: 'credit' }>>][] = [
  ['more received than was sent', { received: 1 }],
  ['an end acknowledged that was not sent', { ended: true }],
  ['more credit than may be', { limit: 17 * 1024 * 1024 }],
  ['less credit than was received', { limit: -1 }],
];

for (const [title, more] of ACKS) {
  test(`hostile peer: ${title} ends the link`, async t => {
    const it = await begun();
    const credit = { kind: 'credit' as const, limit: 10, received: 0, ended: false, round: 1, ...more };
    if (credit.limit < 0) Object.assign(credit, { limit: 0, received: 1 });
    it.back.a.out.put(encodeLaneStreamFrame(1, credit));
    await settled();
    t.is(it.back.b.reason.reason, 'FRAME_UNEXPECTED');
    it.streams.close();
  });
}

const resets = (it: World): string[] =>
  it.answers.flatMap(frame =>
    frame.$case === 'streamReset' && frame.value.error ? [fromRpcStatus(frame.value.error).reason] : [],
  );

test('hostile peer: what is not granted, malformed or unknown is refused by itself; the link and other streams stay', async t => {
  const it = await begun();
  it.open(3, 'secret');
  it.open(5, 'open/../x');
  it.open(7, 'open/x', Buffer.alloc(3));
  it.lie({
    $case: 'streamOpen',
    value: { id: 9n, key: randomBytes(16), resume: true, channel: '', senderNode: '', resumeMs: 0, timeoutMs: 0 },
  });
  await settled();
  t.deepEqual(resets(it), ['NOT_GRANTED', 'FIELD_INVALID', 'FIELD_INVALID', 'STREAM_UNKNOWN']);
  t.false(it.forth.b.closed.aborted);
  it.stream(1, data(0, 10));
  await settled();
  t.is([...it.streams.relays].length, 1);
  t.is([...it.streams.relays][0]?.bytesFrom(0), 10);
  it.streams.close();
});

test('hostile peer: a flood of opens is refused one by one, costs no more than the limits, and the link stays', async t => {
  const it = world();
  const began = performance.now();
  for (let i = 0; i < 3_000; i++) it.open(2 * i + 1);
  await settled();
  await settled();
  t.true([...it.streams.relays].length <= MAX_STREAMS_PER_PEER);
  t.is(resets(it).length, 3_000 - [...it.streams.relays].length);
  t.deepEqual([...new Set(resets(it))], ['LIMIT_REACHED']);
  const tookMs = performance.now() - began;
  t.true([...it.streams.relays].length <= OPENS.burst + (OPENS.perSecond * tookMs) / 1_000 + 10);
  t.false(it.forth.b.closed.aborted);
  it.streams.close();
});

test('hostile peer: streams that are opened and abandoned are gone when their time is over', async t => {
  const it = await begun();
  it.forth.cut();
  it.back.cut();
  const [relay] = [...it.streams.relays];
  t.false(relay?.attached);
  while (it.ends.finished.length === 0) await new Promise(resolve => setTimeout(resolve, 20));
  t.is((it.ends.finished[0] as FedgateError).reason, 'STREAM_LOST');
  t.is([...it.streams.relays].length, 0);
});

let ACME: TestOrg;
let node: FedgateClient;
const undo: (() => unknown)[] = [];
test.before(async () => {
  const access = 'nodes: [{ node: "*", openStreams: ["**"], acceptStreams: ["**"] }]';
  ({ ACME } = await startFederation({ teardown: action => void undo.push(action) }, { ACME: { access } }));
  node = await ACME.node('liar');
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

type NodeFrame = NonNullable<OpenStreamRequest['frame']>;
const same = (bytes: Buffer): Buffer => bytes;

/** A raw call: what it ends with, and what it hears. */
function call(...first: NodeFrame[]) {
  const { path } = StreamServiceService.openStream;
  const raw = node.channel.makeBidiStreamRequest<Buffer, Buffer>(path, same, same);
  const put = (frame: NodeFrame): void => void raw.write(Buffer.from(OpenStreamRequest.encode({ frame }).finish()));
  const over = new Promise<string>(resolve => {
    raw.on('error', error => resolve(fromGrpcError(error).reason));
    raw.on('end', () => resolve('OK'));
  });
  let heard: (frame: NonNullable<OpenStreamResponse['frame']>) => void = () => undefined;
  const credit = new Promise<number>(resolve => {
    heard = frame => {
      if (frame.$case === 'credit' && frame.value.round > 0) resolve(frame.value.round);
    };
  });
  raw.on('data', (bytes: Buffer) => {
    const { frame } = OpenStreamResponse.decode(bytes);
    if (frame) heard(frame);
  });
  for (const frame of first) put(frame);
  return { put, over, credit, end: () => raw.end() };
}

const opening = (address: string): NodeFrame => ({
  $case: 'open',
  value: { address, half: 0, resumeMs: 500, timeoutMs: 0 },
});
const bytes = (offset: number, length: number): NodeFrame => ({
  $case: 'data',
  value: { offset: BigInt(offset), data: Buffer.alloc(length) },
});

const NODE_LIES: readonly [title: string, reason: Reason, frames: NodeFrame[]][] = [
  ['more than the credit', 'CREDIT_EXCEEDED', [bytes(0, 2_000)]],
  ['bytes from further on', 'FRAME_UNEXPECTED', [bytes(5, 10)]],
  ['bytes after the end', 'FRAME_UNEXPECTED', [{ $case: 'end', value: { offset: 0n } }, bytes(0, 10)]],
  ['a second stream', 'FRAME_UNEXPECTED', [opening('x')]],
  ['too large a frame', 'FRAME_TOO_LARGE', [bytes(0, 300_000)]],
];

for (const [i, [title, reason, frames]] of NODE_LIES.entries()) {
  test(`hostile node: ${title} ends its call with ${reason}, and the other end hears STREAM_RESET`, async t => {
    const accepting = await ACME.node(`honest-${i}`);
    let hear: (error: FedgateError) => void = () => undefined;
    const broken = new Promise<FedgateError>(resolve => {
      hear = resolve;
    });
    const take = (stream: ByteStream): void => void stream.on('error', error => hear(error as FedgateError));
    await accepting.acceptStreams(`hostile/${i}`, take, { window: 1_000 }).opened;
    const liar = call(opening(`hostile/${i}`));
    liar.put({ $case: 'from', value: { round: await liar.credit, offset: 0n } });
    for (const frame of frames) liar.put(frame);
    t.is(await liar.over, reason);
    t.is((await broken).reason, 'STREAM_RESET');
  });
}

test('hostile node: a token that is not its own, or never was, is STREAM_UNKNOWN; a call that begins with data is refused', async t => {
  const resume = (token: Buffer): NodeFrame => ({ $case: 'resume', value: { token, half: 0 } });
  t.is(await call(resume(randomBytes(16))).over, 'STREAM_UNKNOWN');
  t.is(await call(resume(Buffer.alloc(0))).over, 'STREAM_UNKNOWN');
  t.is(await call({ $case: 'accept', value: { token: randomBytes(16), half: 0 } }).over, 'STREAM_UNKNOWN');
  t.is(await call(bytes(0, 3)).over, 'FRAME_UNEXPECTED');
  const silent = call();
  silent.end();
  t.is(await silent.over, 'FRAME_UNEXPECTED');
});

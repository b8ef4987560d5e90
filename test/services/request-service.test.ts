import test, { type ExecutionContext } from 'ava';
import { GatewayServiceService } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import {
  RequestServiceService,
  RespondRequest,
  RespondResponse,
} from '../../gen/ts/fedgate/messaging/v1/request_service.js';
import type { FedgateClient } from '../../src/client/index.js';
import type { FedgateError, Reason } from '../../src/errors.js';
import { callUnary } from '../../src/transport/client-calls.js';
import { fromGrpcError } from '../../src/transport/status.js';
import { FieldWriter } from '../../src/wire/writer.js';
import { ask, RawStream, recordBlock } from '../support/attack.js';
import { startFederation } from '../support/federation.js';
import type { TestScope } from '../support/registry.js';

/** What a node says to its gateway without the SDK: all that is wrong ends its own call, and nobody else's. */

type Frame = NonNullable<RespondRequest['frame']>;
const frame = (value: Frame): Buffer => Buffer.from(RespondRequest.encode({ frame: value }).finish());
const start = (patterns: readonly string[] = ['q'], capacity = 2): Buffer =>
  frame({ $case: 'start', value: { patterns, capacity } });
const reply = (requestId: bigint): Buffer => {
  const inner = new FieldWriter().number(1, Number(requestId)).raw(recordBlock('raw').bytes);
  return Buffer.concat([new FieldWriter().prefix(4, inner.length).view(), inner.view()]);
};
const response = (bytes: Buffer) => RespondResponse.decode(bytes).frame;

let asker: FedgateClient;
let liar: FedgateClient;
const undo: (() => unknown)[] = [];
const scope: TestScope = { teardown: action => void undo.push(action) };

test.before(async () => {
  const access = 'nodes: [{ node: asker, request: ["**"] }, { node: liar, respond: ["q", "p/*"], status: true }]';
  const { ACME } = await startFederation(scope, { ACME: { access } });
  asker = await ACME.node('asker');
  liar = await ACME.node('liar');
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

const { path } = RequestServiceService.respond;
const stream = (): RawStream => new RawStream(liar.channel, path);

async function opened(bytes: Buffer = start()): Promise<RawStream> {
  const raw = stream().write(bytes);
  await raw.until(each => (response(each)?.$case === 'opened' ? true : undefined));
  return raw;
}

const asked = (raw: RawStream): Promise<bigint> =>
  raw.until(bytes => {
    const given = response(bytes);
    return given?.$case === 'request' ? given.value.requestId : undefined;
  });

const failure = (t: ExecutionContext, asking: Promise<unknown>) => t.throwsAsync<FedgateError>(asking);

test.serial('respond: a request comes with all that is known of it, and one raw reply answers it', async t => {
  const raw = await opened();
  const asking = asker.request('q', 'hello', { timeoutMs: 9_000 });
  t.is(await asked(raw), 1n);
  const { requests } = await callUnary(liar.channel, GatewayServiceService.getStatus, {}, { timeoutMs: 8_000 });
  t.like(requests, { responders: 1, pending: 1, queued: 0 });
  const given = await raw.until(bytes => {
    const each = response(bytes);
    return each?.$case === 'request' ? each.value : undefined;
  });
  t.like(given, { channel: 'q', senderOrg: 'ACME', senderNode: 'asker', attempt: 1, survey: false });
  t.is(Buffer.from(given.record?.payload ?? []).toString(), 'hello');
  raw.write(reply(1n));
  t.like(await asking, { text: 'raw', node: 'liar' });
  raw.call.cancel();
});

const BROKEN: readonly { readonly title: string; readonly frames: readonly Buffer[]; readonly reason: Reason }[] = [
  { title: 'an answer to what was never asked', frames: [start(), reply(1n)], reason: 'FRAME_UNEXPECTED' },
  { title: 'an answer before the start', frames: [reply(1n)], reason: 'FRAME_UNEXPECTED' },
  { title: 'a second start', frames: [start(), start()], reason: 'FRAME_UNEXPECTED' },
  { title: 'a pattern that is not granted', frames: [start(['secret'])], reason: 'NOT_GRANTED' },
  { title: 'a pattern that leaves what is granted', frames: [start(['p/**'])], reason: 'NOT_GRANTED' },
  {
    title: 'the same, enabled later',
    frames: [start(), frame({ $case: 'enable', value: { pattern: '**' } })],
    reason: 'NOT_GRANTED',
  },
  { title: 'a pattern that is none', frames: [start(['a//b'])], reason: 'FIELD_INVALID' },
  { title: 'too much capacity', frames: [start(['q'], 10_001)], reason: 'FIELD_INVALID' },
  {
    title: 'too many patterns',
    frames: [start(Array.from({ length: 101 }, (_, i) => `p/${i}`))],
    reason: 'LIMIT_REACHED',
  },
  { title: 'bytes that are no frame', frames: [start(), Buffer.from([0xff, 0xff])], reason: 'FRAME_MALFORMED' },
  {
    title: 'a frame of a kind that is not known',
    frames: [start(), Buffer.from([0x7a, 0])],
    reason: 'FRAME_MALFORMED',
  },
];
for (const { title, frames, reason } of BROKEN) {
  test.serial(`respond: ${title} ends that stream with ${reason}`, async t => {
    const raw = stream();
    for (const bytes of frames) raw.write(bytes);
    t.is((await raw.ended)?.reason, reason);
  });
}

test.serial(
  'respond: what is one-way is out until it is said to be done; that of a request ends the stream',
  async t => {
    const raw = await opened(start(['q'], 1));
    t.deepEqual(await asker.tell('q', 'one'), { org: 'ACME', node: 'liar' });
    const first = await asked(raw);
    t.is((await failure(t, asker.tell('q', 'two', { timeoutMs: 100 })))?.reason, 'DEADLINE_EXCEEDED');
    const asking = asker.request('q', 'x');
    raw.write(frame({ $case: 'done', value: { requestId: first } }));
    const second = await raw.until(bytes => {
      const given = response(bytes);
      return given?.$case === 'request' && !given.value.oneWay ? given.value.requestId : undefined;
    });
    raw.write(frame({ $case: 'done', value: { requestId: second } }));
    t.is((await raw.ended)?.reason, 'FRAME_UNEXPECTED');
    t.is((await failure(t, asking))?.reason, 'RESPONDER_GONE');
  },
);

test.serial('respond: a second answer ends the stream, and the first one stays', async t => {
  const raw = await opened();
  const asking = asker.request('q', 'x');
  const id = await asked(raw);
  raw.write(reply(id)).write(reply(id));
  t.is((await asking).text, 'raw');
  t.is((await raw.ended)?.reason, 'FRAME_UNEXPECTED');
});

test.serial('respond: an error that breaks its rules ends the stream, and its request goes to another', async t => {
  const raw = await opened(start(['q'], 1));
  const asking = asker.request('q', 'x');
  const requestId = await asked(raw);
  const heir = liar.respond('q', () => 'instead');
  await heir.opened;
  const error = { code: 'no spaces', message: '', details: new Uint8Array(0) };
  raw.write(frame({ $case: 'error', value: { requestId, error } }));
  t.is((await raw.ended)?.reason, 'FIELD_INVALID');
  t.like(await asking, { text: 'instead', attempts: 2 });
  heir.close();
  await heir.closed;
});

test.serial(
  'respond: half-close hands what is unanswered to others; an answer that comes late ends nothing',
  async t => {
    const raw = await opened();
    const late = await failure(t, asker.request('q', 'x', { timeoutMs: 200 }));
    t.is(late?.reason, 'DEADLINE_EXCEEDED');
    const cancel = await raw.until(bytes => {
      const each = response(bytes);
      return each?.$case === 'cancel' ? each.value : undefined;
    });
    t.like(cancel, { requestId: 1n, cause: 1 });
    raw.write(reply(1n));
    const asking = failure(t, asker.request('q', 'y', { once: true }));
    await raw.until(bytes => {
      const each = response(bytes);
      return each?.$case === 'request' && each.value.requestId === 2n ? true : undefined;
    });
    raw.call.end();
    t.is((await asking)?.reason, 'RESPONDER_GONE');
    t.is(await raw.ended, undefined);
  },
);

test.serial(
  'request: what cannot be read or may not be is refused, also a field that this version does not know',
  async t => {
    const record = recordBlock('x').bytes;
    const address = new FieldWriter().text(1, 'q');
    const raw = async (...parts: Uint8Array[]): Promise<Reason | undefined> => {
      const answer = await ask(asker.channel, RequestServiceService.request.path, Buffer.concat(parts));
      return Buffer.isBuffer(answer) ? undefined : answer.reason;
    };
    t.is(await raw(address.view(), record), 'NO_RESPONDERS');
    t.is(await raw(address.view()), 'FIELD_INVALID');
    t.is(await raw(address.view(), record, record), 'FRAME_MALFORMED');
    t.is(await raw(address.view(), new FieldWriter().number(6, 1).view(), record), 'FRAME_MALFORMED');
    const keyed = new FieldWriter().text(3, 'k').number(5, 1).view();
    t.is(await raw(address.view(), keyed, record), 'FIELD_INVALID', 'what is one-way has no key');
    t.is(await raw(address.view(), new FieldWriter().number(2, 600_001).view(), record), 'FIELD_INVALID');
    t.is(await raw(address.view(), new FieldWriter().text(3, 'k'.repeat(65)).view(), record), 'FIELD_INVALID');
    t.is(await raw(new FieldWriter().text(1, '$own').view(), record), 'CHANNEL_RESERVED');
    t.is(await raw(record), 'FIELD_INVALID');
  },
);

test.serial('request: a gRPC deadline counts like timeout_ms', async t => {
  const raw = await opened();
  const error = await new Promise<FedgateError>(resolve => {
    const bytes = Buffer.concat([new FieldWriter().text(1, 'q').view(), recordBlock('x').bytes]);
    const same = (each: Buffer): Buffer => each;
    const deadline = Date.now() + 2_000;
    asker.channel.makeUnaryRequest<Buffer, Buffer>(
      RequestServiceService.request.path,
      same,
      same,
      bytes,
      { deadline },
      failed => resolve(fromGrpcError(failed)),
    );
  });
  t.is(error.reason, 'DEADLINE_EXCEEDED');
  const given = await raw.until(bytes => {
    const each = response(bytes);
    return each?.$case === 'request' ? each.value : undefined;
  });
  t.true(given.timeoutMs <= 2_000);
  raw.call.cancel();
});

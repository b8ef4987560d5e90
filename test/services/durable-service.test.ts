import { credentials, makeClientConstructor, Server, ServerCredentials } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import {
  DurableServiceService,
  GetStoreStatsResponse,
  Outbox,
} from '../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import { Access } from '../../src/messaging/access.js';
import { parsePattern } from '../../src/messaging/address.js';
import { durableService } from '../../src/services/durable-service.js';
import { CallWrapper } from '../../src/transport/calls.js';
import { fromGrpcError } from '../../src/transport/status.js';
import { World } from '../durable/subscriptions/world.js';
import { block, outgoing } from '../support/inbox.js';

const ACCESS = new Access('GLOBEX' as OrgName, {
  nodes: [
    {
      node: 'admin',
      publish: [],
      subscribe: [],
      share: [],
      fetch: [],
      approvals: [],
      nodes: [],
      status: false,
      admin: true,
    },
    {
      node: 'shop',
      publish: [],
      subscribe: ['orders'],
      share: [],
      fetch: [],
      approvals: [],
      nodes: [],
      status: false,
      admin: false,
    },
  ],
  peers: [],
});
const GIVE_UP = { delayMs: 0, reason: 'no', deadLetter: true, ackId: 0n };
/** Every field that a request may have. */
const BLANK = {
  name: '',
  org: '',
  id: 0n,
  ids: [],
  direction: 0,
  subscription: '',
  pageSize: 0,
  afterId: 0n,
  paused: false,
  maxBatches: 0,
};
const OUTBOX: Outbox = Outbox.fromPartial({ org: 'ACME', paused: false });

type Call = (method: string, request?: object) => Promise<Record<string, unknown>>;
type AnyClient = Record<string, (request: object, done: (error: Error | null, answer: unknown) => void) => void>;

/** The service over a world of subscriptions, called as one node. */
async function serve(t: ExecutionContext, world: World, node: string): Promise<Call> {
  const server = new Server();
  const wrapper = new CallWrapper({ authenticate: () => ({ name: node }), onFailure: () => undefined });
  const host = {
    access: ACCESS,
    subscriptions: world.subscriptions,
    deadLetters: world.deadLetters,
    outboxes: {
      list: () => [OUTBOX],
      get: async (org: OrgName) => (org === 'ACME' ? { outbox: OUTBOX, batches: [] } : undefined),
      setPaused: async (_org: OrgName, paused: boolean) => ({ ...OUTBOX, paused }),
      purge: async () => ({ batches: 1, records: 2 }),
    },
    send: async () => undefined,
    storeStats: async () => GetStoreStatsResponse.fromPartial({ state: 1 }),
    evidence: async function* () {
      yield Buffer.from('line\n');
    },
  };
  server.addService(DurableServiceService, durableService(wrapper, host));
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const Client = makeClientConstructor(DurableServiceService, 'DurableService');
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  t.teardown(() => {
    client.close();
    server.forceShutdown();
  });
  return (method, request = {}) =>
    new Promise((resolve, reject) => {
      (client as unknown as AnyClient)[method]?.({ ...BLANK, ...request }, (error, answer) => {
        if (error) reject(fromGrpcError(error as never, 'PEER_UNREACHABLE'));
        else resolve(answer as Record<string, unknown>);
      });
    });
}

const reasonOf = async (answer: Promise<unknown>): Promise<string> =>
  answer.then(
    () => 'none',
    error => (error instanceof FedgateError ? error.reason : String(error)),
  );

test('durable service: subscriptions are for those who may subscribe to their pattern', async t => {
  const world = await World.open();
  t.teardown(() => world.close());
  await world.log.log.append(outgoing('orders', block('a', 'b')));
  const { sink } = await world.consume({}, 'shop', 1);
  await world.consume({ name: 'secret', pattern: parsePattern('secret') });
  await sink.until(1);
  const call = await serve(t, world, 'shop');
  const { subscriptions } = await call('listSubscriptions');
  const [only, ...others] = subscriptions as readonly Record<string, unknown>[];
  t.like(only, { backlogRecords: 2n, pendingRecords: 1n, consumers: ['shop'], deadLetters: 0n });
  t.deepEqual(others, []);
  t.is(await reasonOf(call('getSubscription', { name: 'secret' })), 'NOT_GRANTED');
  t.is(await reasonOf(call('getSubscription', { name: 'none' })), 'SUBSCRIPTION_UNKNOWN');
  t.is(await reasonOf(call('seekSubscription', { name: 'jobs' })), 'FIELD_INVALID');
  const position = { at: { $case: 'latest', value: true } };
  const { subscription } = await call('seekSubscription', { name: 'jobs', position });
  t.like(subscription, { backlogRecords: 0n, consumers: [] });
  await call('deleteSubscription', { name: 'jobs' });
  t.is(world.subscriptions.size, 1);
});

test('durable service: all else is for administrators', async t => {
  const world = await World.open();
  t.teardown(() => world.close());
  const shop = await serve(t, world, 'shop');
  for (const method of ['listOutboxes', 'getOutbox', 'setOutboxPaused', 'purgeOutbox', 'listDeadLetters'])
    t.is(await reasonOf(shop(method, { org: 'ACME' })), 'NOT_GRANTED', method);
  for (const method of ['getDeadLetter', 'redriveDeadLetters', 'dropDeadLetters', 'getStoreStats'])
    t.is(await reasonOf(shop(method, { id: 1n })), 'NOT_GRANTED', method);
  const admin = await serve(t, world, 'admin');
  t.deepEqual(await admin('listOutboxes'), { outboxes: [OUTBOX] });
  t.is(await reasonOf(admin('getOutbox', { org: 'NOBODY' })), 'ORG_UNKNOWN');
  t.is(await reasonOf(admin('getOutbox', { org: 'ACME', maxBatches: 1_001 })), 'FIELD_INVALID');
  t.like((await admin('setOutboxPaused', { org: 'ACME', paused: true })).outbox, { paused: true });
  t.like(await admin('purgeOutbox', { org: 'ACME' }), { batches: 1n, records: 2n });
  t.like(await admin('getStoreStats'), { state: 1 });
});

test('durable service: dead letters are listed, shown, tried again and dropped', async t => {
  const world = await World.open();
  t.teardown(() => world.close());
  await world.log.log.append(outgoing('orders', block('a', 'b')));
  const { sink, consumer } = await world.consume();
  const offset = Number((await sink.until(2))[0]?.split(':')[0]);
  consumer.nack([{ first: offset, last: offset + 1 }], GIVE_UP);
  await sink.until(3);
  const call = await serve(t, world, 'admin');
  const { deadLetters, total } = await call('listDeadLetters', { pageSize: 1 });
  t.is(total, 2n);
  const [letter] = deadLetters as readonly { readonly id: bigint }[];
  t.like(letter, { direction: 1, subscription: 'jobs', reason: 'no', held: true });
  const { records } = await call('getDeadLetter', { id: letter?.id });
  t.deepEqual(
    (records as readonly { payload: Buffer }[]).map(({ payload }) => `${payload}`),
    ['a'],
  );
  t.is(await reasonOf(call('getDeadLetter', { id: 2n ** 64n - 1n })), 'DEAD_LETTER_UNKNOWN');
  t.is(await reasonOf(call('redriveDeadLetters', {})), 'FIELD_INVALID');
  const ids = [letter?.id];
  t.like(await call('redriveDeadLetters', { selection: { ...BLANK, ids } }), { redriven: 1n, skipped: 0n });
  t.regex((await sink.until(4))[3] ?? '', /:a$/);
  t.like(await call('dropDeadLetters', { selection: { ...BLANK, subscription: 'jobs' } }), { dropped: 1n });
  t.is(world.deadLetters.total, 0);
});

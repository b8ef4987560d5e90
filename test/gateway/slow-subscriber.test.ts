import test, { type ExecutionContext } from 'ava';
import { GatewayServiceService, GetStatusResponse } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import { MessagingServiceService, SubscribeRequest } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { FedgateClient } from '../../src/client/index.js';
import { ask } from '../support/attack.js';
import { GatewayProcess } from '../support/gateway-process.js';
import { startTestRegistry } from '../support/registry.js';

const ACCESS = 'nodes: [{ node: "*", publish: ["**"], subscribe: ["**"], status: true }]';
const RECORD_BYTES = 50_000;
const RECORDS = 2_000;

async function start(t: ExecutionContext) {
  const gateway = await GatewayProcess.join(t, await startTestRegistry(t), 'ACME', ACCESS);
  const publisher = await gateway.node(t, 'pub');
  const status = async () =>
    GetStatusResponse.decode((await ask(publisher.channel, GatewayServiceService.getStatus.path)) as Buffer);
  return { gateway, publisher, status };
}

/** A subscriber that opens and then never reads again. */
async function stalled(client: FedgateClient) {
  const same = (bytes: Buffer): Buffer => bytes;
  const request = Buffer.from(SubscribeRequest.encode({ pattern: 'orders/*' }).finish());
  const call = client.channel.makeServerStreamRequest(MessagingServiceService.subscribe.path, same, same, request);
  call.on('error', () => undefined);
  await new Promise(resolve => call.once('readable', resolve));
  return call;
}

function* records(count: number) {
  const payload = Buffer.alloc(RECORD_BYTES);
  for (let i = 0; i < count; i++) {
    payload.writeUInt32BE(i);
    yield { payload: Buffer.from(payload) };
  }
}

/** Reads so many messages and leaves the subscription open, so that the status still shows it. */
async function read<T>(subscription: AsyncIterable<T>, count: number): Promise<T[]> {
  const iterator = subscription[Symbol.asyncIterator]();
  const messages: T[] = [];
  while (messages.length < count) {
    const next = await iterator.next();
    if (next.done) break;
    messages.push(next.value);
  }
  return messages;
}

test('slow subscriber: 100 MB for one that never reads leave memory flat, are counted, and others get all', async t => {
  const { gateway, publisher, status } = await start(t);
  const call = await stalled(await gateway.node(t, 'stalled'));
  const subscription = (await gateway.node(t, 'quick')).subscribe('orders/*');
  await subscription.opened;
  const received = read(subscription, RECORDS);
  await publisher.publishAll('warm/up', records(400));
  const before = Number((await status()).residentBytes);
  const summary = await publisher.publishAll('orders/a', records(RECORDS), { patienceMs: 400 });
  const after = await status();
  const grown = (Number(after.residentBytes) - before) / 1e6;
  t.log(`RSS of the gateway's process: ${(before / 1e6).toFixed(0)} MB, +${grown.toFixed(0)} MB`);
  t.true(grown < 60, `${grown}`);
  const messages = await received;
  t.deepEqual(
    messages.map(({ payload }) => payload.readUInt32BE()),
    [...Array(RECORDS).keys()],
  );
  const slow = after.subscriptions.find(({ node }) => node === 'stalled');
  const quick = after.subscriptions.find(({ node }) => node === 'quick');
  t.is(quick?.recordsDropped, 0n);
  t.is(Number(slow?.recordsDropped) + Number(slow?.recordsDelivered), RECORDS);
  t.is(summary.dropped, Number(slow?.recordsDropped), 'the answers say the same as the status');
  t.is(Number(after.rates?.droppedTotal), summary.dropped);
  t.true(summary.dropped > RECORDS / 2);
  call.cancel();
});

test('slow subscriber: what was dropped is told by a notice, and delivered and dropped are all there was', async t => {
  const { gateway, publisher } = await start(t);
  const client = await gateway.node(t, 'sleeper');
  let missed = 0;
  const heard: number[] = [];
  // The last thing told may be a message or a loss.
  const closeWhenAll = (): void => {
    if (heard.length + missed >= RECORDS) subscription.close();
  };
  const onLoss = (loss: { readonly records: number | undefined }): void => {
    missed += loss.records ?? 0;
    // It speaks of what comes behind the messages that are still on their way to the iteration.
    setImmediate(closeWhenAll);
  };
  const subscription = client.subscribe('orders/*', { onLoss });
  await subscription.opened;
  const summary = await publisher.publishAll('orders/a', records(RECORDS));
  t.true(summary.dropped > 0);
  for await (const message of subscription) {
    heard.push(message.payload.readUInt32BE());
    closeWhenAll();
  }
  t.is(missed, summary.dropped);
  t.is(heard.length + missed, RECORDS);
  t.deepEqual(
    [...heard].sort((a, b) => a - b),
    heard,
  );
});

test('slow subscriber: patience slows the publisher instead, and nothing is lost', async t => {
  const { gateway, publisher } = await start(t);
  const subscription = (await gateway.node(t, 'slow')).subscribe('orders/*');
  await subscription.opened;
  const count = 800;
  const published = publisher.publishAll('orders/a', records(count), { patienceMs: 30_000 });
  const heard: number[] = [];
  for await (const message of subscription) {
    if (heard.push(message.payload.readUInt32BE()) === count) break;
    if (heard.length % 10 === 0) await new Promise(resolve => setTimeout(resolve, 10));
  }
  t.like(await published, { records: count, dropped: 0 });
  t.deepEqual(heard, [...Array(count).keys()]);
});

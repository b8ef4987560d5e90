import { type ClientReadableStream, type ServiceError, status } from '@grpc/grpc-js';
import anyTest, { type TestFn } from 'ava';
import {
  HealthService as Definition,
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../gen/ts/grpc/health/v1/health.js';
import { fromGrpcError } from '../../src/transport/status.js';
import { type ReflectingListener, startListener } from './listener.js';

const test = anyTest as TestFn<{ listener: ReflectingListener }>;

test.beforeEach(async t => {
  t.context.listener = await startListener();
});

test.afterEach.always(async t => {
  await t.context.listener[Symbol.asyncDispose]();
});

function check({ channel }: ReflectingListener, service: string): Promise<number> {
  const { path, requestSerialize, responseDeserialize } = Definition.check;
  return new Promise((resolve, reject) => {
    channel.makeUnaryRequest<HealthCheckRequest, HealthCheckResponse>(
      path,
      requestSerialize,
      responseDeserialize,
      { service },
      (error, response) => (response ? resolve(response.status) : reject(error ?? new Error('no answer'))),
    );
  });
}

function watch({ channel }: ReflectingListener, service: string): ClientReadableStream<HealthCheckResponse> {
  const { path, requestSerialize, responseDeserialize } = Definition.watch;
  const call = channel.makeServerStreamRequest<HealthCheckRequest, HealthCheckResponse>(
    path,
    requestSerialize,
    responseDeserialize,
    { service },
  );
  return call;
}

test('health: Check knows the server itself and what was set', async t => {
  const { listener } = t.context;
  listener.health.set('a', false);
  t.is(await check(listener, ''), Serving.SERVING);
  t.is(await check(listener, 'a'), Serving.NOT_SERVING);
  listener.health.set('a', true);
  t.is(await check(listener, 'a'), Serving.SERVING);
});

test('health: Check of an unknown service is NOT_FOUND', async t => {
  const error = await t.throwsAsync<ServiceError>(check(t.context.listener, 'nobody'));
  t.is(error?.code, status.NOT_FOUND);
});

test('health: Watch says the state at once, then each change, also of a service that is not there yet', async t => {
  const { listener } = t.context;
  const call = watch(listener, 'late');
  const seen = call[Symbol.asyncIterator]();
  const next = async (): Promise<number> => ((await seen.next()).value as HealthCheckResponse).status;
  t.is(await next(), Serving.SERVICE_UNKNOWN);
  listener.health.set('late', true);
  t.is(await next(), Serving.SERVING);
  listener.health.set('other', true);
  listener.health.set('late', false);
  t.is(await next(), Serving.NOT_SERVING);
  call.on('error', () => undefined);
  call.cancel();
});

test('health: drain tells watchers NOT_SERVING, then ends them with DRAINING', async t => {
  const { listener } = t.context;
  const seen: number[] = [];
  const error = await t.throwsAsync(async () => {
    for await (const response of watch(listener, '')) {
      seen.push((response as HealthCheckResponse).status);
      listener.health.drain();
    }
  });
  t.deepEqual(seen, [Serving.SERVING, Serving.NOT_SERVING]);
  t.is(fromGrpcError(error).reason, 'DRAINING');
});

import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import anyTest, { type TestFn } from 'ava';
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionService as V1,
} from '../../gen/ts/grpc/reflection/v1/reflection.js';
import { ServerReflectionService as V1Alpha } from '../../gen/ts/grpc/reflection/v1alpha/reflection.js';
import { type ReflectingListener, SERVICES, startListener } from './listener.js';

const test = anyTest as TestFn<{ listener: ReflectingListener }>;

test.before(async t => {
  t.context.listener = await startListener();
});

test.after.always(async t => {
  await t.context.listener[Symbol.asyncDispose]();
});

type Question = NonNullable<ServerReflectionRequest['messageRequest']>;

/** Asks everything on one stream and gives the answers in order. */
async function ask(
  { channel }: ReflectingListener,
  service: typeof V1 | typeof V1Alpha,
  questions: readonly (Question | undefined)[],
): Promise<ServerReflectionResponse['messageResponse'][]> {
  const { path, requestSerialize, responseDeserialize } = service.serverReflectionInfo;
  const call = channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
  for (const messageRequest of questions) call.write({ host: '', messageRequest });
  call.end();
  const answers: ServerReflectionResponse['messageResponse'][] = [];
  for await (const response of call) answers.push((response as ServerReflectionResponse).messageResponse);
  return answers;
}

const symbol = (value: string): Question => ({ $case: 'fileContainingSymbol', value });
const file = (value: string): Question => ({ $case: 'fileByFilename', value });

/** The names of the files in an answer; undefined when it is another kind of answer. */
function fileNames(answer: ServerReflectionResponse['messageResponse']): string[] | undefined {
  if (answer?.$case !== 'fileDescriptorResponse') return undefined;
  return answer.value.fileDescriptorProto.map(bytes => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

const errorCode = (answer: ServerReflectionResponse['messageResponse']): number | undefined =>
  answer?.$case === 'errorResponse' ? answer.value.errorCode : undefined;

const MESSAGING = 'fedgate/messaging/v1/messaging_service.proto';
const RECORD = 'fedgate/messaging/v1/record.proto';
const CLOSURE = [MESSAGING, RECORD, 'google/rpc/status.proto', 'google/protobuf/any.proto'];

for (const [version, service] of [
  ['v1', V1],
  ['v1alpha', V1Alpha],
] as const) {
  test(`reflection ${version}: lists the services it was given and no others`, async t => {
    const [answer] = await ask(t.context.listener, service, [{ $case: 'listServices', value: '' }]);
    t.deepEqual(answer, { $case: 'listServicesResponse', value: { service: SERVICES.map(name => ({ name })) } });
  });

  test(`reflection ${version}: answers for a file with everything it imports, itself first`, async t => {
    const [service_, record] = await ask(t.context.listener, service, [file(MESSAGING), file(RECORD)]);
    t.deepEqual(fileNames(service_), CLOSURE);
    t.deepEqual(fileNames(record), [RECORD]);
  });
}

for (const [what, name, expected] of [
  ['a service', 'fedgate.messaging.v1.MessagingService', CLOSURE],
  ['a method', 'fedgate.messaging.v1.MessagingService.PublishStream', CLOSURE],
  ['a message', 'fedgate.messaging.v1.Record', [RECORD]],
  ['a field', 'fedgate.messaging.v1.Record.payload', [RECORD]],
  ['a nested message', 'fedgate.messaging.v1.SubscriptionNotice.Opened', CLOSURE],
  ['a nested enum', 'fedgate.messaging.v1.PublishResult.Side', CLOSURE],
  ['an enum value', 'fedgate.messaging.v1.PublishResult.SIDE_LOCAL', CLOSURE],
  [
    'what an error may hold',
    'google.rpc.ErrorInfo',
    ['google/rpc/error_details.proto', 'google/protobuf/duration.proto'],
  ],
  ['an imported message', 'google.protobuf.Any', ['google/protobuf/any.proto']],
] as const) {
  test(`reflection: finds the file of ${what}`, async t => {
    const [answer] = await ask(t.context.listener, V1, [symbol(name)]);
    t.deepEqual(fileNames(answer), [...expected]);
  });
}

test('reflection: what no offered service needs is not found, and the stream goes on', async t => {
  const answers = await ask(t.context.listener, V1, [
    symbol('fedgate.federation.v1.FederationService'),
    file('fedgate/federation/v1/federation_service.proto'),
    file('fedgate/registry/v1/record.proto'),
    symbol(''),
    file('../../package.json'),
    file(RECORD),
  ]);
  const { NOT_FOUND } = status;
  t.deepEqual(answers.map(errorCode), [NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, undefined]);
});

test('reflection: extensions and an empty question are answered', async t => {
  const [extension, none, unknown, empty] = await ask(t.context.listener, V1, [
    { $case: 'fileContainingExtension', value: { containingType: 'google.protobuf.Any', extensionNumber: 1 } },
    { $case: 'allExtensionNumbersOfType', value: 'google.protobuf.Any' },
    { $case: 'allExtensionNumbersOfType', value: 'fedgate.Nothing' },
    undefined,
  ]);
  t.is(errorCode(extension), status.NOT_FOUND);
  t.deepEqual(none, {
    $case: 'allExtensionNumbersResponse',
    value: { baseTypeName: 'google.protobuf.Any', extensionNumber: [] },
  });
  t.is(errorCode(unknown), status.NOT_FOUND);
  t.is(errorCode(empty), status.INVALID_ARGUMENT);
});

for (const protocol of ['grpc-v1', 'grpc-v1alpha']) {
  test(`reflection: buf curl lists services and methods over mutual TLS (${protocol})`, async t => {
    const flags = ['--reflect', '--reflect-protocol', protocol];
    const services = await t.context.listener.curl('', ...flags, '--list-services');
    t.deepEqual(services.trim().split('\n').sort(), [...SERVICES].sort());
    const methods = await t.context.listener.curl('', ...flags, '--list-methods');
    t.regex(methods, /^fedgate\.messaging\.v1\.MessagingService\/PublishStream$/m);
  });
}

test('reflection: buf curl calls a method that it only knows by reflection', async t => {
  const answer = await t.context.listener.curl('/grpc.health.v1.Health/Check', '--reflect', '-d', '{"service":""}');
  t.deepEqual(JSON.parse(answer), { status: 'SERVING' });
});

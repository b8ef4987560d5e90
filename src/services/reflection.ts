import { readFileSync } from 'node:fs';
import { status } from '@grpc/grpc-js';
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  type ServerReflectionServer,
  ServerReflectionService,
} from '../../gen/ts/grpc/reflection/v1/reflection.js';
import {
  type ServerReflectionServer as ServerReflectionServerV1Alpha,
  ServerReflectionService as ServerReflectionServiceV1Alpha,
} from '../../gen/ts/grpc/reflection/v1alpha/reflection.js';
import { quoted } from '../errors.js';
import { packageRoot } from '../package-root.js';
import type { CallWrapper } from '../transport/calls.js';
import { DescriptorSet } from './descriptor-set.js';

/**
 * Server reflection (https://github.com/grpc/grpc/blob/master/doc/server-reflection.md): lets `grpcurl` and `buf curl` call the
 * services of a listener without having the protos. Two packages of one shape, because tools still ask for the older.
 */

export interface ReflectionOptions {
  /** Full names of the services to explain, for example `fedgate.messaging.v1.MessagingService`. No other file is handed out. */
  readonly services: readonly string[];
}

/** Nothing imports it: details travel as `google.protobuf.Any`. Without it tools cannot print an answer that holds an error. */
const ERROR_DETAILS = 'google/rpc/error_details.proto';

/** The two services to add to a listener. */
export interface Reflection {
  readonly v1: { readonly definition: typeof ServerReflectionService; readonly implementation: ServerReflectionServer };
  readonly v1alpha: {
    readonly definition: typeof ServerReflectionServiceV1Alpha;
    readonly implementation: ServerReflectionServerV1Alpha;
  };
}

export function createReflection(calls: CallWrapper<unknown>, { services }: ReflectionOptions): Reflection {
  const compiled = readFileSync(new URL('gen/descriptors.binpb', packageRoot));
  const descriptors = new DescriptorSet(compiled, services, [ERROR_DETAILS]);
  const handler = calls.bidi<ServerReflectionRequest, ServerReflectionResponse>(async (requests, out) => {
    // A plain `for await` destroys both directions of the call when the caller half-closes, and the caller waits for ever.
    for await (const each of requests.iterator({ destroyOnReturn: false })) {
      const request = each as ServerReflectionRequest;
      const messageResponse = answer(request.messageRequest, descriptors, services);
      await out.send({ validHost: request.host, originalRequest: request, messageResponse });
    }
  });
  return {
    v1: { definition: ServerReflectionService, implementation: { serverReflectionInfo: handler } },
    v1alpha: { definition: ServerReflectionServiceV1Alpha, implementation: { serverReflectionInfo: handler } },
  };
}

type Question = ServerReflectionRequest['messageRequest'];
type Answer = NonNullable<ServerReflectionResponse['messageResponse']>;

/** What cannot be answered is an answer too: one bad question does not end the stream. */
function answer(question: Question, descriptors: DescriptorSet, services: readonly string[]): Answer {
  switch (question?.$case) {
    case 'listServices':
      return { $case: 'listServicesResponse', value: { service: services.map(name => ({ name })) } };
    case 'fileByFilename':
      return files(descriptors.file(question.value), `no file ${quoted(question.value)} is offered here`);
    case 'fileContainingSymbol':
      return files(descriptors.fileOfSymbol(question.value), `no symbol ${quoted(question.value)} is offered here`);
    case 'fileContainingExtension':
      return refusal(status.NOT_FOUND, 'the contract declares no extensions');
    case 'allExtensionNumbersOfType': {
      const { value: baseTypeName } = question;
      if (!descriptors.isMessage(baseTypeName)) return refusal(status.NOT_FOUND, `no message ${quoted(baseTypeName)}`);
      return { $case: 'allExtensionNumbersResponse', value: { baseTypeName, extensionNumber: [] } };
    }
    default:
      return refusal(status.INVALID_ARGUMENT, 'message_request: none of the known questions is set');
  }
}

const files = (found: Uint8Array[] | undefined, otherwise: string): Answer =>
  found
    ? { $case: 'fileDescriptorResponse', value: { fileDescriptorProto: found } }
    : refusal(status.NOT_FOUND, otherwise);

const refusal = (errorCode: number, errorMessage: string): Answer => ({
  $case: 'errorResponse',
  value: { errorCode, errorMessage },
});

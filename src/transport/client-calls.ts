import type { Client, MethodDefinition } from '@grpc/grpc-js';
import { FedgateError } from '../errors.js';
import { fromGrpcError } from './status.js';

/** Calls a unary method with a deadline. Throws FedgateError. */
export function callUnary<Req, Res>(
  channel: Client,
  method: MethodDefinition<Req, Res>,
  request: Req,
  { timeoutMs }: { readonly timeoutMs: number },
): Promise<Res> {
  return new Promise((resolve, reject) => {
    const { path, requestSerialize, responseDeserialize } = method;
    channel.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      { deadline: Date.now() + timeoutMs },
      (error, response) => {
        if (error) reject(fromGrpcError(error));
        else if (response === undefined) reject(new FedgateError('INTERNAL', `${path} answered nothing`));
        else resolve(response);
      },
    );
  });
}

/** What a caller needs to know of a method. */
export type ClientMethod<Req, Res> = Pick<
  MethodDefinition<Req, Res>,
  'path' | 'requestSerialize' | 'responseDeserialize'
>;

/** Calls a server-streaming method; leaving the loop cancels it. Throws FedgateError. */
export async function* callServerStream<Req, Res>(
  channel: Client,
  method: ClientMethod<Req, Res>,
  request: Req,
  signal: AbortSignal,
): AsyncGenerator<Res> {
  const { path, requestSerialize, responseDeserialize } = method;
  const call = channel.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
  const cancel = (): void => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    for await (const response of call) yield response as Res;
  } catch (error) {
    throw fromGrpcError(error);
  } finally {
    signal.removeEventListener('abort', cancel);
    call.cancel();
  }
}

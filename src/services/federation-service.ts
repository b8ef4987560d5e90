import type { ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import { FederationServiceService } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import type { Acceptor } from '../link/accept.js';
import { Lane } from '../link/lane.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import { narrowWindow } from '../transport/narrow.js';

const untouched = (bytes: Buffer): Buffer => bytes;

/** The service with all frames left as bytes. */
export const federationDefinition: ServiceDefinition = {
  openLane: { ...FederationServiceService.openLane, requestDeserialize: untouched, responseSerialize: untouched },
} as ServiceDefinition;

export function federationService(
  wrapper: CallWrapper<Identity>,
  acceptor: Acceptor,
): Handlers<typeof FederationServiceService> {
  return {
    openLane: wrapper.bidi(
      async (call: ServerDuplexStream<Buffer, Buffer>, _out, { caller, remoteAddress, signal }: CallContext) => {
        const lane = new Lane(call, bytes => narrowWindow(call, bytes));
        signal.addEventListener(
          'abort',
          () => lane.close(new FedgateError('PEER_UNREACHABLE', 'the other gateway went away')),
          { once: true },
        );
        try {
          await acceptor.serve(lane, caller, remoteAddress);
        } catch (error) {
          lane.close(error as FedgateError);
          throw error;
        }
      },
    ),
  };
}

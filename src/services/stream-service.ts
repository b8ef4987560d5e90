import type { ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import type { StreamInfo } from '../../gen/ts/fedgate/messaging/v1/stream_service.js';
import { StreamServiceService } from '../../gen/ts/fedgate/messaging/v1/stream_service.js';
import type { FedgateError } from '../errors.js';
import type { Access } from '../messaging/access.js';
import { ACCEPTOR, OPENER, type Relay } from '../streams/relay.js';
import type { CallingNode, Streams } from '../streams/streams.js';
import { full, MAX_ACCEPT_CALLS_PER_NODE } from '../streams/terms.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { AcceptSession } from './accept-session.js';
import { StreamCall } from './stream-call.js';

/** Who calls, as the gateway verified it. */
export interface StreamCaller {
  readonly name: string;
}

export interface StreamServiceHost<C extends StreamCaller> {
  readonly gateway: string;
  readonly org: string;
  readonly streams: Streams;
  readonly access: Access;
  /** Why the certificate of a caller, if it has one, counts no longer; undefined: it does. */
  readonly complaint: (caller: C) => FedgateError | undefined;
  /** Fires when the gateway stops. */
  readonly draining: AbortSignal;
}

const untouched = (bytes: Buffer): Buffer => bytes;
const { openStream } = StreamServiceService;

/** The service with the frames of streams left as bytes. */
export const streamDefinition: ServiceDefinition = {
  ...StreamServiceService,
  openStream: { ...openStream, requestDeserialize: untouched, responseSerialize: untouched },
} as ServiceDefinition;

export function streamService<C extends StreamCaller>(
  wrapper: CallWrapper<C>,
  host: StreamServiceHost<C>,
): Handlers<typeof StreamServiceService> {
  const accepting = new Map<string, number>();
  return {
    openStream: wrapper.bidi(
      async (
        call: ServerDuplexStream<Buffer, Buffer>,
        out: FrameWriter<Buffer>,
        { caller, signal }: CallContext<C>,
      ) => {
        const node: CallingNode = { name: caller.name, complaint: () => host.complaint(caller) };
        await new StreamCall(call, out, node, host).run(signal);
      },
    ),
    acceptStreams: wrapper.bidi(
      async (
        call: ConstructorParameters<typeof AcceptSession>[0],
        out: ConstructorParameters<typeof AcceptSession>[1],
        { caller, signal }: CallContext<C>,
      ) => {
        const { name } = caller;
        const open = accepting.get(name) ?? 0;
        if (open >= MAX_ACCEPT_CALLS_PER_NODE) throw full('accept calls', `node ${name} accepts on ${open} calls`);
        accepting.set(name, open + 1);
        try {
          await new AcceptSession(call, out, name, host).run(signal);
        } finally {
          const left = (accepting.get(name) ?? 1) - 1;
          if (left > 0) accepting.set(name, left);
          else accepting.delete(name);
        }
      },
    ),
    listStreams: wrapper.unary((_request, { caller }) => {
      const all = mayKnowAll(host.access, caller.name);
      const own = ({ facts, acceptor }: Relay): boolean =>
        (facts.opener.org === host.org && facts.opener.node === caller.name) ||
        (facts.acceptorOrg === host.org && acceptor === caller.name);
      return { streams: [...host.streams.relays].filter(relay => all || own(relay)).map(toStreamInfo) };
    }),
  };
}

function mayKnowAll(access: Access, node: string): boolean {
  try {
    access.checkStatus(node);
    return true;
  } catch {
    return false;
  }
}

const toStreamInfo = (relay: Relay): StreamInfo => ({
  streamId: BigInt(relay.facts.id),
  channel: relay.facts.channel,
  openerOrg: relay.facts.opener.org,
  openerNode: relay.facts.opener.node,
  acceptorOrg: relay.facts.acceptorOrg,
  acceptorNode: relay.acceptor,
  sinceMs: BigInt(relay.sinceMs),
  bytesFromOpener: BigInt(relay.bytesFrom(OPENER)),
  bytesFromAcceptor: BigInt(relay.bytesFrom(ACCEPTOR)),
  attached: relay.attached,
});

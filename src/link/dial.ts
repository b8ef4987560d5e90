import { randomBytes, type X509Certificate } from 'node:crypto';
import type { Client } from '@grpc/grpc-js';
import { FederationServiceService } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import type { ResolverName } from '../finding/types.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import { formatSubject, gatewayDnsName } from '../identity/subject.js';
import type { CertificateVerifier, Identity } from '../identity/verify.js';
import { openChannel } from '../transport/channel.js';
import { fromGrpcError } from '../transport/status.js';
import { BATCH_OVERHEAD_BYTES } from '../wire/lane-frames.js';
import { MAX_FRAME_BYTES } from '../wire/records.js';
import { newStreamEpoch } from './batch.js';
import { checkHello, LANE, type LaneHello, type LaneKind, mailLanes, makeHello, type Self } from './hello.js';
import { Lane } from './lane.js';
import type { LinkParts, OpenLane } from './link.js';

/** One gateway of another organisation at one of its addresses. */
export interface DialTarget {
  readonly org: string;
  readonly gateway: string;
  readonly address: string;
  /** Who says that it is there. */
  readonly source?: ResolverName | undefined;
  /** PEM of the organisation's registered CAs: nobody else's certificate is accepted there. */
  readonly authorities: readonly string[];
}

export interface DialSettings {
  readonly self: Self;
  readonly identity: KeyAndCertificate;
  readonly verifier: CertificateVerifier;
  /** For TCP, TLS and hello together, milliseconds. */
  readonly timeoutMs: number;
}

/** Windows of every lane, bytes. What gets through is about half of window / round trip. */
export const LANE_WINDOW_BYTES = 16 * 1024 * 1024;
/** That of a files lane: measured 70 to 80 MB/s at 100 ms with 16 MiB, 140 with 32. What we keep is bounded by the credit. */
export const FILES_WINDOW_BYTES = 32 * 1024 * 1024;

/**
 * That of a lane on which only answers come towards us: sockets keep as much as that, so the writes of the side that answers never wait,
 * it always reads, and what it answers to gets through. Enough for some ten thousand answers a second at 100 ms.
 */
export const ANSWERS_WINDOW_BYTES = 64 * 1024;

/**
 * That of a topics lane, on which posts go both ways: what comes towards the dialler is little enough for sockets to keep, so that the
 * other side never waits to write, and always reads.
 */
export const TOPICS_WINDOW_BYTES = 256 * 1024;

/** What comes towards the dialler in bulk comes on these. */
export const BULK_BACK: ReadonlySet<LaneKind> = new Set([
  LANE.mailBack,
  LANE.durableBack,
  LANE.files,
  LANE.streamsBack,
]);

function windowOf(kind: LaneKind, split: boolean): number {
  if (kind === LANE.files) return FILES_WINDOW_BYTES;
  if (kind === LANE.topics) return TOPICS_WINDOW_BYTES;
  const answers = kind === LANE.filesBack || kind === LANE.streams || (split && !BULK_BACK.has(kind));
  return answers ? ANSWERS_WINDOW_BYTES : LANE_WINDOW_BYTES;
}

/** Opens the control and mail lanes of a link. Throws what the way there said: PEER_UNREACHABLE, CERTIFICATE_UNTRUSTED, or the peer's refusal. */
export async function dialLink(target: DialTarget, settings: DialSettings, signal: AbortSignal): Promise<LinkParts> {
  const linkId = randomBytes(16);
  const control = await dialLane(target, LANE.control, linkId, settings, signal);
  const dialled: Promise<OpenLane>[] = [];
  try {
    const kinds = mailLanes(settings.self, control.hello);
    const split = kinds.length > 1;
    for (const kind of kinds) dialled.push(dialLane(target, kind, linkId, settings, signal, { split }));
    const [mail, mailBack] = await Promise.all(dialled);
    if (!mail) throw new FedgateError('INTERNAL', 'a link without a mail lane');
    const openLane: LinkParts['openLane'] = (kind, hello, ended) =>
      dialLane(target, kind, linkId, settings, ended, { hello, split });
    const { address, source } = target;
    return { peer: control.peer, dialled: true, address, source, control, mail, mailBack, openLane };
  } catch (error) {
    const reason = new FedgateError('PEER_UNREACHABLE', 'a mail lane did not open', { cause: error });
    control.lane.close(reason);
    for (const each of dialled)
      each.then(
        ({ lane }) => lane.close(reason),
        () => undefined,
      );
    throw error;
  }
}

/** What is particular to one lane. */
interface LaneTerms {
  /** What the hello of an additional lane says more. */
  readonly hello?: LaneHello;
  /** Whether it is of a link with lanes for each direction. @default false */
  readonly split?: boolean;
}

/** Opens one lane on a connection of its own and exchanges hellos. */
export async function dialLane(
  target: DialTarget,
  kind: LaneKind,
  linkId: Buffer,
  settings: DialSettings,
  signal: AbortSignal,
  { hello: more, split = false }: LaneTerms = {},
): Promise<OpenLane & { peer: Identity }> {
  let peer: Identity | undefined;
  let refusal: unknown;
  const channel = openChannel({
    address: target.address,
    serverName: gatewayDnsName(settings.self.federation, target.org, target.gateway),
    identity: settings.identity,
    authorities: target.authorities,
    window: windowOf(kind, split),
    maxReceiveBytes: MAX_FRAME_BYTES + BATCH_OVERHEAD_BYTES * 2,
    maxBackoffMs: 60_000,
    checkServer: leaf => {
      try {
        peer = identifyPeer(leaf, target, settings.verifier);
      } catch (error) {
        refusal = error;
        throw error;
      }
    },
  });
  const lane = callLane(channel, signal);
  try {
    const ownEpoch = more?.streamEpoch ?? newStreamEpoch();
    lane.put({ $case: 'hello', value: makeHello(settings.self, kind, linkId, more ?? ownEpoch) });
    const answer = await lane.first(settings.timeoutMs);
    if (!peer) throw new FedgateError('CERTIFICATE_UNTRUSTED', `${target.address} showed no certificate`);
    const hello = checkHello(answer, settings.self, peer);
    if (hello.lane !== kind) throw new FedgateError('FRAME_UNEXPECTED', 'the hello is for another kind of lane');
    return { lane, hello, ownEpoch, peer };
  } catch (error) {
    const reason = fromGrpcError(refusal ?? error, 'PEER_UNREACHABLE');
    lane.close(reason);
    throw reason;
  }
}

/** TLS proved that the organisation's CA signed it; this proves that it is the gateway that was dialled. */
function identifyPeer(leaf: X509Certificate, target: DialTarget, verifier: CertificateVerifier): Identity {
  const peer = verifier.identify(leaf.fingerprint256, () => leaf);
  if (peer.role === 'gateway' && peer.org === target.org && peer.name === target.gateway) return peer;
  throw new FedgateError(
    'CERTIFICATE_UNTRUSTED',
    `${formatSubject(peer)} answers where ${target.org}/gateway/${target.gateway} should`,
  );
}

const identity = (bytes: Buffer): Buffer => bytes;

function callLane(channel: Client, signal: AbortSignal): Lane {
  const { path } = FederationServiceService.openLane;
  const call = channel.makeBidiStreamRequest<Buffer, Buffer>(path, identity, identity);
  const lane = new Lane(call);
  call.on('error', error => lane.close(unreachable(error)));
  const abort = (): void => lane.close(new FedgateError('CANCELLED', 'the dial was given up'));
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  const release = (): void => {
    signal.removeEventListener('abort', abort);
    call.cancel();
    channel.close();
  };
  if (lane.closed.aborted) release();
  else lane.closed.addEventListener('abort', release, { once: true });
  return lane;
}

/** A CANCELLED that we did not ask for is how a server that stops cuts its calls. */
function unreachable(error: unknown): FedgateError {
  const reason = fromGrpcError(error, 'PEER_UNREACHABLE');
  return reason.reason === 'CANCELLED'
    ? new FedgateError('PEER_UNREACHABLE', 'the other gateway cut the lane', { cause: error })
    : reason;
}

import type {
  TopicEvidence,
  TopicStreamState,
  TopicStream as WireStream,
} from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import { checkedStream } from '../topics/post.js';
import type { Evidence, SignedHeader, StreamId, StreamState, TopicsFrame } from '../topics/types.js';
import { fromRpcStatus, toRpcStatus } from '../transport/status.js';
import { malformed } from '../wire/reader.js';
import type { Frame, IncomingFrame } from './lane.js';

const toWire = ({ topic, org, gateway, epoch }: StreamId): WireStream => ({ topic, org, gateway, epoch });

/** The frame of a topics lane for what the domain says. */
export function toFrame(frame: TopicsFrame): Frame {
  if (frame.kind === 'have') {
    const { complete, takes } = frame;
    const streams = frame.streams.map(({ stream, first, last }) => ({
      stream: toWire(stream),
      first: BigInt(first),
      last: BigInt(last),
    }));
    return { $case: 'topicsHave', value: { streams, complete, takes: [...takes] } };
  }
  if (frame.kind === 'want')
    return { $case: 'topicWant', value: { stream: toWire(frame.stream), from: BigInt(frame.from) } };
  if (frame.kind === 'stop')
    return { $case: 'topicStop', value: { stream: toWire(frame.stream), refused: frame.refused } };
  if (frame.kind === 'evidence') return { $case: 'topicEvidence', value: frame.evidence };
  return { $case: 'topicsPaused', value: { error: toRpcStatus(frame.error), forMs: frame.forMs } };
}

/** What a frame of a topics lane says. Undefined: it does not belong there. Throws FRAME_MALFORMED, FIELD_INVALID, CHANNEL_RESERVED. */
export function fromFrame(frame: IncomingFrame): TopicsFrame | undefined {
  if (frame.$case === 'topicsHave') {
    const { streams, complete, takes } = frame.value;
    return { kind: 'have', complete, takes, streams: streams.map(toState) };
  }
  if (frame.$case === 'topicWant') {
    const from = sequence(frame.value.from);
    if (from < 1) throw malformed('a number of a record that is 0');
    return { kind: 'want', stream: toStream(frame.value.stream), from };
  }
  if (frame.$case === 'topicStop')
    return { kind: 'stop', stream: toStream(frame.value.stream), refused: frame.value.refused };
  if (frame.$case === 'topicEvidence') return { kind: 'evidence', evidence: toEvidence(frame.value) };
  if (frame.$case !== 'topicsPaused') return undefined;
  const { error, forMs } = frame.value;
  const why = error ? fromRpcStatus(error) : new FedgateError('LIMIT_REACHED', 'too much of no use');
  return { kind: 'paused', error: why, forMs };
}

function toState({ stream, first, last }: TopicStreamState): StreamState {
  const state = { stream: toStream(stream), first: sequence(first), last: sequence(last) };
  if (state.first < 1 || state.first > state.last + 1) throw malformed('a state of a stream');
  return state;
}

function toStream(stream: WireStream | undefined): StreamId {
  if (!stream) throw malformed('a frame about no stream');
  return checkedStream(stream.topic, stream.org, stream.gateway, stream.epoch);
}

/** Nobody gets to 2^53 records. */
function sequence(number: bigint): number {
  if (number >= BigInt(Number.MAX_SAFE_INTEGER)) throw malformed('a number of a record');
  return Number(number);
}

function toEvidence({ certificate, first, second }: TopicEvidence): Evidence {
  if (!first || !second) throw malformed('evidence of one thing');
  const signed = ({ header, signature }: { header: Uint8Array; signature: Uint8Array }): SignedHeader => ({
    header: Buffer.from(header),
    signature: Buffer.from(signature),
  });
  return { certificate: Buffer.from(certificate), first: signed(first), second: signed(second) };
}

import { FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import type { Outgoing, StreamLink } from '../streams/outgoing.js';
import { ACCEPTOR, OPENER, type Relay, type Side } from '../streams/relay.js';
import type { Streams } from '../streams/streams.js';
import { full, OPENS, unexpected } from '../streams/terms.js';
import type { Port } from '../streams/track.js';
import { Turns } from '../streams/turns.js';
import { TokenBucket } from '../token-bucket.js';
import { fromRpcStatus, toRpcStatus } from '../transport/status.js';
import { encodeLaneStreamFrame, type StreamFrame } from '../wire/stream-frames.js';
import { isAlarming } from './alarms.js';
import type { LaneWork } from './extra-lanes.js';
import { asError } from './files-terms.js';
import type { Frame, IncomingFrame, Lane } from './lane.js';

/** What a gateway brings to its streams lanes. */
export interface StreamsHost {
  readonly streams: Streams;
  /** Hears of every peer that lies. */
  onAlarm(error: FedgateError, facts: Readonly<Record<string, string>>): void;
  /** Hears of every stream that is refused. */
  onRefused(error: FedgateError, facts: Readonly<Record<string, string>>): void;
}

/** Refusals that wait for a lane that takes nothing; more is a peer that asks and does not read. */
const MAX_UNREAD_REFUSALS = 1_000;

/** A stream of this link. */
interface Entry {
  readonly port: Port;
  readonly side: Side;
  relay: Relay | undefined;
  /** Of a stream that was opened from here: not known yet whether it is accepted. */
  waiting: { opened(node: string): void; failed(error: Error | undefined): void } | undefined;
}

export interface StreamsLinkParts {
  readonly host: StreamsHost;
  readonly peer: Identity;
  /** Names the peer's process. */
  readonly instance: string;
  /** Whether this side dialled the link. */
  readonly dialled: boolean;
  /** The lane of our bytes, and that of the peer's. */
  readonly own: Lane;
  readonly theirs: Lane;
}

/**
 * The streams of one link: on one lane go our bytes, and credit for them comes back; on the other it is the other way round. Both kinds of frames
 * take turns, so a stream that stands still holds up no other.
 */
export class StreamsLink implements StreamLink {
  readonly instance: string;
  readonly #parts: StreamsLinkParts;
  readonly #entries = new Map<number, Entry>();
  readonly #forward: Turns;
  readonly #back: Turns;
  readonly #opens = new TokenBucket(OPENS.burst, OPENS.perSecond, performance.now());
  #nextId: number;
  #highestTheirs = 0;
  #unread = 0;
  #over = false;

  constructor(parts: StreamsLinkParts) {
    const { instance, dialled, own, theirs } = parts;
    this.#parts = parts;
    this.instance = instance;
    this.#nextId = dialled ? 1 : 2;
    this.#forward = new Turns(own.out);
    this.#back = new Turns(theirs.out);
    own.out.onDrain(() => this.#drained());
    theirs.out.onDrain(() => this.#drained());
    for (const lane of [own, theirs]) {
      if (lane.closed.aborted) this.#end(lane.reason);
      else lane.closed.addEventListener('abort', () => this.#end(lane.reason), { once: true });
    }
    own.listen(frame => this.#guard(() => this.#takeOnOwn(frame)));
    theirs.listen(frame => this.#guard(() => this.#takeOnTheirs(frame)));
  }

  open(
    { key, relay, timeoutMs }: Outgoing,
    resume: boolean,
    opened: (node: string) => void,
    failed: (error: Error | undefined) => void,
  ): Port {
    const id = this.#nextId;
    this.#nextId += 2;
    const port = this.#port(id);
    if (this.#over) {
      queueMicrotask(() => failed(new FedgateError('PEER_UNREACHABLE', 'the link ended')));
      return port;
    }
    this.#entries.set(id, { port, side: ACCEPTOR, relay, waiting: { opened, failed } });
    const { channel, opener, resumeMs } = relay.facts;
    const facts = resume
      ? { channel: '', senderNode: '', resumeMs: 0, timeoutMs: 0 }
      : { channel, senderNode: opener.node, resumeMs, timeoutMs };
    this.#put(this.#parts.own, {
      $case: 'streamOpen',
      value: { id: BigInt(id), key: Buffer.from(key, 'hex'), resume, ...facts },
    });
    return port;
  }

  #port(id: number): Port {
    const encode = (frame: StreamFrame): Buffer => encodeLaneStreamFrame(id, frame);
    return {
      forward: { turns: this.#forward, encode },
      back: { turns: this.#back, encode },
      close: error => this.#close(id, error),
    };
  }

  /** The stream is over here: the peer hears it unless it knows. */
  #close(id: number, error: Error | undefined): void {
    if (this.#entries.delete(id) && !this.#over) this.#reset(id, error && asError(error));
  }

  #reset(id: number, error: FedgateError | undefined): void {
    const { own, theirs } = this.#parts;
    // It goes behind the bytes that it concerns when they are ours.
    const lane = this.#isOurs(id) ? own : theirs;
    if (!lane.out.writable && ++this.#unread > MAX_UNREAD_REFUSALS)
      throw full('unread refusals', 'streams are opened and what becomes of them is not read');
    this.#put(lane, { $case: 'streamReset', value: { id: BigInt(id), error: error && toRpcStatus(error) } });
  }

  #put(lane: Lane, frame: Frame): void {
    lane.put(frame);
  }

  #drained(): void {
    this.#unread = 0;
    this.#forward.pump();
    this.#back.pump();
  }

  #isOurs(id: number): boolean {
    return id % 2 === (this.#parts.dialled ? 1 : 0);
  }

  /** The stream of a frame; undefined: it is over, and the frame crossed its end. Throws FRAME_UNEXPECTED for one that never was. */
  #entry(number: bigint | number): Entry | undefined {
    const id = Number(number);
    const entry = this.#entries.get(id);
    if (entry) return entry;
    const known = this.#isOurs(id) ? id < this.#nextId : id <= this.#highestTheirs;
    if (!known || id <= 0) throw unexpected(`stream ${id} never was`);
    return undefined;
  }

  /** What comes on the lane of our bytes. */
  #takeOnOwn(frame: IncomingFrame): void {
    if (frame.$case === 'streamCredit') {
      const { id, limit, received, ended, round } = frame.value;
      this.#give(this.#entry(id), {
        kind: 'credit',
        limit: Number(limit),
        received: Number(received),
        ended,
        round,
      });
    } else if (frame.$case === 'streamOpened') {
      const entry = this.#entry(frame.value.id);
      const waiting = entry?.waiting;
      if (entry && !waiting) throw unexpected('a stream was opened twice');
      if (entry) entry.waiting = undefined;
      waiting?.opened(frame.value.node);
    } else if (frame.$case === 'streamReset') this.#takeReset(frame.value.id, frame.value.error);
    else throw unexpected(`a ${frame.$case} on the lane of our bytes`);
  }

  /** What comes on the lane of the peer's bytes. */
  #takeOnTheirs(frame: IncomingFrame): void {
    if (frame.$case === 'streamBytes') this.#give(this.#entry(frame.value.id), frame.value.frame);
    else if (frame.$case === 'streamEnd')
      this.#give(this.#entry(frame.value.id), { kind: 'end', offset: Number(frame.value.offset) });
    else if (frame.$case === 'streamFrom') {
      const { id, round, offset } = frame.value;
      this.#give(this.#entry(id), { kind: 'from', round, offset: Number(offset) });
    } else if (frame.$case === 'streamAsk') this.#give(this.#entry(frame.value.id), { kind: 'ask' });
    else if (frame.$case === 'streamReset') this.#takeReset(frame.value.id, frame.value.error);
    else if (frame.$case === 'streamOpen') this.#takeOpen(frame.value);
    else throw unexpected(`a ${frame.$case} on the lane of the peer's bytes`);
  }

  /** Before a stream is open here nothing of it counts: once it is, both ends are asked. */
  #give(entry: Entry | undefined, frame: StreamFrame): void {
    if (entry?.relay && !entry.waiting) entry.relay.take(entry.side, frame, entry.port);
  }

  #takeReset(number: bigint, status: Parameters<typeof fromRpcStatus>[0] | undefined): void {
    const entry = this.#entry(number);
    if (!entry) return;
    this.#entries.delete(Number(number));
    const error = status && fromRpcStatus(status);
    if (entry.waiting) entry.waiting.failed(error);
    else if (error) entry.relay?.end(error, entry.port);
    else entry.relay?.closedBy(entry.side, entry.port);
  }

  #takeOpen(open: Extract<IncomingFrame, { $case: 'streamOpen' }>['value']): void {
    const id = Number(open.id);
    if (this.#isOurs(id) || id <= this.#highestTheirs || !Number.isSafeInteger(id))
      throw unexpected(`a stream was opened with number ${id}`);
    this.#highestTheirs = id;
    const { host, peer, instance } = this.#parts;
    const port = this.#port(id);
    const entry: Entry = { port, side: OPENER, relay: undefined, waiting: undefined };
    this.#entries.set(id, entry);
    const accepted = (node: string): void => {
      this.#put(this.#parts.theirs, { $case: 'streamOpened', value: { id: open.id, node } });
    };
    try {
      if (open.key.length !== 16) throw new FedgateError('FIELD_INVALID', 'key must be 16 bytes');
      const wait = this.#opens.take(performance.now());
      if (wait > 0)
        throw new FedgateError('LIMIT_REACHED', `${peer.org} opens too many streams`, {
          retryAfterMs: wait,
          metadata: { limit: 'opens' },
        });
      const key = Buffer.from(open.key).toString('hex');
      if (open.resume) {
        entry.relay = host.streams.resumeFrom(peer.org, key, port);
        if (entry.relay) accepted(entry.relay.acceptor);
        else port.close(undefined);
      } else entry.relay = host.streams.openFrom(peer.org, instance, { ...open, key }, port, accepted);
    } catch (thrown) {
      const error = asError(thrown);
      if (!open.resume) host.onRefused(error, { org: peer.org, node: open.senderNode, channel: open.channel });
      if (this.#entries.delete(id)) this.#reset(id, error);
    }
  }

  #guard(take: () => void): void {
    try {
      take();
    } catch (thrown) {
      const error = asError(thrown);
      const { host, peer } = this.#parts;
      if (isAlarming(error)) host.onAlarm(error, { org: peer.org, gateway: peer.name });
      throw error;
    }
  }

  #end(reason: FedgateError): void {
    if (this.#over) return;
    this.#over = true;
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    const { org } = this.#parts.peer;
    for (const { relay, side, port, waiting } of entries) {
      if (waiting) waiting.failed(new FedgateError('PEER_UNREACHABLE', `the link to ${org} ended`, { cause: reason }));
      else relay?.detach(side, port, `the link to ${org} ended`);
    }
  }
}

/** One of the two lanes, as the link sees it. Streams go on over another link: nothing is waited for. */
export const streamsLaneWork = (lane: Lane): LaneWork => ({
  lane,
  drain: () => undefined,
  idle: async () => undefined,
});

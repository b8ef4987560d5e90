import { FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import { sha256 } from '../sha256.js';
import { FORGERY_SCORE, MAX_CERTIFICATES } from '../topics/limits.js';
import type { Neighbour } from '../topics/neighbour.js';
import { readPost } from '../topics/post.js';
import type { Topics } from '../topics/topics.js';
import type { NeighbourOut, Post, TopicsFrame } from '../topics/types.js';
import { encodeTopicPost, type SealedPost } from '../wire/topic-frames.js';
import type { LaneDoor, LaneWork } from './extra-lanes.js';
import { LANE, TOPICS } from './hello.js';
import type { IncomingFrame, Lane } from './lane.js';
import { fromFrame, toFrame } from './topics-frames.js';

export interface TopicsLaneHost {
  readonly federation: string;
  readonly topics: Topics;
  /** Hears what a peer did that an honest one never does. */
  readonly onAlarm: (error: FedgateError, peer: Identity) => void;
}

/** The topics lane of every link. */
export function topicsDoor(host: TopicsLaneHost): LaneDoor {
  const offer: LaneDoor['offer'] = async peer => ({
    hello: {},
    start: (_link, { lane }) => new TopicsSession(lane, peer, host),
  });
  return { kind: LANE.topics, capabilities: [TOPICS], offer };
}

/** One topics lane: puts what the domain says into frames, and tells it what comes. */
class TopicsSession implements LaneWork, NeighbourOut {
  readonly lane: Lane;
  readonly #peer: Identity;
  readonly #host: TopicsLaneHost;
  readonly #neighbour: Neighbour;
  /** Certificates that came on this lane, and those that went, by digest. */
  readonly #known = new Map<string, Buffer>();
  readonly #told = new Set<string>();

  constructor(lane: Lane, peer: Identity, host: TopicsLaneHost) {
    this.lane = lane;
    this.#peer = peer;
    this.#host = host;
    this.#neighbour = host.topics.join(peer.org, this);
    lane.out.onDrain(() => this.#neighbour.pump());
    lane.closed.addEventListener('abort', () => host.topics.leave(this.#neighbour), { once: true });
    if (lane.closed.aborted) host.topics.leave(this.#neighbour);
    else lane.listen(frame => this.#take(frame));
  }

  get writable(): boolean {
    return this.lane.out.writable;
  }

  put(frame: TopicsFrame): void {
    this.lane.put(toFrame(frame));
  }

  post(post: Post): void {
    const name = post.certificateSha256.toString('latin1');
    if (this.#told.has(name)) return this.lane.out.put(post.frame);
    // The other side remembers twice as many.
    if (this.#told.size >= MAX_CERTIFICATES / 2) this.#told.clear();
    this.#told.add(name);
    this.lane.out.put(encodeTopicPost(post));
  }

  /** What is published is on stable storage, and asked for again. */
  drain(): void {
    this.#neighbour.pump();
  }

  idle(): Promise<void> {
    return Promise.resolve();
  }

  /** What is wrong with what a frame says counts against who sent it, and does not end the link. */
  #take(frame: IncomingFrame): void {
    try {
      if (frame.$case === 'post') return this.#takePost(frame.value);
      const said = fromFrame(frame);
      if (!said) throw new FedgateError('FRAME_UNEXPECTED', `a ${frame.$case} on a topics lane`);
      this.#host.topics.take(this.#neighbour, said);
    } catch (error) {
      if (!(error instanceof FedgateError) || error.reason === 'FRAME_UNEXPECTED') throw error;
      this.#host.onAlarm(error, this.#peer);
      this.#neighbour.fault(FORGERY_SCORE, error);
    }
  }

  #takePost(sealed: SealedPost): void {
    // Each is told once: also by who is not heard at the moment.
    if (sealed.certificate) this.#learn(Buffer.from(sealed.certificate));
    if (this.#neighbour.cut) return;
    const post = readPost(sealed, this.#host.federation, digest => this.#known.get(digest.toString('latin1')));
    this.#host.topics.takePost(this.#neighbour, post);
  }

  #learn(certificate: Buffer): void {
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_CERTIFICATES && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(sha256(certificate).toString('latin1'), certificate);
  }
}

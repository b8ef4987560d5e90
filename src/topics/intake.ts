import { FedgateError } from '../errors.js';
import { formatTopic } from './address.js';
import { equivocated, evidenceOf } from './evidence.js';
import type { Holdings } from './holdings.js';
import { FLOOD_MUTE_MS, MAX_AHEAD_MS } from './limits.js';
import type { Muted } from './muted.js';
import type { Neighbour } from './neighbour.js';
import type { Stream } from './stream.js';
import type { TopicsOptions } from './topics.js';
import type { Evidence, Post, StreamId } from './types.js';

/** What becomes of a post. */
export type Verdict =
  | { readonly kind: 'taken'; readonly stream: Stream }
  /** It is here already: its way ends here. */
  | { readonly kind: 'duplicate' }
  /** What comes before it is not here. */
  | { readonly kind: 'hole' }
  /** Whoever sent it lies. */
  | { readonly kind: 'forged'; readonly error: FedgateError }
  /** Its author signed two things that cannot both be. */
  | { readonly kind: 'convicted'; readonly error: FedgateError; readonly evidence: Evidence | undefined }
  /** Its author publishes more than anybody may. */
  | { readonly kind: 'flood'; readonly error: FedgateError; readonly untilMs: number }
  /** It is not taken. `passing`: what follows may be, in a while. */
  | { readonly kind: 'refused'; readonly error: FedgateError; readonly passing: boolean; readonly alarm: boolean };

export interface IntakeOptions extends Pick<TopicsOptions, 'grants' | 'host'> {
  readonly holdings: Holdings;
  readonly muted: Muted;
  /** Whether a post is taken although it leaves a hole. */
  readonly mayJump: (post: Post, from: Neighbour) => boolean;
  /** Whether a stream is the one in which the own gateway writes. */
  readonly isOwnNow: (id: StreamId) => boolean;
}

/** Judges posts that come from neighbours, what costs least first. */
export class Intake {
  readonly #options: IntakeOptions;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  judge(post: Post, from: Neighbour): Verdict {
    const { grants, muted, host, holdings } = this.#options;
    const { stream: id } = post;
    if (!grants.takes(from.org, id.org, id.topic)) return refused(notTaken(post), { passing: false });
    const mute = muted.get(id.topic, id, host.now());
    if (mute) return refused(mute.error, { passing: mute.untilMs > 0 });
    const stream = holdings.stream(post.key);
    const last = stream?.last ?? 0;
    if (post.first <= last) return this.#seen(stream as Stream, post);
    if (this.#options.isOwnNow(id)) return this.#impersonated(post);
    if (post.first > last + 1 && !this.#options.mayJump(post, from)) return { kind: 'hole' };
    return this.#verified(post) ?? this.#following(stream, post);
  }

  /** The number was used before: by the same post, or by another one, which one of the two signed wrongly. */
  #seen(stream: Stream, post: Post): Verdict {
    const known = stream.after(post.first - 1);
    // What is held no longer cannot be compared. A post that goes beyond what was there continues another history.
    if (!known || known.first > post.last) return { kind: 'duplicate' };
    if (known.headerSha256.equals(post.headerSha256)) return { kind: 'duplicate' };
    return this.#verified(post) ?? convict(known, post);
  }

  #following(known: Stream | undefined, post: Post): Verdict {
    const { holdings, host } = this.#options;
    if (known && post.first === known.last + 1) {
      const before = known.lastSha256;
      const held = known.after(known.last - 1);
      if (before && !before.equals(post.previousSha256))
        return held ? convict(held, post) : refused(equivocated(post.stream), { passing: false, alarm: true });
    }
    if (post.timeMs > host.now() + MAX_AHEAD_MS) return refused(ahead(post), { passing: true, alarm: true });
    try {
      const stream = holdings.open(post.stream);
      if (holdings.topic(post.stream.topic).admits(post)) return { kind: 'taken', stream };
      return { kind: 'flood', error: flooded(post), untilMs: host.now() + FLOOD_MUTE_MS };
    } catch (error) {
      if (!(error instanceof FedgateError)) throw error;
      return refused(error, { passing: error.retryable, alarm: true });
    }
  }

  /** Undefined: its author signed it, and may speak. */
  #verified(post: Post): Verdict | undefined {
    const { header, signature } = post;
    const objection = this.#options.host.verify({ header, signature }, post.stream, post.certificate);
    if (!objection) return undefined;
    const { error, forged } = objection;
    return forged ? { kind: 'forged', error } : refused(error, { passing: true, alarm: true });
  }

  /** A number that the own gateway never gave, in the epoch in which it writes. */
  #impersonated(post: Post): Verdict {
    return (
      this.#verified(post) ??
      refused(
        new FedgateError('IDENTITY_MISMATCH', `somebody signs as this gateway on ${formatTopic(post.stream.topic)}`),
        { passing: false, alarm: true },
      )
    );
  }
}

const convict = (first: Post, second: Post): Verdict => ({
  kind: 'convicted',
  error: equivocated(second.stream),
  evidence: evidenceOf(first, second),
});

const refused = (
  error: FedgateError,
  { passing, alarm = false }: { readonly passing: boolean; readonly alarm?: boolean },
): Verdict => ({ kind: 'refused', error, passing, alarm });

const notTaken = ({ stream: { topic, org } }: Post): FedgateError =>
  new FedgateError('NOT_GRANTED', `records of ${org} on ${formatTopic(topic)} are not taken here`);

const ahead = ({ stream: { org, gateway }, timeMs }: Post): FedgateError =>
  new FedgateError(
    'FIELD_INVALID',
    `the clock of ${org}/${gateway} is ahead: it signs for ${new Date(timeMs).toISOString()}`,
  );

const flooded = ({ stream: { org, gateway, topic } }: Post): FedgateError =>
  new FedgateError('LIMIT_REACHED', `${org}/${gateway} publishes on ${formatTopic(topic)} faster than anybody may`, {
    metadata: { org, limit: 'rate of an author' },
  });

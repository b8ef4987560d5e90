import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import { type Pattern, parsePattern } from '../messaging/address.js';
import { matches } from '../messaging/pattern.js';
import { formatTopic } from './address.js';

/** What is allowed on some topics. Rules add up; what none grants is refused. */
export interface TopicRule {
  /** A pattern of topics, as of channels. */
  readonly topic: string;
  /** Nodes of the own organisation that may publish; `*` is every one. */
  readonly publish: readonly string[];
  /** Nodes of the own organisation that may read; `*` is every one. */
  readonly subscribe: readonly string[];
  /** Organisations whose records are taken; `*` is every member. */
  readonly authors: readonly string[];
  /** Organisations with whose gateways the topic is shared, both ways; `*` is every member. */
  readonly peers: readonly string[];
  /** Whether records of other organisations are passed on to these, with or without a reader here. */
  readonly relay: boolean;
}

interface Rule extends Omit<TopicRule, 'topic'> {
  readonly pattern: Pattern;
}

const has = (names: readonly string[], name: string): boolean => names.includes(name) || names.includes('*');

/** Who may do what with a topic. */
export class TopicGrants {
  readonly #own: OrgName;
  readonly #rules: readonly Rule[];

  constructor(own: OrgName, rules: readonly TopicRule[]) {
    this.#own = own;
    this.#rules = rules.map(({ topic, ...rest }) => ({ ...rest, pattern: parsePattern(topic, 'topic') }));
  }

  /** Whether any topic is granted to anybody. */
  get any(): boolean {
    return this.#rules.length > 0;
  }

  mayPublish(node: string, topic: string): boolean {
    return this.#rules.some(rule => has(rule.publish, node) && matches(rule.pattern, topic));
  }

  maySubscribe(node: string, topic: string): boolean {
    return this.#rules.some(rule => has(rule.subscribe, node) && matches(rule.pattern, topic));
  }

  /** Throws NOT_GRANTED. */
  checkPublish(node: string, topic: string): void {
    if (!this.mayPublish(node, topic)) throw notGranted(`node ${node} may not publish to`, topic, 'publish');
  }

  /** Throws NOT_GRANTED. */
  checkSubscribe(node: string, topic: string): void {
    if (!this.maySubscribe(node, topic)) throw notGranted(`node ${node} may not read`, topic, 'subscribe');
  }

  /** Whether a topic is shared with the gateway of an organisation. */
  shares(peer: string, topic: string): boolean {
    return this.#rules.some(rule => has(rule.peers, peer) && matches(rule.pattern, topic));
  }

  /** Whether records of an author are taken when that neighbour hands them on. Own ones are not: they are here. */
  takes(peer: string, author: string, topic: string): boolean {
    return this.#rules.some(
      rule =>
        has(rule.peers, peer) && (author === this.#own || has(rule.authors, author)) && matches(rule.pattern, topic),
    );
  }

  /** Whether records of an author are given to a neighbour. */
  gives(peer: string, author: string, topic: string): boolean {
    return this.#rules.some(
      rule =>
        has(rule.peers, peer) &&
        (author === this.#own || (rule.relay && has(rule.authors, author))) &&
        matches(rule.pattern, topic),
    );
  }

  /** Patterns of what is shared with a neighbour. */
  patternsFor(peer: string): string[] {
    return [...new Set(this.#rules.filter(({ peers }) => has(peers, peer)).map(({ pattern }) => pattern.text))];
  }
}

const notGranted = (who: string, topic: string, right: string): FedgateError => {
  const grant = `access.topics[].${right}`;
  return new FedgateError(
    'NOT_GRANTED',
    `${who} ${formatTopic(topic)}; ${grant} in the gateway's configuration grants it`,
    {
      metadata: { grant },
    },
  );
};

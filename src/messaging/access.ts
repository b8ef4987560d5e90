import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import { type Address, formatAddress, nodeOfInbox, type Pattern, parsePattern } from './address.js';
import { covers, matches } from './pattern.js';

/** What a node may do about proposals: see them, make and withdraw them, vote. Who may do any of that may see them. */
export const APPROVAL_RIGHTS = ['view', 'propose', 'vote'] as const;
export type ApprovalRight = (typeof APPROVAL_RIGHTS)[number];

/** Grants to nodes of the own organisation. */
export interface NodeRule {
  /** A node's name, or `*` for every node of the own organisation. */
  readonly node: string;
  /**
   * Addresses with patterns: `channel/**` in the own organisation, `pubsub://ORG/channel/**` in another (`pubsub://*\/…` in any). Inboxes are
   * granted by name or as `@*` only.
   */
  readonly publish: readonly string[];
  /** Channel patterns of the own organisation. */
  readonly subscribe: readonly string[];
  /** Addresses with patterns, as in `publish`, that it may ask. */
  readonly request?: readonly string[] | undefined;
  /** Channel patterns of the own organisation on which it may answer. */
  readonly respond?: readonly string[] | undefined;
  /** Addresses with patterns, as in `publish`, to which it may open byte streams. */
  readonly openStreams?: readonly string[] | undefined;
  /** Channel patterns of the own organisation on which it may accept byte streams. */
  readonly acceptStreams?: readonly string[] | undefined;
  /** Organisations it may share files with; `*` is every one. */
  readonly share: readonly string[];
  /** Organisations whose shares it may fetch; `*` is every one. */
  readonly fetch: readonly string[];
  readonly approvals: readonly ApprovalRight[];
  /** Organisations of whose nodes it may know, as far as they show them; `*` is every one, the own one included. */
  readonly nodes: readonly string[];
  /** Whether it may ask how the gateway is. */
  readonly status: boolean;
  /** Whether it may see and change what the gateway has stored: outboxes, dead letters, evidence. */
  readonly admin: boolean;
}

/** Grants to other organisations: what they may publish and ask here, and whether they may ask for approval. They can never subscribe, nor answer. */
export interface PeerRule {
  /** An organisation, or `*` for every member. */
  readonly org: string;
  /** A node of that organisation, or `*`. */
  readonly node: string;
  readonly publish: readonly string[];
  /** Whether that organisation may send proposals. A rule of some of its nodes grants it as well: it is the organisation that proposes. */
  readonly propose: boolean;
  /** Nodes of the own organisation that it may know of: by name, or `*`. */
  readonly nodes: readonly string[];
  /** Channel patterns of the own organisation that its nodes may ask. */
  readonly request?: readonly string[] | undefined;
  /** Channel patterns of the own organisation to which its nodes may open byte streams. */
  readonly streams?: readonly string[] | undefined;
}

export interface AccessRules {
  readonly nodes: readonly NodeRule[];
  readonly peers: readonly PeerRule[];
  /** Organisations with which topics are shared, by name or `*`. */
  readonly topics?: readonly { readonly peers: readonly string[] }[] | undefined;
}

interface PublishGrant {
  readonly node: string;
  /** `*`: any other organisation. */
  readonly org: string;
  readonly pattern: Pattern;
}

/** The organisation and pattern of a publish grant. Throws FIELD_INVALID naming `field`. */
export function parsePublishGrant(text: string, ownOrg: OrgName, field: string): { org: string; pattern: Pattern } {
  const match = /^pubsub:\/\/([^/]*)\/(.*)$/.exec(text);
  if (!match) return { org: ownOrg, pattern: parsePattern(text, field, { inboxes: true }) };
  return { org: match[1] ?? '', pattern: parsePattern(match[2] ?? '', field, { inboxes: true }) };
}

const REMEMBERED = 10_000;

/** Decides who may publish and subscribe where. What no rule grants is refused. */
export class Access {
  readonly #ownOrg: OrgName;
  #rules!: AccessRules;
  #publish!: readonly PublishGrant[];
  #receive!: readonly PublishGrant[];
  #request!: readonly PublishGrant[];
  #asked!: readonly PublishGrant[];
  #openStreams!: readonly PublishGrant[];
  #streams!: readonly PublishGrant[];
  readonly #decisions = new Map<string, boolean>();
  readonly #watched = new Set<{ readonly check: () => void; readonly end: (error: FedgateError) => void }>();

  constructor(ownOrg: OrgName, rules: AccessRules) {
    this.#ownOrg = ownOrg;
    this.#take(rules);
  }

  /** Grants by other rules from now on; what was opened by a right that is gone ends. */
  replace(rules: AccessRules): void {
    this.#take(rules);
    this.#decisions.clear();
    for (const { check, end } of [...this.#watched]) {
      try {
        check();
      } catch (error) {
        end(error as FedgateError);
      }
    }
  }

  /** Calls `check` after each change of the rules, and `end` with what it throws. Returns what stops that. */
  watch(check: () => void, end: (error: FedgateError) => void): () => void {
    const watched = { check, end };
    this.#watched.add(watched);
    return () => this.#watched.delete(watched);
  }

  #take(rules: AccessRules): void {
    const ownOrg = this.#ownOrg;
    this.#rules = rules;
    this.#publish = rules.nodes.flatMap(({ node, publish }) =>
      publish.map(text => ({ node, ...parsePublishGrant(text, ownOrg, 'publish') })),
    );
    this.#receive = rules.peers.flatMap(({ org, node, publish }) =>
      publish.map(text => ({ node, org, pattern: parsePattern(text, 'publish', { inboxes: true }) })),
    );
    this.#request = rules.nodes.flatMap(({ node, request = [] }) =>
      request.map(text => ({ node, ...parsePublishGrant(text, ownOrg, 'request') })),
    );
    this.#asked = rules.peers.flatMap(({ org, node, request = [] }) =>
      request.map(text => ({ node, org, pattern: parsePattern(text, 'request') })),
    );
    this.#openStreams = rules.nodes.flatMap(({ node, openStreams = [] }) =>
      openStreams.map(text => ({ node, ...parsePublishGrant(text, ownOrg, 'openStreams') })),
    );
    this.#streams = rules.peers.flatMap(({ org, node, streams = [] }) =>
      streams.map(text => ({ node, org, pattern: parsePattern(text, 'streams') })),
    );
  }

  /** Throws NOT_GRANTED. */
  checkPublish(node: string, address: Address): void {
    const granted = this.#remembered(`p ${node} ${address.org} ${address.channel}`, () =>
      this.#publish.some(grant => this.#opens(grant, node, address)),
    );
    if (!granted)
      throw notGranted(`node ${node} may not publish to ${formatAddress(address)}`, 'access.nodes[].publish');
  }

  /** Whether a node may ask an address. Throws NOT_GRANTED. */
  checkRequest(node: string, address: Address): void {
    const granted = this.#remembered(`q ${node} ${address.org} ${address.channel}`, () =>
      this.#request.some(grant => this.#opens(grant, node, address)),
    );
    if (!granted) throw notGranted(`node ${node} may not ask ${formatAddress(address)}`, 'access.nodes[].request');
  }

  /** Where a node may ask in an organisation. */
  requestable(node: string, org: string): readonly Pattern[] {
    return this.#request
      .filter(
        grant =>
          (grant.node === '*' || grant.node === node) &&
          (grant.org === org || (grant.org === '*' && org !== this.#ownOrg)),
      )
      .map(({ pattern }) => pattern);
  }

  /** Where a node of another organisation may ask in the own one. */
  askable(org: string, node: string): readonly Pattern[] {
    return this.#asked
      .filter(grant => (grant.org === '*' || grant.org === org) && (grant.node === '*' || grant.node === node))
      .map(({ pattern }) => pattern);
  }

  /** Whether a node may answer on a pattern. Throws NOT_GRANTED. */
  checkRespond(node: string, pattern: Pattern): void {
    const granted = this.#rules.nodes.some(
      rule =>
        (rule.node === '*' || rule.node === node) &&
        (rule.respond ?? []).some(text => covers(parsePattern(text, 'respond'), pattern)),
    );
    if (!granted) throw notGranted(`node ${node} may not answer on ${pattern.text}`, 'access.nodes[].respond');
  }

  /** Whether a node may open a byte stream to an address. Throws NOT_GRANTED. */
  checkOpenStream(node: string, address: Address): void {
    const granted = this.#remembered(`s ${node} ${address.org} ${address.channel}`, () =>
      this.#openStreams.some(grant => this.#opens(grant, node, address)),
    );
    if (!granted)
      throw notGranted(
        `node ${node} may not open byte streams to ${formatAddress(address)}`,
        'access.nodes[].openStreams',
      );
  }

  /** Whether a node may accept byte streams on a pattern. Throws NOT_GRANTED. */
  checkAcceptStreams(node: string, pattern: Pattern): void {
    const granted = this.#rules.nodes.some(
      rule =>
        (rule.node === '*' || rule.node === node) &&
        (rule.acceptStreams ?? []).some(text => covers(parsePattern(text, 'acceptStreams'), pattern)),
    );
    if (!granted)
      throw notGranted(`node ${node} may not accept byte streams on ${pattern.text}`, 'access.nodes[].acceptStreams');
  }

  /** Whether a node of another organisation may open a byte stream to a channel here. Throws NOT_GRANTED, the same for any channel. */
  checkStreamFrom(org: string, node: string, channel: string): void {
    const granted = this.#remembered(`t ${org} ${node} ${channel}`, () =>
      this.#streams.some(grant => lets(grant, org, node, channel)),
    );
    if (!granted)
      throw new FedgateError('NOT_GRANTED', `${this.#ownOrg} does not let ${org} open byte streams to ${channel}`, {
        metadata: { org: this.#ownOrg },
      });
  }

  /** The own inbox is every node's own, and nobody else's. Throws NOT_GRANTED. */
  checkSubscribe(node: string, pattern: Pattern): void {
    const owner = nodeOfInbox(pattern.text);
    if (owner === node) return;
    if (owner !== undefined)
      throw new FedgateError(
        'NOT_GRANTED',
        `node ${node} may not subscribe to ${pattern.text}: that is ${owner}'s alone`,
      );
    const granted = this.#rules.nodes.some(
      rule =>
        (rule.node === '*' || rule.node === node) &&
        rule.subscribe.some(text => covers(parsePattern(text, 'subscribe'), pattern)),
    );
    if (!granted) throw notGranted(`node ${node} may not subscribe to ${pattern.text}`, 'access.nodes[].subscribe');
  }

  /** Whether a node may share with every node of an organisation; `*`: with whoever has the id. Throws NOT_GRANTED. */
  checkShare(node: string, org: string): void {
    if (this.#grants(node, org, rule => rule.share)) return;
    const whom = org === '*' ? 'any organisation' : org;
    throw notGranted(`node ${node} may not share files with ${whom}`, 'access.nodes[].share');
  }

  /** Whether a node may share anything with anybody. Throws NOT_GRANTED. */
  checkSharing(node: string): void {
    const granted = this.#rules.nodes.some(rule => (rule.node === '*' || rule.node === node) && rule.share.length > 0);
    if (!granted) throw notGranted(`node ${node} may not share files`, 'access.nodes[].share');
  }

  /** Throws NOT_GRANTED. */
  checkFetch(node: string, org: string): void {
    if (this.#grants(node, org, rule => rule.fetch)) return;
    throw notGranted(`node ${node} may not fetch files of ${org}`, 'access.nodes[].fetch');
  }

  /** Whether a node may ask which nodes of an organisation are there. */
  maySeeNodes(node: string, org: string): boolean {
    return this.#grants(node, org, rule => rule.nodes);
  }

  /** Throws NOT_GRANTED. */
  checkNodes(node: string, org: string): void {
    if (this.maySeeNodes(node, org)) return;
    throw notGranted(`node ${node} may not ask for nodes of ${org}`, 'access.nodes[].nodes');
  }

  /** Throws NOT_GRANTED. */
  checkApprovals(node: string, right: ApprovalRight): void {
    const granted = this.#rules.nodes.some(
      ({ node: named, approvals }) =>
        (named === '*' || named === node) && (right === 'view' ? approvals.length > 0 : approvals.includes(right)),
    );
    if (!granted) throw notGranted(`node ${node} may not ${right} proposals`, 'access.nodes[].approvals');
  }

  /** Whether another organisation may ask nodes of this one for approval. */
  mayPropose(org: string): boolean {
    return this.#rules.peers.some(rule => rule.propose && (rule.org === '*' || rule.org === org));
  }

  /** Throws NOT_GRANTED. */
  checkStatus(node: string): void {
    const granted = this.#rules.nodes.some(rule => rule.status && (rule.node === '*' || rule.node === node));
    if (!granted) throw notGranted(`node ${node} may not ask for the status`, 'access.nodes[].status');
  }

  /** Throws NOT_GRANTED. */
  checkAdmin(node: string): void {
    const granted = this.#rules.nodes.some(rule => rule.admin && (rule.node === '*' || rule.node === node));
    if (!granted) throw notGranted(`node ${node} may not administer what is stored`, 'access.nodes[].admin');
  }

  /** Whether a node of another organisation may publish to a channel here. Throws NOT_GRANTED, the same for any channel. */
  checkReceive(org: string, node: string, channel: string): void {
    const granted = this.#remembered(`r ${org} ${node} ${channel}`, () =>
      this.#receive.some(grant => lets(grant, org, node, channel)),
    );
    if (!granted)
      throw new FedgateError('NOT_GRANTED', `${this.#ownOrg} does not let ${org} publish to ${channel}`, {
        metadata: { org: this.#ownOrg },
      });
  }

  /** Whether a node of another organisation may know of a node of the own one: that there is one, and whether it is there. */
  exposes(org: string, asker: string, node: string): boolean {
    return this.#rules.peers.some(
      rule =>
        (rule.org === '*' || rule.org === org) &&
        (rule.node === '*' || rule.node === asker) &&
        (rule.nodes.includes('*') || rule.nodes.includes(node)),
    );
  }

  /** Whether a node of another organisation may ask on a channel here. Throws NOT_GRANTED, the same for any channel. */
  checkAsked(org: string, node: string, channel: string): void {
    const granted = this.#remembered(`a ${org} ${node} ${channel}`, () =>
      this.#asked.some(grant => lets(grant, org, node, channel)),
    );
    if (!granted)
      throw new FedgateError('NOT_GRANTED', `${this.#ownOrg} does not let ${org} ask on ${channel}`, {
        metadata: { org: this.#ownOrg },
      });
  }

  /** The organisations that are granted something by name, or with which a topic is shared, and whether all are. */
  get grantedPeers(): { readonly orgs: ReadonlySet<string>; readonly everyone: boolean } {
    const shared = (this.#rules.topics ?? []).flatMap(({ peers }) => peers);
    const orgs = new Set([...this.#rules.peers.map(rule => rule.org), ...shared]);
    const everyone = orgs.delete('*');
    return { orgs, everyone };
  }

  #opens(grant: PublishGrant, node: string, { org, channel }: Address): boolean {
    return (
      (grant.node === '*' || grant.node === node) &&
      (grant.org === org || (grant.org === '*' && org !== this.#ownOrg)) &&
      matches(grant.pattern, channel)
    );
  }

  #grants(node: string, org: string, orgsOf: (rule: NodeRule) => readonly string[]): boolean {
    return this.#rules.nodes.some(
      rule =>
        (rule.node === '*' || rule.node === node) && orgsOf(rule).some(granted => granted === '*' || granted === org),
    );
  }

  #remembered(key: string, decide: () => boolean): boolean {
    const known = this.#decisions.get(key);
    if (known !== undefined) return known;
    const decision = decide();
    if (this.#decisions.size >= REMEMBERED) this.#decisions.clear();
    this.#decisions.set(key, decision);
    return decision;
  }
}

const lets = (grant: PublishGrant, org: string, node: string, channel: string): boolean =>
  (grant.org === '*' || grant.org === org) &&
  (grant.node === '*' || grant.node === node) &&
  matches(grant.pattern, channel);

const notGranted = (what: string, key: string): FedgateError =>
  new FedgateError('NOT_GRANTED', `${what}; ${key} in the gateway's configuration grants it`, {
    metadata: { grant: key },
  });

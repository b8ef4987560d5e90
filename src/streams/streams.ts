import { randomBytes } from 'node:crypto';
import { FedgateError, fieldError } from '../errors.js';
import { type OrgName, parseNodeName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import { type Address, parseAddress, parseChannel, parsePattern } from '../messaging/address.js';
import type { Policy } from '../policy/types.js';
import { Acceptors } from './acceptors.js';
import { type EndCall, NodeEnd } from './node-end.js';
import { Offer } from './offer.js';
import { Outgoing, restarted, type StreamLink } from './outgoing.js';
import { ACCEPTOR, OPENER, type Party, Relay, type Side } from './relay.js';
import { Remembered } from './remembered.js';
import { Shares } from './shares.js';
import {
  DEFAULT_OPEN_MS,
  DEFAULT_RESUME_MS,
  full,
  MAX_OPEN_MS,
  MAX_RESUME_MS,
  MAX_STREAMS,
  MAX_STREAMS_PER_NODE,
  MAX_STREAMS_PER_PEER,
} from './terms.js';
import type { Port } from './track.js';

/** A node of the own organisation that calls. */
export interface CallingNode {
  readonly name: string;
  /** Why its certificate counts no longer; undefined: it does. */
  readonly complaint: () => FedgateError | undefined;
}

/** Hears which end a call is of, before anything else happens to it. */
export type UseEnd = (end: NodeEnd) => void;

export interface OpenTerms {
  readonly address: string;
  /** 0: the default. */
  readonly resumeMs: number;
  readonly timeoutMs: number;
}

/** What another organisation opens here. */
export interface IncomingOpen {
  readonly key: string;
  readonly channel: string;
  readonly senderNode: string;
  readonly resumeMs: number;
  readonly timeoutMs: number;
}

export interface StreamsOptions {
  readonly org: OrgName;
  readonly access: Access;
  /** Asked as for a request, by both gateways, before a stream is offered to anybody. */
  readonly policy: Policy;
  /** The way to another organisation; a link is made when there is none. Throws ORG_UNKNOWN, ORG_INACTIVE, PEER_UNREACHABLE, FEATURE_UNSUPPORTED. */
  readonly link: (org: OrgName, signal: AbortSignal) => Promise<StreamLink>;
  /** Says more about why a peer is away. */
  readonly explain: (error: FedgateError) => FedgateError;
  /** Why an organisation may take no part any more; undefined: it may. */
  readonly inactive: (org: string) => FedgateError | undefined;
  /** How long one node has to take an offer. @default 10 s */
  readonly offerMs?: number | undefined;
}

/** What belongs to a relay beside its legs. */
interface Entry {
  readonly relay: Relay;
  /** By the side that they are of. */
  readonly ends: (NodeEnd | undefined)[];
  offer?: Offer;
  outgoing?: Outgoing;
  /** Of a stream that came over a link. */
  readonly key?: string;
  instance?: string;
  /** Fires when nobody waits for a link any more. */
  readonly waiting: AbortController;
  /** Hears who accepts. */
  accepted?: (node: string) => void;
  timer?: NodeJS.Timeout;
  isOpen: boolean;
}

/** All byte streams of a gateway: those that its nodes opened, and those that they are offered. */
export class Streams {
  readonly acceptors: Acceptors;
  readonly #options: StreamsOptions;
  readonly #entries = new Map<Relay, Entry>();
  readonly #tokens = new Map<string, NodeEnd>();
  readonly #offers = new Map<string, Entry>();
  readonly #keys = new Map<string, Entry>();
  readonly #nodes = new Shares('node');
  readonly #peers = new Shares('lane');
  /** Tokens and keys of streams that ended as they should: whoever did not hear so, as a connection broke, asks. */
  readonly #endedWell = new Remembered();
  /** Streams whose other gateway may not have heard that. */
  readonly #closing = new Remembered<Outgoing>();
  /** Streams that nodes of each other organisation have open here. */
  readonly #incoming = new Shares('lane');
  #nextId = 1;

  constructor(options: StreamsOptions) {
    this.#options = options;
    this.acceptors = new Acceptors(options.org);
  }

  get relays(): IterableIterator<Relay> {
    return this.#entries.keys();
  }

  isOpen(relay: Relay): boolean {
    return this.#entries.get(relay)?.isOpen ?? false;
  }

  /** Whether a stream waits for a link to the organisation. */
  isAwaited(org: string): boolean {
    for (const { outgoing, relay } of this.#entries.values())
      if (outgoing?.org === org && !relay.isAttached(ACCEPTOR)) return true;
    return false;
  }

  /**
   * A node opens a stream. The call hears of it when somebody has accepted, or is ended with the reason. Throws FIELD_INVALID, CHANNEL_RESERVED,
   * NOT_GRANTED, LIMIT_REACHED, NO_ACCEPTORS.
   */
  open(node: CallingNode, terms: OpenTerms, call: EndCall, use: UseEnd): void {
    const { org, access } = this.#options;
    const address = parseAddress(terms.address, org);
    access.checkOpenStream(node.name, address);
    const resumeMs = within('resume_ms', terms.resumeMs, DEFAULT_RESUME_MS, MAX_RESUME_MS);
    const timeoutMs = within('timeout_ms', terms.timeoutMs, DEFAULT_OPEN_MS, MAX_OPEN_MS);
    const entry = this.#entry({ org, node: node.name }, address, resumeMs);
    const end = this.#end(entry, node, OPENER, newToken(), false);
    use(end);
    end.attach(call);
    this.#allowed(entry.relay, () => {
      if (address.org === org) this.#offer(entry, timeoutMs);
      else void this.#connect(entry, address.org, timeoutMs);
    });
  }

  /** A node takes a stream that it was offered. Throws STREAM_UNKNOWN, LIMIT_REACHED. */
  accept(node: CallingNode, token: string, call: EndCall, use: UseEnd): void {
    const entry = this.#offers.get(token);
    if (!entry?.offer) throw unknown();
    this.#checkNode(node.name);
    entry.offer.take(node.name);
    entry.relay.acceptor = node.name;
    const end = this.#end(entry, node, ACCEPTOR, token, true);
    use(end);
    this.#opened(entry);
    end.attach(call);
  }

  /** A node attaches again, or the other half. Throws STREAM_UNKNOWN. */
  resume(node: CallingNode, token: string, call: EndCall, use: UseEnd): void {
    const end = this.#tokens.get(token);
    if (!end && this.#endedWell.has(`${node.name} ${token}`)) return call.finish(undefined);
    if (!end || end.node !== node.name) throw unknown();
    use(end);
    end.attach(call);
  }

  /**
   * A node of another organisation opens a stream over a link. `accepted` hears who takes it; the port is attached by then. Throws what it is
   * refused with.
   */
  openFrom(org: string, instance: string, open: IncomingOpen, port: Port, accepted: (node: string) => void): Relay {
    const { senderNode, resumeMs, timeoutMs, key } = open;
    this.#options.access.checkStreamFrom(org, parseNodeName(senderNode, 'sender_node'), parseChannel(open.channel));
    within('resume_ms', resumeMs, 0, MAX_RESUME_MS);
    within('timeout_ms', timeoutMs, 0, MAX_OPEN_MS);
    if (this.#keys.has(`${org} ${key}`)) throw new FedgateError('REPLAYED', 'a stream of that key is open');
    if (this.#incoming.count(org) >= MAX_STREAMS_PER_PEER)
      throw full('streams per organisation', `${org} has ${MAX_STREAMS_PER_PEER} streams open`);
    const address = { org: this.#options.org, channel: open.channel };
    const entry = this.#entry({ org, node: senderNode }, address, resumeMs, { key: `${org} ${key}`, instance });
    // The other gateway asks nobody before it has heard that the stream is accepted.
    entry.relay.attach(OPENER, port, false);
    entry.accepted = accepted;
    this.#allowed(entry.relay, () => this.#offer(entry, timeoutMs));
    return entry.relay;
  }

  /** A link that was made again goes on with a stream. Undefined: all had arrived, and it is over. Throws STREAM_UNKNOWN. */
  resumeFrom(org: string, key: string, port: Port): Relay | undefined {
    const entry = this.#keys.get(`${org} ${key}`);
    if (!entry && this.#endedWell.has(`${org} ${key}`)) return undefined;
    if (!entry?.isOpen) throw unknown();
    // The other gateway asks.
    entry.relay.attach(OPENER, port, false);
    return entry.relay;
  }

  /** A link to another organisation can carry streams. Those that wait for it go on. */
  linked(org: string, link: StreamLink): void {
    for (const [key, outgoing] of this.#closing.all) {
      if (outgoing.org !== org) continue;
      this.#closing.forget(key);
      outgoing.go(link);
    }
    for (const entry of [...this.#entries.values()]) {
      const { outgoing, relay } = entry;
      if (outgoing?.org === org && entry.isOpen) outgoing.go(link);
      else if (relay.facts.opener.org === org && entry.instance !== link.instance) relay.end(restarted(org));
    }
  }

  /** Memberships, certificates or grants have changed: what is not right any more is cut. */
  recheck(): void {
    for (const { relay, ends } of [...this.#entries.values()]) {
      const { opener, acceptorOrg } = relay.facts;
      const peer = opener.org === this.#options.org ? acceptorOrg : opener.org;
      const inactive = peer === this.#options.org ? undefined : this.#options.inactive(peer);
      const why = inactive ?? this.#ungranted(relay);
      if (why) relay.end(why);
      for (const end of ends) {
        const complaint = end?.complaint();
        if (complaint) relay.end(complaint);
      }
    }
  }

  close(): void {
    const reason = new FedgateError('DRAINING', 'the gateway is about to stop', { retryAfterMs: 200 });
    for (const { relay } of [...this.#entries.values()]) relay.end(reason);
  }

  /** Why a stream would not be opened now; undefined: it would. */
  #ungranted({ facts: { opener, acceptorOrg, channel }, acceptor }: Relay): FedgateError | undefined {
    const { org, access } = this.#options;
    try {
      if (opener.org === org) access.checkOpenStream(opener.node, { org: acceptorOrg as OrgName, channel });
      else access.checkStreamFrom(opener.org, opener.node, channel);
      if (acceptorOrg === org && acceptor) access.checkAcceptStreams(acceptor, parsePattern(channel));
      return undefined;
    } catch (error) {
      return error as FedgateError;
    }
  }

  /** Goes on with a stream that the operator's policy allows; one that it does not ends with why. */
  #allowed(relay: Relay, then: () => void): void {
    const { policy } = this.#options;
    if (!policy.asks('request')) return then();
    const { opener: subject, acceptorOrg: targetOrg, channel: target } = relay.facts;
    const asked = async (): Promise<void> =>
      policy.check({ action: 'request', subject, targetOrg, target, records: 0, bytes: 0 });
    asked().then(
      () => {
        if (!relay.over) then();
      },
      error => relay.end(error as FedgateError),
    );
  }

  #checkNode(node: string): void {
    if (this.#nodes.count(node) >= MAX_STREAMS_PER_NODE)
      throw full('streams per node', `node ${node} has ${MAX_STREAMS_PER_NODE} streams`);
  }

  #entry(opener: Party, { org, channel }: Address, resumeMs: number, from?: { key: string; instance: string }): Entry {
    if (this.#entries.size >= MAX_STREAMS) throw full('streams', `${MAX_STREAMS} streams are open`);
    const own = this.#options.org;
    if (opener.org === own) this.#checkNode(opener.node);
    const facts = { id: this.#nextId++, channel, opener, acceptorOrg: org, resumeMs };
    const relay: Relay = new Relay(facts, {
      room: side => this.#room(relay, side),
      ended: (_, error) => this.#ended(relay, error),
    });
    const entry: Entry = {
      relay,
      ends: [undefined, undefined],
      waiting: new AbortController(),
      isOpen: false,
      ...from,
    };
    this.#entries.set(relay, entry);
    if (from) this.#keys.set(from.key, entry);
    if (opener.org === own) this.#nodes.add(opener.node);
    else this.#incoming.add(opener.org);
    const peer = opener.org === own ? org : opener.org;
    if (peer !== own) this.#peers.add(peer);
    return entry;
  }

  /** How much may wait for one side: its share of what may wait for that node or lane. */
  #room(relay: Relay, side: Side): number {
    const { opener, acceptorOrg } = relay.facts;
    const org = side === OPENER ? opener.org : acceptorOrg;
    if (org !== this.#options.org) return this.#peers.share(org);
    return this.#nodes.share(side === OPENER ? opener.node : relay.acceptor);
  }

  #end(entry: Entry, node: CallingNode, side: Side, token: string, accepted: boolean): NodeEnd {
    const end = new NodeEnd({ node: node.name, token, relay: entry.relay, side, complaint: node.complaint }, accepted);
    entry.ends[side] = end;
    this.#tokens.set(token, end);
    if (side === ACCEPTOR) this.#nodes.add(node.name);
    return end;
  }

  #offer(entry: Entry, timeoutMs: number): void {
    const { relay } = entry;
    const { channel, opener } = relay.facts;
    const token = newToken();
    const facts = { token, channel, senderOrg: opener.org, senderNode: opener.node, timeoutMs };
    const offer = new Offer(facts, this.acceptors, error => relay.end(error), this.#options.offerMs);
    entry.offer = offer;
    this.#offers.set(token, entry);
    try {
      offer.start();
    } catch (error) {
      relay.end(error as FedgateError);
    }
  }

  /** Somebody has accepted. */
  #opened(entry: Entry): void {
    if (entry.isOpen) return;
    entry.isOpen = true;
    clearTimeout(entry.timer);
    entry.accepted?.(entry.relay.acceptor);
    entry.ends[OPENER]?.accepted();
  }

  async #connect(entry: Entry, org: OrgName, timeoutMs: number): Promise<void> {
    const { relay } = entry;
    const dueMs = performance.now() + timeoutMs;
    entry.timer = setTimeout(() => relay.end(late(org, entry.outgoing !== undefined, timeoutMs)), timeoutMs);
    try {
      const link = await this.#options.link(org, entry.waiting.signal);
      if (relay.over) return;
      const left = Math.max(1, Math.floor(dueMs - performance.now()));
      entry.outgoing = new Outgoing(org, relay, left, node => {
        relay.acceptor ||= node;
        this.#opened(entry);
      });
      entry.outgoing.go(link);
    } catch (error) {
      relay.end(this.#options.explain(error as FedgateError));
    }
  }

  #ended(relay: Relay, error: Error | undefined): void {
    const entry = this.#entries.get(relay);
    if (!entry) return;
    const { opener, acceptorOrg } = relay.facts;
    const own = this.#options.org;
    this.#entries.delete(relay);
    clearTimeout(entry.timer);
    for (const end of entry.ends) {
      if (!end) continue;
      this.#tokens.delete(end.token);
      this.#nodes.remove(end.node);
      end.close(error);
    }
    if (entry.key) this.#keys.delete(entry.key);
    if (opener.org !== own) this.#incoming.remove(opener.org);
    const peer = opener.org === own ? acceptorOrg : opener.org;
    if (peer !== own) this.#peers.remove(peer);
    if (entry.offer) this.#offers.delete(entry.offer.facts.token);
    entry.offer?.close();
    entry.outgoing?.close(error);
    entry.waiting.abort(error);
    if (!error) this.#remember(entry);
  }

  #remember({ relay, ends, key, outgoing }: Entry): void {
    const { resumeMs } = relay.facts;
    for (const end of ends) if (end) this.#endedWell.add(`${end.node} ${end.token}`, undefined, resumeMs);
    if (key) this.#endedWell.add(key, undefined, resumeMs);
    if (outgoing) this.#closing.add(outgoing.key, outgoing, resumeMs);
  }
}

function late(org: string, linked: boolean, timeoutMs: number): FedgateError {
  const within = `within ${timeoutMs / 1000} s`;
  const metadata = { org };
  return linked
    ? new FedgateError('DEADLINE_EXCEEDED', `nobody at ${org} took the stream ${within}`, { metadata })
    : new FedgateError('PEER_UNREACHABLE', `${org} could not be reached ${within}`, { metadata });
}

const newToken = (): string => randomBytes(16).toString('hex');
const unknown = (): FedgateError => new FedgateError('STREAM_UNKNOWN', 'no stream has that token, or it is over');

function within(field: string, value: number, fallback: number, most: number): number {
  if (value > most) throw fieldError(field, `is over ${most}`);
  return value || fallback;
}

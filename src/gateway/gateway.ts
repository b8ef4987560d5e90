import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { GetStatusResponse } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import { LiveFeed } from '../durable/live-feed.js';
import { DurablePublisher } from '../durable/publisher.js';
import type { Outbox } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import { letHeapGrow } from '../heap-growth.js';
import { type OrgName, parseHostPort } from '../identity/names.js';
import { CertificateVerifier, type Identity } from '../identity/verify.js';
import { diagnose } from '../link/diagnose.js';
import type { Self } from '../link/hello.js';
import type { Peer } from '../link/peer.js';
import { Peers } from '../link/peers.js';
import type { Access, AccessRules } from '../messaging/access.js';
import { Inboxes } from '../messaging/inboxes.js';
import { MAX_PATIENCE_MS, Publisher } from '../messaging/publisher.js';
import { Router } from '../messaging/router.js';
import { RegistryClient } from '../registry/client.js';
import type { Directory } from '../registry/directory.js';
import { RegistryWatcher } from '../registry/watcher.js';
import { toLinkStatus, toSubscriptionStatus } from '../services/gateway-service.js';
import { HealthService } from '../services/health.js';
import { ProposedShares } from '../services/proposed-shares.js';
import type { Log } from '../telemetry/log.js';
import { RateCounter } from '../telemetry/rates.js';
import type { Listener } from '../transport/server.js';
import { SOFTWARE } from '../version.js';
import type { GatewayConfig } from './config.js';
import { Door } from './door.js';
import { durableAdmin } from './durable-admin.js';
import { acquaintanceHost, Finding } from './finding.js';
import type { Groups } from './groups.js';
import { logPeer } from './link-log.js';
import { makeNodeListener, makePeerListener, type NodeServices, ownAuthorities, ownTrust } from './listeners.js';
import { isMember, openParts, type Parts } from './parts.js';
import type { Refusals } from './refusals.js';
import type { Requests } from './requests.js';
import { GatewayStreams } from './streams.js';
import { wantedPeers } from './wanted-peers.js';

/** A running gateway. */
export interface Gateway {
  /** `host:port` of the node listener, with the port that was really taken. */
  readonly nodeAddress: string;
  readonly peerAddress: string;
  status(): GetStatusResponse;
  /** Grants by these rules from now on. What was opened by a right that is gone ends with NOT_GRANTED. */
  replaceAccess(rules: AccessRules): void;
  /** Finishes what is under way for at most `limits.drainMs`, tells nodes and peers, and stops. */
  stop(): Promise<void>;
}

/** How often a snapshot's end is looked at. */
const RECHECK_MS = 30_000;

/**
 * Builds a gateway from its configuration and starts it. Listeners open last, when everything behind them is there.
 *
 * Throws FILE_UNUSABLE, KEY_EXPOSED, ADDRESS_UNUSABLE, CONFIG_INVALID. A registry that does not answer is no reason not to start.
 */
export async function startGateway(config: GatewayConfig, log: Log): Promise<Gateway> {
  letHeapGrow('gateway');
  return new RunningGateway(await openParts(config, log)).start();
}

class RunningGateway implements Gateway {
  readonly #parts: Parts;
  readonly #self: Self;
  readonly #startMs = Date.now();
  readonly #draining = new AbortController();
  readonly #published = new RateCounter();
  readonly #delivered = new RateCounter();
  #dropped = 0;
  readonly #refusals: Refusals;
  readonly #router = new Router((handed, dropped) => {
    this.#delivered.add(handed);
    this.#dropped += dropped;
  });
  readonly #access: Access;
  readonly #door: Door;
  readonly #groups: Groups;
  readonly #inboxes: Inboxes;
  readonly #requests: Requests;
  readonly #streams: GatewayStreams;
  readonly #registry: RegistryClient;
  readonly #watcher: RegistryWatcher;
  readonly #verifier: CertificateVerifier;
  readonly #finding: Finding;
  readonly #peers: Peers;
  readonly #health = new HealthService();
  readonly #nodeListener: Listener;
  readonly #peerListener: Listener;
  readonly #recheck: NodeJS.Timeout;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { config, membership, directory, identity, log } = parts;
    this.#refusals = parts.refusals;
    const { federation, org } = membership;
    this.#self = {
      federation,
      org,
      gateway: config.gateway,
      software: SOFTWARE,
      instanceId: randomBytes(16),
      snapshotVersion: () => directory.version,
    };
    this.#access = parts.access;
    this.#door = new Door(org, parts.access, parts.policy, parts.refusals);
    this.#groups = parts.groups;
    this.#inboxes = new Inboxes(this.#router, this.#access, node => parts.nodes.inboxState(node));
    parts.nodes.follow(this.#router);
    this.#requests = parts.requests;
    this.#requests.onRole((node, pattern, step) => parts.nodes.presence.role(node, pattern, step));
    this.#verifier = new CertificateVerifier(federation, directory);
    this.#registry = new RegistryClient({ federation, ...membership.registry, identity });
    this.#watcher = new RegistryWatcher({
      client: this.#registry,
      directory,
      onSecurityEvent: error => this.#refusals.write(error, 'registry', { from: 'registry' }),
    });
    this.#finding = new Finding({
      ...{ config, federation, org, log, directory },
      askPeers: to => this.#peers.askPlaces(to),
    });
    this.#streams = this.#makeStreams();
    this.#peers = this.#makePeers();
    const { durable, origin, remote } = parts;
    remote.open = (...request) => this.#peers.openShare(...request);
    // Who is no member any more will never answer.
    origin.ask = async (from, position) =>
      isMember(directory, from.org) ? this.#peers.refetch(from, position) : undefined;
    durable.outboxes.onWaiting(to => this.#peers.waiting(to));
    new LiveFeed({
      log: durable.inbox,
      router: this.#router,
      now: () => Date.now(),
      onFailure: error => log.error({ err: error }, 'stored records cannot be read for live subscriptions'),
    });
    const listeners = { config, identity, org, directory, log, refusals: this.#refusals };
    this.#nodeListener = makeNodeListener(listeners, federation, this.#nodeServices());
    this.#peerListener = makePeerListener(listeners, this.#verifier, this.#peers.acceptor);
    directory.onChange(() => this.#directoryChanged());
    // Every open stream listens to it.
    setMaxListeners(0, this.#draining.signal);
    this.#recheck = setInterval(() => {
      this.#peers.recheck();
      this.#streams.streams.recheck();
      parts.nodes.presence.recheck();
      parts.authentication.recheck();
    }, RECHECK_MS);
    parts.revocations.watch(() => this.#nodesRevoked());
  }

  get nodeAddress(): string {
    return this.#nodeListener.address;
  }

  get peerAddress(): string {
    return this.#peerListener.address;
  }

  async start(): Promise<this> {
    try {
      await this.#peerListener.start();
      await this.#nodeListener.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
    const { log, directory } = this.#parts;
    const { federation, org, gateway } = this.#self;
    log.info(
      {
        federation,
        org,
        gateway,
        nodes: this.nodeAddress,
        peers: this.peerAddress,
        snapshot: String(directory.version),
        software: SOFTWARE,
      },
      'gateway started',
    );
    this.#finding.start(parseHostPort(this.peerAddress, 'peers').port);
    this.#wantPeers();
    for (const outbox of this.#parts.durable.outboxes.all()) {
      if (outbox.waiting.batches > 0) this.#peers.waiting(outbox.org);
    }
    return this;
  }

  async stop(): Promise<void> {
    const { drainMs } = this.#parts.config.limits;
    this.#parts.log.info('draining');
    clearInterval(this.#recheck);
    this.#parts.revocations.close();
    this.#health.drain();
    this.#parts.nodes.drain();
    this.#draining.abort(new FedgateError('DRAINING', 'the gateway is about to stop', { retryAfterMs: 200 }));
    await Promise.all([this.#nodeListener.stop(drainMs), this.#peers.close(drainMs)]);
    await this.#peerListener.stop(1_000);
    await this.#watcher.close();
    await this.#finding.close();
    this.#registry.close();
    this.#parts.closePolicy();
    await Promise.all([this.#parts.remembered.flush(), this.#parts.directory.flush(), this.#parts.nodes.flush()]);
    await this.#parts.topics.close();
    await this.#parts.files.close();
    await this.#parts.stored.close();
    this.#requests.close();
    await this.#parts.approvals.close();
    await this.#parts.durable.close();
    this.#parts.log.info('gateway stopped');
  }

  replaceAccess(rules: AccessRules): void {
    this.#access.replace(rules);
    this.#streams.streams.recheck();
    if (!this.#draining.signal.aborted) this.#wantPeers();
    this.#parts.log.info({ nodes: rules.nodes.length, peers: rules.peers.length }, 'grants read again');
  }

  status(): GetStatusResponse {
    const { federation, org, gateway } = this.#self;
    const { connected, lastError } = this.#watcher.status();
    const { directory } = this.#parts;
    return {
      federation,
      org,
      gateway,
      software: SOFTWARE,
      startTimeMs: BigInt(this.#startMs),
      registry: {
        connected,
        snapshotVersion: directory.version,
        snapshotExpireTimeMs: BigInt(directory.expireTimeMs),
        lastError: lastError?.message ?? '',
      },
      links: this.#peers.all().map(toLinkStatus),
      subscriptions: [...this.#router.subscriptions].map(toSubscriptionStatus),
      rates: {
        publishedPerSecond: this.#published.perSecond,
        deliveredPerSecond: this.#delivered.perSecond,
        publishedTotal: BigInt(this.#published.total),
        deliveredTotal: BigInt(this.#delivered.total),
        droppedTotal: BigInt(this.#dropped),
        refusedTotal: BigInt(this.#refusals.total),
      },
      residentBytes: BigInt(process.memoryUsage.rss()),
      requests: this.#requests.status(this.#parts.stored),
      streams: this.#streams.status(),
      files: this.#parts.files.status(),
    };
  }

  #makePeers(): Peers {
    const { config, directory, identity, durable } = this.#parts;
    return new Peers({
      self: this.#self,
      signingKey: createPrivateKey(identity.key),
      heartbeat: { intervalMs: config.links.heartbeatMs, deadAfterMs: config.links.deadAfterMs },
      durable: {
        store: durable.store,
        outbox: org => durable.outboxes.of(org),
        inbox: durable.inbox,
        judge: ({ org }, channel, node, size) => this.#door.refusal({ org, node, channel, ...size }),
        approvals: this.#parts.approvals,
        stored: this.#parts.stored,
        onAlarm: (error, facts) => this.#refusals.write(error, facts.org ?? '', facts, true),
      },
      files: {
        holder: this.#parts.files.holder,
        onAlarm: (error, facts) => this.#refusals.write(error, facts.org ?? '', facts, true),
      },
      nodes: {
        nodes: this.#parts.nodes.presence,
        exposes: (org, asker, node) => this.#access.exposes(org, asker, node),
        askable: (org, asker) => this.#access.askable(org, asker),
      },
      requests: this.#requests.forPeers,
      finder: this.#finding.finder,
      acquaintance: acquaintanceHost(config.finding.acquaintance, {
        directory,
        registryConnected: () => this.#watcher.status().connected,
        onTaken: (from, version) =>
          this.#parts.log.info({ org: from, snapshot: String(version) }, 'registry snapshot came through a peer'),
        onAlarm: (error, from) => this.#refusals.write(error, from, { org: from, from: 'acquaintance' }),
      }),
      topics: this.#parts.topics.forPeers,
      streams: this.#streams.forPeers,
      receive: peer => (header, records) => {
        const { channel, senderNode, patienceMs } = header;
        // A timer of more than 2^31 ms fires at once; what a peer may make us hold is ours to say anyway.
        const waitMs = Math.min(patienceMs, MAX_PATIENCE_MS);
        const { org } = peer;
        return this.#door.enter(
          { org, node: senderNode, channel, records: records.count, bytes: records.bytes.length },
          () => this.#inboxes.deliver({ channel, senderOrg: org, senderNode, records, patienceMs: waitMs }),
        );
      },
      identity,
      verifier: this.#verifier,
      directory,
      dialTimeoutMs: config.links.dialTimeoutMs,
      onState: peer => {
        if (peer.state === 'up') this.#parts.remembered.add(peer.org);
        logPeer(this.#parts.log, peer);
      },
    });
  }

  /** Something may be stored for whoever may be reached again one day: a member that is active or suspended. */
  #outboxOf(org: OrgName): Outbox {
    const { directory, durable } = this.#parts;
    if (!isMember(directory, org)) directory.activeMember(org);
    return durable.outboxes.of(org);
  }

  #nodeServices(): NodeServices {
    const { config, membership, durable, approvals, policy } = this.#parts;
    const files = this.#parts.files.host(this.#access, this.#draining.signal);
    const publisher = new Publisher({
      org: membership.org,
      access: this.#access,
      router: this.#router,
      remote: { send: (to, batch) => this.#peers.send(to, batch).catch(error => Promise.reject(this.#explain(error))) },
      policy,
      durable: new DurablePublisher({
        org: membership.org,
        log: durable.inbox,
        outbox: org => this.#outboxOf(org),
        wanted: channel => durable.subscriptions.wants(channel),
        consumedHere: (offset, count, signal) => durable.subscriptions.consumedHere(offset, count, signal),
        draining: this.#draining.signal,
      }),
      membersOf: destination => this.#groups.membersOf(destination.group),
      inboxState: node => this.#parts.nodes.inboxState(node),
      onPublished: records => this.#published.add(records),
    });
    const { subscriptionQueueBytes: queueBytes, subscriptionsPerNode } = config.limits;
    return {
      messaging: {
        gateway: config.gateway,
        publisher,
        subscriptions: durable.subscriptions,
        router: this.#router,
        org: membership.org,
        access: this.#access,
        policy,
        limits: { queueBytes, subscriptionsPerNode },
        draining: this.#draining.signal,
      },
      administration: {
        access: this.#access,
        status: () => this.status(),
        diagnose: (org, signal) => this.#diagnose(org, signal),
      },
      durable: durableAdmin({
        durable,
        access: this.#access,
        federation: membership.federation,
        org: membership.org,
        peer: org => this.#peers.get(org),
      }),
      files,
      approvals: {
        access: this.#access,
        book: approvals.book,
        approvers: approvals.approvers,
        shares: new ProposedShares(files),
        draining: this.#draining.signal,
      },
      nodes: {
        org: membership.org,
        access: this.#access,
        nodes: this.#parts.nodes.presence,
        others: () => this.#groups.others(),
        ask: (to, asker, signal, node) => this.#peers.askNodes(to, asker, signal, node),
        draining: this.#draining.signal,
      },
      presence: this.#parts.nodes.presence,
      authentication: this.#parts.authentication,
      revocations: this.#parts.revocations,
      requests: this.#requests.forNodes({
        gateway: config.gateway,
        draining: this.#draining.signal,
        ask: (to, asked) => this.#peers.ask(to, asked),
        explain: error => this.#explain(error) as FedgateError,
        membersOf: destination => this.#groups.membersOf(destination.group),
      }),
      topics: this.#parts.topics.forNodes(this.#draining.signal),
      stored: { stored: this.#parts.stored, draining: this.#draining.signal },
      streams: this.#streams.forNodes,
      health: this.#health,
    };
  }

  #makeStreams(): GatewayStreams {
    const { config, directory, membership, access, policy, refusals, revocations } = this.#parts;
    const own = new CertificateVerifier(membership.federation, ownTrust(directory, membership.org, revocations));
    return new GatewayStreams({
      org: membership.org,
      gateway: config.gateway,
      access,
      policy,
      refusals,
      draining: this.#draining.signal,
      link: (org, signal) => this.#peers.streamLink(org, signal),
      explain: error => this.#explain(error) as FedgateError,
      inactive: org => notActive(directory, org),
      complaint: ({ identity }) => identity && complaintOf(own, identity),
    });
  }

  /** A member that was cut off sees its peers vanish; the registry, which still answers it, says why. */
  #explain(error: unknown): unknown {
    const { lastError } = this.#watcher.status();
    const cutOff =
      error instanceof FedgateError && error.reason === 'PEER_UNREACHABLE' && lastError?.reason === 'ORG_INACTIVE';
    return cutOff
      ? new FedgateError('ORG_INACTIVE', `${this.#self.org} itself is not active: ${lastError.message}`, {
          cause: error,
        })
      : error;
  }

  #wantPeers(): void {
    const { directory, membership, remembered, config } = this.#parts;
    const past = new Set<string>(remembered.all());
    const { grantedPeers: granted } = this.#access;
    for (const org of wantedPeers({ org: membership.org, policy: config.links.dial, directory, granted, past })) {
      this.#peers.want(org);
    }
  }

  #directoryChanged(): void {
    const { directory, identity, log } = this.#parts;
    this.#nodeListener.swap(identity, ownAuthorities(directory, this.#parts.membership.org));
    this.#peerListener.swap(identity, directory.authoritiesPem());
    this.#parts.nodes.presence.recheck();
    this.#parts.files.recheck();
    this.#streams.streams.recheck();
    log.info({ snapshot: String(directory.version), members: directory.members().length }, 'registry snapshot taken');
    if (!this.#draining.signal.aborted) this.#wantPeers();
  }

  /** Streams first: their calls end with them, and both ends are told why. */
  #nodesRevoked(): void {
    this.#streams.streams.recheck();
    this.#parts.authentication.revoked();
    this.#parts.nodes.presence.recheck();
  }

  #diagnose(org: Peer['org'], signal: AbortSignal): ReturnType<typeof diagnose> {
    const { identity, directory, config } = this.#parts;
    const options = {
      self: this.#self,
      identity,
      verifier: this.#verifier,
      timeoutMs: config.links.dialTimeoutMs,
      directory,
      registry: this.#registry,
      finder: this.#finding.finder,
    };
    return diagnose(org, options, signal);
  }
}

/** Why a node that called before might not call again now; undefined: it might. */
function complaintOf(verifier: CertificateVerifier, { fingerprint, certificate }: Identity): FedgateError | undefined {
  try {
    verifier.identify(fingerprint, () => new X509Certificate(certificate));
    return undefined;
  } catch (error) {
    return error as FedgateError;
  }
}

/** Why an organisation takes no part at the moment; undefined: it does. */
function notActive(directory: Directory, org: string): FedgateError | undefined {
  try {
    directory.activeMember(org as OrgName);
    return undefined;
  } catch (error) {
    return error as FedgateError;
  }
}

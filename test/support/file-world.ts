import { setMaxListeners } from 'node:events';
import { rm } from 'node:fs/promises';
import { FedgateError } from '../../src/errors.js';
import { ApprovalGate } from '../../src/files/approval-gate.js';
import type { Groups } from '../../src/files/audience.js';
import type { ContentStore } from '../../src/files/content/contents.js';
import { openContents } from '../../src/files/content/open.js';
import type { ContentLimits } from '../../src/files/content/parts.js';
import { Fetcher } from '../../src/files/fetch/fetcher.js';
import { Holder } from '../../src/files/holder.js';
import type { StoredShare } from '../../src/files/share-row.js';
import { type ShareEvent, Shares } from '../../src/files/shares.js';
import { Transfers } from '../../src/files/transfers.js';
import type { RemoteShares } from '../../src/files/types.js';
import { createAuthority, issueLeaf, type KeyAndCertificate } from '../../src/identity/issue.js';
import { type OrgName, parseHostPort } from '../../src/identity/names.js';
import { gatewayDnsName } from '../../src/identity/subject.js';
import { subjectOfLeaf } from '../../src/identity/verify.js';
import { Access, type NodeRule } from '../../src/messaging/access.js';
import { NO_POLICY } from '../../src/policy/types.js';
import type { FileHost } from '../../src/services/file-host.js';
import { fileDefinition, fileService, shareForNodesOf } from '../../src/services/file-service.js';
import type { ProgressRule } from '../../src/services/progress-guard.js';
import { CallWrapper } from '../../src/transport/calls.js';
import { openChannel } from '../../src/transport/channel.js';
import { Listener } from '../../src/transport/server.js';
import { FileClient } from './file-client.js';
import { groupsOf } from './groups.js';
import { FEDERATION, type TestScope, temporaryFolder } from './registry.js';
import { TestStore } from './test-store.js';

const ORG = 'ACME' as OrgName;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

export interface FileWorldOptions {
  readonly nodes?: readonly Partial<NodeRule>[];
  readonly groups?: Groups;
  readonly limits?: Partial<ContentLimits>;
  readonly progress?: Partial<ProgressRule>;
  readonly remote?: RemoteShares;
  readonly patienceMs?: number;
  readonly keepMs?: number;
}

const LIMITS: ContentLimits = {
  sharedBytes: GIB,
  sharedBytesPerNode: GIB,
  cacheBytes: GIB,
  reserveBytes: MIB,
  keepMs: 3_600_000,
  uploadKeepMs: 3_600_000,
};

const NOTHING: NodeRule = {
  node: '*',
  publish: [],
  subscribe: [],
  share: [],
  fetch: [],
  approvals: [],
  nodes: [],
  status: false,
  admin: false,
};

/** The file service of ACME over mutual TLS, with content on a real disk and rows in memory, by a clock of its own. */
export class FileWorld {
  readonly org = ORG;
  readonly folder: string;
  readonly events: ShareEvent[] = [];
  /** SHA-256 of what is approved, hexadecimal. */
  readonly approved = new Set<string>();
  /** What another organisation sent that was not what it should be. */
  readonly bad: { readonly error: FedgateError; readonly org: OrgName; readonly final: boolean }[] = [];
  readonly #options: FileWorldOptions;
  readonly #authority: Awaited<ReturnType<typeof createAuthority>>;
  readonly #t: TestScope;
  #running: { listener: Listener; draining: AbortController } | undefined;
  store = new TestStore();
  nowMs = Date.now();
  contents!: ContentStore;
  shares!: Shares;
  holder!: Holder;
  fetcher!: Fetcher;
  transfers!: Transfers;

  private constructor(
    t: TestScope,
    folder: string,
    authority: Awaited<ReturnType<typeof createAuthority>>,
    options: FileWorldOptions,
  ) {
    this.#t = t;
    this.folder = folder;
    this.#authority = authority;
    this.#options = options;
  }

  static async open(t: TestScope, options: FileWorldOptions = {}): Promise<FileWorld> {
    const world = new FileWorld(t, await temporaryFolder(t), await createAuthority(FEDERATION, ORG), options);
    await world.start();
    t.teardown(async () => {
      await world.stop();
      await rm(world.folder, { recursive: true, force: true });
    });
    return world;
  }

  async start(): Promise<void> {
    const { store, folder } = this;
    const { limits, groups = groupsOf({}), keepMs = 3_600_000, remote = NO_LINKS, patienceMs } = this.#options;
    const now = (): number => this.nowMs;
    this.contents = await openContents({
      folder: `${folder}/files`,
      store,
      now,
      limits: { ...LIMITS, ...limits },
      onEvent: () => undefined,
    });
    const { contents } = this;
    const onEvent = (event: ShareEvent): void => void this.events.push(event);
    const gate = new ApprovalGate({ contents, isApproved: async sha256 => this.approved.has(sha256.toString('hex')) });
    const isApproved = (share: StoredShare) => gate.isOpen(share);
    this.shares = await Shares.open({ org: ORG, store, contents, isApproved, groups, keepMs, now, onEvent });
    this.transfers = new Transfers(now);
    this.holder = new Holder({ org: ORG, shares: this.shares, contents, transfers: this.transfers });
    this.fetcher = new Fetcher({
      org: ORG,
      holder: this.holder,
      remote,
      contents,
      transfers: this.transfers,
      now: () => performance.now(),
      onBad: (error, org, final) => this.bad.push({ error, org, final }),
      ...(patienceMs === undefined ? {} : { patienceMs }),
    });
    await this.#listen();
  }

  /** As a gateway stops; the disk stays. */
  async stop(): Promise<void> {
    const running = this.#running;
    if (!running) return;
    this.#running = undefined;
    running.draining.abort(new FedgateError('DRAINING', 'the gateway is about to stop'));
    await running.listener.stop(100);
    await this.fetcher.close();
    await this.shares.close();
    await this.contents.close();
  }

  /** Stops it and starts it again with what is on its disk. */
  async restart(): Promise<void> {
    await this.stop();
    this.store = new TestStore(this.store.disk, this.store.id);
    await this.start();
  }

  /** Where nodes find it. */
  get address(): string {
    return this.#running?.listener.address ?? '';
  }

  identity(node: string): Promise<KeyAndCertificate> {
    return issueLeaf(this.#authority, FEDERATION, { org: ORG, role: 'node', name: node });
  }

  async client(node: string): Promise<FileClient> {
    const channel = openChannel({
      address: this.address,
      serverName: gatewayDnsName(FEDERATION, ORG, 'gw1'),
      identity: await this.identity(node),
      authorities: [this.#authority.certificate],
      window: 8 * MIB,
      maxReceiveBytes: 4 * MIB,
    });
    this.#t.teardown(() => channel.close());
    return new FileClient(channel);
  }

  async #listen(): Promise<void> {
    const { nodes = [{ share: ['*'], fetch: ['*'] }], groups = groupsOf({}), progress } = this.#options;
    const draining = new AbortController();
    setMaxListeners(0, draining.signal);
    const host: FileHost = {
      org: ORG,
      access: new Access(ORG, { nodes: nodes.map(rule => ({ ...NOTHING, ...rule })), peers: [] }),
      policy: NO_POLICY,
      groups,
      shares: this.shares,
      contents: this.contents,
      fetcher: this.fetcher,
      transfers: this.transfers,
      progress: { stallMs: 60_000, leastBytes: 4096, ...progress },
      now: () => this.nowMs,
      draining: draining.signal,
      shareFor: shareForNodesOf(ORG),
    };
    const calls = new CallWrapper<{ readonly name: string }>({
      authenticate: certificate => {
        if (!certificate) throw new Error('a call without a certificate');
        return subjectOfLeaf(certificate.read(), FEDERATION);
      },
      onFailure: () => undefined,
    });
    const listener = new Listener({
      name: 'test listener',
      listen: parseHostPort('127.0.0.1:0', 'listen', { allowPortZero: true }),
      identity: await issueLeaf(this.#authority, FEDERATION, { org: ORG, role: 'gateway', name: 'gw1' }),
      authorities: [this.#authority.certificate],
      windows: { stream: 4 * MIB, connection: 16 * MIB },
      maxConcurrentStreams: 1_000,
    });
    listener.addService(fileDefinition, fileService(calls, host));
    await listener.start();
    this.#running = { listener, draining };
  }
}

const NO_LINKS: RemoteShares = {
  open: org => Promise.reject(new FedgateError('PEER_UNREACHABLE', `${org} cannot be reached`)),
};

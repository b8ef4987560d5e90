import { join } from 'node:path';
import type { Share } from '../../gen/ts/fedgate/files/v1/file_service.js';
import type { FileStatus } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import { FedgateError } from '../errors.js';
import { ApprovalGate } from '../files/approval-gate.js';
import type { Groups } from '../files/audience.js';
import type { ContentStore } from '../files/content/contents.js';
import type { ContentEvent } from '../files/content/events.js';
import { openContents } from '../files/content/open.js';
import { Fetcher } from '../files/fetch/fetcher.js';
import { Holder } from '../files/holder.js';
import { type ShareEvent, Shares } from '../files/shares.js';
import { Transfers } from '../files/transfers.js';
import type { RemoteShares } from '../files/types.js';
import type { OrgName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import { fetchQuestion, type Policy } from '../policy/types.js';
import type { FileHost } from '../services/file-host.js';
import { shareForNodesOf } from '../services/file-service.js';
import type { Store } from '../store/store.js';
import type { Log } from '../telemetry/log.js';
import type { GatewayConfig } from './config.js';

export interface FilesParts {
  /** The gateway's state folder. */
  readonly state: string;
  readonly store: Store;
  readonly org: OrgName;
  readonly config: Pick<GatewayConfig, 'files'>;
  readonly groups: Groups;
  readonly log: Log;
  readonly policy: Policy;
  /** Where shares of other organisations are opened. */
  readonly remote: RemoteShares;
  /** Whether content with this SHA-256 is approved. */
  readonly isApproved: (sha256: Buffer) => Promise<boolean>;
  /** Hears of gateways that lie. */
  readonly onAlarm: (error: FedgateError, org: OrgName) => void;
}

/** When the first scrub begins, and how long after each the next one does. */
const SCRUB_AFTER_MS = 3_600_000;
const SCRUB_EVERY_MS = 24 * 3_600_000;
/** What has to move within a minute, or a transfer is over. */
const PROGRESS = { stallMs: 60_000, leastBytes: 4 * 1024 };

/** Files of a gateway: content on its disk, shares of its nodes, and what they fetch from others. */
export class Files {
  readonly holder: Holder;
  readonly #parts: FilesParts;
  readonly #contents: ContentStore;
  readonly #shares: Shares;
  readonly #fetcher: Fetcher;
  readonly #transfers: Transfers;
  readonly #closing = new AbortController();
  #scrub: NodeJS.Timeout;

  private constructor(parts: FilesParts, contents: ContentStore, shares: Shares) {
    const { org, remote, onAlarm } = parts;
    this.#parts = parts;
    this.#contents = contents;
    this.#shares = shares;
    this.#transfers = new Transfers(now);
    const { policy } = parts;
    this.holder = new Holder({
      ...{ org, shares, contents, transfers: this.#transfers },
      allows: (asker, share) => (policy.asks('fetch') ? policy.check(fetchQuestion(asker, org, share)) : undefined),
    });
    this.#fetcher = new Fetcher({
      org,
      holder: this.holder,
      remote,
      contents,
      transfers: this.#transfers,
      now,
      onBad: (error, from, final) => {
        if (final) onAlarm(error, from);
        else parts.log.warn({ org: from, err: error }, 'files');
      },
    });
    this.#scrub = setTimeout(() => void this.#scrubbed(), SCRUB_AFTER_MS).unref();
  }

  /** Throws FILE_UNUSABLE, STORE_*. The store is closed by its owner, after this. */
  static async open(parts: FilesParts): Promise<Files> {
    const { state, store, org, config, groups, log, isApproved } = parts;
    const contents = await openContents({
      folder: join(state, 'files'),
      store,
      now,
      limits: config.files,
      directIo: config.files.directIo,
      onEvent: event => logContent(log, event),
    });
    try {
      const gate = new ApprovalGate({ isApproved, contents });
      const shares = await Shares.open({
        org,
        store,
        contents,
        isApproved: share => gate.isOpen(share),
        groups,
        keepMs: config.files.keepMs,
        now,
        onEvent: event => logShare(log, event),
      });
      return new Files(parts, contents, shares);
    } catch (error) {
      await contents.close();
      throw error;
    }
  }

  status(): FileStatus {
    const { sharedBytes, cacheBytes } = this.#parts.config.files;
    const usage = this.#contents.usage();
    const active = { upload: 0, fetch: 0, send: 0 };
    for (const { kind } of this.#transfers.active) active[kind]++;
    return {
      shares: this.#shares.open,
      uploads: usage.uploads,
      sharedBytes: BigInt(usage.sharedBytes),
      sharedBytesMax: BigInt(sharedBytes),
      cachedBytes: BigInt(usage.cachedBytes),
      cachedBytesMax: BigInt(cacheBytes),
      uploading: active.upload,
      fetching: active.fetch,
      sending: active.send,
    };
  }

  /** For the service that nodes call. */
  host(access: Access, draining: AbortSignal): FileHost {
    const { org, groups } = this.#parts;
    return {
      org,
      access,
      policy: this.#parts.policy,
      draining,
      now,
      groups,
      shares: this.#shares,
      contents: this.#contents,
      fetcher: this.#fetcher,
      transfers: this.#transfers,
      progress: PROGRESS,
      shareFor: (share): Share => shareForNodesOf(org)(share),
    };
  }

  /** Ends what those have under way who are in an audience no more. To be called when groups may mean others. */
  recheck(): void {
    this.#shares.recheck();
  }

  /** Ends what is under way. Nobody may share or fetch any more. */
  async close(): Promise<void> {
    clearTimeout(this.#scrub);
    this.#closing.abort(new FedgateError('DRAINING', 'the gateway is about to stop'));
    await this.#fetcher.close();
    await this.#shares.close();
    await this.#contents.close();
  }

  /** Looks for bit rot, and again a day later. What is damaged is told of by the contents. */
  async #scrubbed(): Promise<void> {
    const { log } = this.#parts;
    try {
      const found = await this.#contents.scrub({ signal: this.#closing.signal });
      log.info({ event: 'scrubbed', ...found }, 'files');
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      log.warn({ event: 'failed', what: 'scrub', err: error }, 'files');
    }
    this.#scrub = setTimeout(() => void this.#scrubbed(), SCRUB_EVERY_MS).unref();
  }
}

const now = (): number => Date.now();

function logContent(log: Log, { kind, ...facts }: ContentEvent): void {
  const line = { event: kind, ...plain(facts) };
  if (kind === 'swept') log.info(line, 'files');
  else log.warn(line, 'files');
}

function logShare(log: Log, { kind, ...facts }: ShareEvent): void {
  const line = { event: kind, ...plain(facts) };
  if (kind === 'share-over') log.info(line, 'files');
  else log.warn(line, 'files');
}

/** Digests and keys in hexadecimal, errors as the log takes them; a field named `key` would be cut out. */
function plain(facts: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [
      name === 'error' ? 'err' : name === 'key' ? 'row' : name,
      Buffer.isBuffer(value) ? value.toString('hex') : value,
    ]),
  );
}

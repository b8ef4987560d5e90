import { FedgateError, fieldError } from '../errors.js';
import { contentOf } from '../files/approval-gate.js';
import { matches, organisationsOf } from '../files/audience.js';
import { shareEnded, shareUnknown } from '../files/open-downloads.js';
import { formatShareId, parseShareId } from '../files/share-id.js';
import type { StoredShare } from '../files/share-row.js';
import type { OrgName } from '../identity/names.js';
import type { FileHost } from './file-host.js';

/** A share that a proposal names. */
export interface ProposedShare {
  readonly id: string;
  readonly name: string;
  readonly size: number;
  readonly sha256: Buffer;
  /** All of it. Rejects with FILE_DAMAGED. */
  read(signal: AbortSignal): Promise<Buffer>;
}

type Host = Pick<FileHost, 'org' | 'access' | 'groups' | 'shares' | 'contents' | 'now'>;

/** Looks up the shares of a proposal, as the node that proposes sees them. */
export class ProposedShares {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  /**
   * A share of the own organisation that every organisation of the proposal may fetch.
   *
   * Rejects with FIELD_INVALID naming `field`, SHARE_UNKNOWN for one of another organisation or that is not for the node to know of, SHARE_ENDED.
   */
  async find(text: string, field: string, node: string, orgs: readonly OrgName[]): Promise<ProposedShare> {
    const ref = parseShareId(text, field);
    const { org, shares, groups } = this.#host;
    const share = ref.org === org ? await shares.get(ref.id) : undefined;
    if (!share || !this.#isVisible(share, node)) throw shareUnknown(text);
    this.#checkOver(share);
    if (share.requiresApproval) {
      throw fieldError(field, 'may be fetched only once it is approved: nobody could look at it before');
    }
    const audience = organisationsOf(share.audience, groups);
    const left = orgs.find(each => each !== org && !audience.has('*') && !audience.has(each));
    if (left !== undefined) throw fieldError(field, `is not shared with ${left}`);
    const { name, size, sha256 } = share;
    return { id: formatShareId(share), name, size, sha256, read: signal => this.#read(share, signal) };
  }

  /** Its owner, those who may fetch it, and administrators. */
  #isVisible(share: StoredShare, node: string): boolean {
    const { org, access, groups } = this.#host;
    if (share.ownerNode === node || allowed(() => access.checkAdmin(node))) return true;
    return matches(share.audience, { org, node }, groups) && allowed(() => access.checkFetch(node, org));
  }

  #checkOver(share: StoredShare): void {
    if (share.unsharedMs > 0) throw shareEnded(formatShareId(share), 'unshared');
    if (share.expireMs > 0 && share.expireMs <= this.#host.now()) throw shareEnded(formatShareId(share), 'expired');
  }

  async #read(share: StoredShare, signal: AbortSignal): Promise<Buffer> {
    const id = formatShareId(share);
    const held = await this.#host.contents.hold(share.manifestSha256);
    if (!held) {
      throw new FedgateError('FILE_DAMAGED', `the content of ${id} is not on the disk any more`, {
        metadata: { share: id },
      });
    }
    try {
      return await contentOf(held, signal);
    } finally {
      held.release();
    }
  }
}

function allowed(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}

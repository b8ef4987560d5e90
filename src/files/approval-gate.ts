import type { Contents, HeldContent } from './content/types.js';
import { DIRECTORY_TYPE, listedDigests } from './listing.js';
import type { ShareFacts } from './types.js';

export interface ApprovalGateOptions {
  /** Whether content with this SHA-256 is approved. Once it is, it stays so. Rejects with STORE_*. */
  readonly isApproved: (sha256: Buffer) => Promise<boolean>;
  readonly contents: Pick<Contents, 'hold'>;
}

const FOREVER = new AbortController().signal;
/** Listings of folders that were found approved, remembered at once. */
const REMEMBERED = 10_000;
/** The largest listing that is read: some 80,000 files. A larger one is not approved by its files. */
const MAX_LISTING_BYTES = 16 * 1024 * 1024;

/**
 * Decides whether a share that requires an approval may be fetched: when its content is approved, as an artifact or a file of an approved
 * package. The listing of a folder is nobody's artifact: it may be fetched when each file that it names is approved, and when it is nothing
 * but a listing, whatever its media type says. What cannot be found out is not approved.
 */
export class ApprovalGate {
  readonly #options: ApprovalGateOptions;
  readonly #listings = new Set<string>();

  constructor(options: ApprovalGateOptions) {
    this.#options = options;
  }

  /** Rejects with STORE_*, FILE_DAMAGED. */
  async isOpen(share: Pick<ShareFacts, 'sha256' | 'manifestSha256' | 'mediaType' | 'size'>): Promise<boolean> {
    if (await this.#options.isApproved(share.sha256)) return true;
    if (share.mediaType !== DIRECTORY_TYPE || share.size > MAX_LISTING_BYTES) return false;
    const name = share.sha256.toString('hex');
    if (this.#listings.has(name)) return true;
    const held = await this.#options.contents.hold(share.manifestSha256);
    if (!held) return false;
    try {
      if (!(await this.#allApproved(listedDigests(await contentOf(held, FOREVER))))) return false;
    } finally {
      held.release();
    }
    if (this.#listings.size >= REMEMBERED) this.#listings.clear();
    this.#listings.add(name);
    return true;
  }

  async #allApproved(digests: readonly Buffer[] | undefined): Promise<boolean> {
    if (!digests || digests.length === 0) return false;
    for (const digest of digests) if (!(await this.#options.isApproved(digest))) return false;
    return true;
  }
}

/** All of a small content. Throws FILE_DAMAGED. */
export async function contentOf(held: HeldContent, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const pieces = held.manifest.pieces.length / 32;
  for (let index = 0; index < pieces; index++) {
    for await (const chunk of held.readPiece(index, 0, signal)) chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}

import { FedgateError } from '../../errors.js';
import type { Contents } from '../content/types.js';
import { manifestDigest } from '../manifest.js';
import type { Manifest, ShareFacts } from '../types.js';
import { ContentFetch, type OnBadContent } from './content-fetch.js';

interface Shared {
  readonly content: Promise<ContentFetch>;
  users: number;
}

/** The contents of other organisations that are being read: each once, for all its readers. */
export class ContentFetches {
  readonly #contents: Pick<Contents, 'holdRemote'>;
  readonly #onBad: OnBadContent;
  readonly #open = new Map<string, Shared>();

  constructor(contents: Pick<Contents, 'holdRemote'>, onBad: OnBadContent) {
    this.#contents = contents;
    this.#onBad = onBad;
  }

  /** Throws MANIFEST_INVALID. Whoever took it gives it back. */
  async take(share: ShareFacts, manifest: Manifest): Promise<{ readonly content: ContentFetch; release(): void }> {
    // What one organisation sends is no answer for a share of another: see remoteKey.
    const name = `${share.org} ${share.manifestSha256.toString('hex')}`;
    const shared = this.#open.get(name) ?? { content: this.#hold(share, manifest), users: 0 };
    this.#open.set(name, shared);
    shared.users++;
    const release = (): void => {
      shared.users--;
      if (shared.users === 0) void this.#letGo(name, shared);
    };
    try {
      const content = await shared.content;
      content.throwIfBad();
      return { content, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Ends what is done for nobody in particular. */
  async close(): Promise<void> {
    const contents = await Promise.allSettled([...this.#open.values()].map(({ content }) => content));
    for (const content of contents) if (content.status === 'fulfilled') content.value.stop();
  }

  async #hold({ org, manifestSha256 }: ShareFacts, manifest: Manifest): Promise<ContentFetch> {
    if (!manifestDigest(manifest).equals(manifestSha256)) {
      const error = new FedgateError('MANIFEST_INVALID', `the manifest that ${org} sent is not the one of its share`, {
        metadata: { org },
      });
      this.#onBad(error, org, true);
      throw error;
    }
    return new ContentFetch(await this.#contents.holdRemote(manifest, org), org, this.#onBad);
  }

  async #letGo(name: string, shared: Shared): Promise<void> {
    const content = await shared.content.catch(() => undefined);
    await content?.settled();
    if (shared.users > 0 || this.#open.get(name) !== shared) return;
    this.#open.delete(name);
    content?.held.release();
  }
}

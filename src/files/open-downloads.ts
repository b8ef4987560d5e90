import { FedgateError } from '../errors.js';
import type { Asker } from './types.js';

export type EndedWhy = 'expired' | 'unshared' | 'max-downloads';

const WORDS: { readonly [why in EndedWhy]: string } = {
  expired: 'it expired',
  unshared: 'its owner ended it',
  'max-downloads': 'it was fetched as often as allowed',
};

export const shareEnded = (share: string, why: EndedWhy): FedgateError =>
  new FedgateError('SHARE_ENDED', `${share} is over: ${WORDS[why]}`, { metadata: { share, why } });

/** The same for a share that is not there and for one that is not for the caller. */
export const shareUnknown = (share: string): FedgateError =>
  new FedgateError('SHARE_UNKNOWN', `there is no share ${share} for the caller`, { metadata: { share } });

interface OpenDownload {
  readonly asker: Asker;
  readonly ending: AbortController;
}

/** The downloads that are open, by share: what has to be told when the right to them ends. */
export class OpenDownloads {
  readonly #byShare = new Map<string, Set<OpenDownload>>();

  /** `ended` fires when `end` says so. Whoever opened it releases it. */
  add(share: string, asker: Asker): { readonly ended: AbortSignal; release(): void } {
    const open = { asker, ending: new AbortController() };
    const all = this.#byShare.get(share) ?? new Set();
    this.#byShare.set(share, all.add(open));
    return {
      ended: open.ending.signal,
      release: () => {
        all.delete(open);
        if (all.size === 0 && this.#byShare.get(share) === all) this.#byShare.delete(share);
      },
    };
  }

  /** Ends those of a share whose asker may not go on. */
  end(share: string, error: FedgateError, except: (asker: Asker) => boolean = () => false): void {
    for (const { asker, ending } of this.#byShare.get(share) ?? []) if (!except(asker)) ending.abort(error);
  }

  /** The shares that have some. */
  get shares(): readonly string[] {
    return [...this.#byShare.keys()];
  }

  endAll(error: FedgateError): void {
    for (const share of this.shares) this.end(share, error);
  }
}

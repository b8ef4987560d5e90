/** What an operator should hear of. */
export type ContentEvent =
  /** A row is not what was written. It counts as not there. */
  | { readonly kind: 'row-damaged'; readonly table: string; readonly key: Buffer }
  /** A piece is not what was written, or is gone. It was taken out. */
  | { readonly kind: 'piece-damaged'; readonly sha256: Buffer }
  /** The whole-file digest of a content is wrong. It is given to nobody. */
  | { readonly kind: 'content-bad'; readonly id: Buffer }
  /** Contents and uploads whose time was over, contents that were too many, and files that nothing refers to. */
  | { readonly kind: 'swept'; readonly contents: number; readonly uploads: number; readonly files: number }
  /** Work that nobody waits for failed. It is tried again. */
  | { readonly kind: 'failed'; readonly what: 'sweep' | 'scrub' | 'remove' | 'touch'; readonly error: unknown };

export type OnContentEvent = (event: ContentEvent) => void;

import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { pieceCount, pieceDigest, pieceLength } from '../manifest.js';
import type { Manifest } from '../types.js';
import { Bitmap } from './bitmap.js';

/** A content that somebody holds. There is one of each, however many hold it. */
export interface OpenedContent {
  readonly id: Buffer;
  /** Who shared it. Undefined: an own node. */
  readonly org?: OrgName | undefined;
  readonly manifest: Manifest;
  /** Places whose pieces it refers to. */
  readonly held: Bitmap;
  verified: boolean;
  /** Its whole-file digest was found wrong. */
  bad: boolean;
}

/** The contents that are held. They are not removed; whoever removes one asks here in the turn in which the index forgets it. */
export class OpenedContents {
  readonly #pins = new Map<string, number>();
  readonly #opened = new Map<string, OpenedContent>();

  /** From now on it is not removed. Each call is matched by one of `unpin`. */
  pin(id: Buffer): void {
    const name = id.toString('hex');
    this.#pins.set(name, (this.#pins.get(name) ?? 0) + 1);
  }

  /** Answers whether nobody holds it any more. */
  unpin(id: Buffer): boolean {
    const name = id.toString('hex');
    const left = (this.#pins.get(name) ?? 1) - 1;
    if (left > 0) {
      this.#pins.set(name, left);
      return false;
    }
    this.#pins.delete(name);
    this.#opened.delete(name);
    return true;
  }

  isPinned(name: string): boolean {
    return this.#pins.has(name);
  }

  get(id: Buffer): OpenedContent | undefined {
    return this.#opened.get(id.toString('hex'));
  }

  /** Takes note of what is committed of a content that is pinned. One that is there already stays the same object. */
  put(content: OpenedContent): OpenedContent {
    const known = this.get(content.id);
    if (!known) {
      this.#opened.set(content.id.toString('hex'), content);
      return content;
    }
    known.held.bytes.set(content.held.bytes);
    known.verified = content.verified;
    known.bad = content.bad;
    return known;
  }
}

export const contentBad = (id: Buffer): FedgateError =>
  new FedgateError('MANIFEST_INVALID', 'the content was found not to be what its manifest says', {
    metadata: { content: id.toString('hex') },
  });

/** Bytes of the places that are taken. */
export function bytesOf(manifest: Manifest, held: Bitmap): number {
  let bytes = 0;
  for (const index of held) bytes += pieceLength(manifest, index);
  return bytes;
}

/** Digests of the places that are taken. */
export function* digestsOfHeld(manifest: Manifest, held: Bitmap): Generator<Buffer> {
  for (const index of held) yield pieceDigest(manifest, index);
}

export const noneHeld = (manifest: Manifest): Bitmap => new Bitmap(pieceCount(manifest));

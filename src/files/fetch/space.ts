import type { Contents } from '../content/types.js';
import { pieceLength } from '../manifest.js';
import type { ContentFetch } from './content-fetch.js';
import { type ByteRange, piecesOf } from './range.js';

/**
 * Reserves the space of what is missing of a range, as far as no other reader of the same content has. Each piece that is stored gives its
 * part back, since it counts by itself from then on; the way that is answered gives back what is left. Throws FILES_FULL.
 */
export async function reserveSpace(
  content: ContentFetch,
  range: ByteRange,
  contents: Pick<Contents, 'reserve'>,
): Promise<() => void> {
  const { held, promised } = content;
  const missing: number[] = [];
  let bytes = 0;
  const { from, to } = piecesOf(range, held.manifest);
  for (let index = from; index < to; index++) {
    if (held.has(index) || promised.has(index)) continue;
    missing.push(index);
    // From now on, so that who comes while this waits does not reserve it as well.
    promised.set(index, () => undefined);
    bytes += pieceLength(held.manifest, index);
  }
  const forget = (): void => {
    for (const index of missing) promised.delete(index);
  };
  try {
    const space = await contents.reserve(bytes);
    for (const index of missing) {
      if (promised.has(index)) promised.set(index, () => space.release(pieceLength(held.manifest, index)));
      else space.release(pieceLength(held.manifest, index));
    }
    return () => {
      forget();
      space.release();
    };
  } catch (error) {
    forget();
    throw error;
  }
}

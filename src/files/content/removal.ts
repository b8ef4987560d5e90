import { digestsOfHeld } from './opened-contents.js';
import type { Parts } from './parts.js';
import { sharesOf } from './rows.js';

/** Removes a content that no share stands for and nobody holds, in one commit. Answers whether it did. */
export function removeContent({ pieces, ledger, opened }: Parts, id: Buffer): Promise<boolean> {
  const name = id.toString('hex');
  return pieces.index.change(async view => {
    // In the turn of the index: who takes hold of it is served in a later one, or was pinned before.
    if (opened.isPinned(name)) return false;
    const row = await view.content(id);
    if (row && sharesOf(row) > 0 && row.manifest) return false;
    if (row?.manifest) {
      await view.dropPieces(digestsOfHeld(row.manifest, await view.held(id, row.manifest)));
    }
    view.removeContent(id);
    view.after(() => ledger.setContent(name, undefined));
    return true;
  });
}

/** Contents that may be removed, the least recently used first. */
export function removable({ ledger, opened }: Parts): { readonly id: Buffer; readonly usedMs: number }[] {
  const found: { id: Buffer; usedMs: number }[] = [];
  for (const [name, { owners, usedMs }] of ledger.contents) {
    if (owners.size === 0 && !opened.isPinned(name)) found.push({ id: Buffer.from(name, 'hex'), usedMs });
  }
  return found.sort((a, b) => a.usedMs - b.usedMs);
}

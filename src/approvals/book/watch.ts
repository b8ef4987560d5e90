import type { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import type { ProposalFilter } from '../types.js';
import { type Desk, needProposal } from './desk.js';
import { matches } from './lists.js';
import { draining } from './one-by-one.js';
import { isDamage } from './scans.js';
import { view } from './standing.js';
import { Watcher } from './watchers.js';

type Filter = Omit<ProposalFilter, 'state'> & { readonly id: Buffer | undefined };

/** As `watch` of the book. Ends with DRAINING when the book is closed. */
export async function* watch(
  desk: Desk,
  { id, ...filter }: Filter,
  signal: AbortSignal,
  closed: AbortSignal,
): AsyncGenerator<Proposal> {
  const either = AbortSignal.any([signal, closed]);
  if (id) await needProposal(desk, id);
  const watcher = new Watcher(
    proposal => (!id || id.equals(proposal.id)) && matches({ ...filter, state: 0 }, proposal),
  );
  const stop = desk.watchers.add(watcher);
  try {
    if (id) watcher.note(await view(desk, id));
    else for (const { summary } of desk.index.newestFirst()) watcher.note(summary);
    for (;;) {
      const next = await watcher.next(either);
      if (next === undefined) break;
      // One that is damaged does not end the watching of the others.
      const proposal = await view(desk, Buffer.from(next, 'hex')).catch(error => {
        if (!isDamage(error) || id) throw error;
      });
      if (proposal) yield proposal;
    }
  } finally {
    stop();
  }
  if (!signal.aborted) throw draining();
}

import type { DeliveryOutcome } from './router.js';

/** Whether a node that was written to directly was there. See InboxState in messaging_service.proto. */
export type InboxState = 'open' | 'closed' | 'away' | 'untold';

/** By the numbers of the contract; 0: nothing is said. */
export const INBOX_STATES: readonly (InboxState | undefined)[] = [undefined, 'open', 'closed', 'away', 'untold'];

type InboxNumber = 0 | 1 | 2 | 3 | 4;
const NUMBERS: { readonly [state in InboxState]: InboxNumber } = { open: 1, closed: 2, away: 3, untold: 4 };

export const inboxNumber = (state: InboxState | undefined): InboxNumber => (state === undefined ? 0 : NUMBERS[state]);

/** The answer for a node that is not shown to whoever writes to it: the same as for one that does not exist. */
export const UNTOLD: DeliveryOutcome = { subscribers: 0, dropped: 0, inbox: 'untold' };

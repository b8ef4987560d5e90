import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { DurableOutcome, LiveOutcome } from './publisher.js';

export type OneOutcome = LiveOutcome | DurableOutcome;

/** What became of records for one of several organisations. */
export type OrgOutcome =
  | { readonly org: OrgName; readonly outcome: OneOutcome; readonly error?: undefined }
  | { readonly org: OrgName; readonly outcome?: undefined; readonly error: FedgateError };

/** What became of records for several organisations: one entry for each, in the order of their names. */
export interface SeveralOutcome {
  readonly orgs: readonly OrgOutcome[];
}

/** One of several organisations that are meant at once. */
export interface SeveralMember {
  readonly org: OrgName;
  /** Why it gets nothing although it is named. Undefined: it is meant. */
  readonly refused?: FedgateError | undefined;
}

/** Organisations that one publish may go to: the answer has an entry for each, and must fit into a message. */
export const MAX_BROADCAST_ORGS = 1_000;

/**
 * Publishes to each of several organisations, all in this turn, so that the order of calls is the order for each.
 *
 * What one of them does not take is its entry. Throws FIELD_INVALID, which says the same of all, before anything was published; NOT_GRANTED when none
 * is granted; LIMIT_REACHED for too many. Rejects with DRAINING when the gateway stops before an answer: what is stored
 * stays so, and the same call under the same id or number asks again.
 */
export function publishToEach(
  orgs: readonly OrgName[],
  publish: (org: OrgName) => OneOutcome | Promise<OneOutcome>,
): Promise<SeveralOutcome> {
  if (orgs.length > MAX_BROADCAST_ORGS) {
    throw new FedgateError('LIMIT_REACHED', `${orgs.length} organisations are more than ${MAX_BROADCAST_ORGS}`, {
      metadata: { limit: 'organisations of a publish' },
    });
  }
  const started: (OrgOutcome | Promise<OrgOutcome>)[] = [];
  let refused: FedgateError | undefined;
  for (const org of orgs) {
    try {
      const outcome = publish(org);
      started.push(outcome instanceof Promise ? later(org, outcome) : { org, outcome });
    } catch (thrown) {
      const error = asFedgateError(thrown);
      if (error.reason === 'FIELD_INVALID' && started.length === 0) throw error;
      if (error.reason === 'NOT_GRANTED') refused ??= error;
      started.push({ org, error });
    }
  }
  // Only what access refuses is refused in this very turn with that reason.
  if (refused && started.every(entry => 'error' in entry && entry.error?.reason === 'NOT_GRANTED')) throw refused;
  return Promise.all(started).then(entries => {
    const drained = entries.find(({ error }) => error?.reason === 'DRAINING');
    if (drained?.error) throw drained.error;
    return { orgs: entries };
  });
}

const later = (org: OrgName, outcome: Promise<OneOutcome>): Promise<OrgOutcome> =>
  outcome.then(
    settled => ({ org, outcome: settled }),
    thrown => ({ org, error: asFedgateError(thrown) }),
  );

const asFedgateError = (thrown: unknown): FedgateError =>
  thrown instanceof FedgateError ? thrown : new FedgateError('INTERNAL', 'internal error', { cause: thrown });

import type { OrgResult, PublishResult } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { FedgateError } from '../errors.js';
import { fromRpcStatus } from '../transport/status.js';
import { type AckLevel, LEVELS } from './terms.js';

/** What became of a publish. Records published in the same turn to the same address share it. */
export interface PublishReport {
  readonly side: 'local' | 'remote';
  readonly org: string;
  /** Durable: the level that was reached, at least the one asked for. Undefined: it was published live. */
  readonly level?: AckLevel | undefined;
  /** Live: how many subscriptions it was handed to; 0: nobody is there. Durable: always 0. */
  readonly subscribers: number;
  /** Live: for how many it was dropped because a queue was full. Durable: always 0. */
  readonly dropped: number;
  /** Durable: it had been stored by an earlier publish and was not stored again. */
  readonly duplicate?: boolean | undefined;
  /** Durable, another organisation: the epoch of the stream to it. */
  readonly streamEpoch?: bigint | undefined;
  /** Durable: the number of the batch in that stream; in the own organisation the offset in the log. */
  readonly sequence?: number | undefined;
  /**
   * Direct messages: whether the node was there, connected and subscribed to its inbox (`open`), connected only (`closed`), or not (`away`).
   * `untold`: there is none, or the other organisation does not show it; the counts are 0 then, whether or not it got the record.
   * Undefined: not a direct message, or stored for another organisation.
   */
  readonly inbox?: InboxState | undefined;
  /**
   * Of a publish to several organisations (`pubsub://*\/…`, `pubsub://@group/…`): what became of it for each, by name. `org` is empty then, and
   * all else speaks of those that took it: counts are sums, `level` is the lowest of those that stored it. Look here for those that did not.
   */
  readonly orgs?: readonly OrgReport[] | undefined;
}

/** What became of a publish for one of several organisations. */
export type OrgReport =
  | { readonly org: string; readonly report: PublishReport; readonly error?: undefined }
  | { readonly org: string; readonly report?: undefined; readonly error: FedgateError };

/** Whether a node that was written to directly was there. */
export type InboxState = 'open' | 'closed' | 'away' | 'untold';

const INBOXES: readonly (InboxState | undefined)[] = [undefined, 'open', 'closed', 'away', 'untold'];

export function toReport(result: PublishResult): PublishReport {
  const report = toReportOfOne(result);
  return result.org === '' ? { ...report, orgs: result.orgs.flatMap(toOrgReport) } : report;
}

/** What a later version says in another way is left out. */
function toOrgReport({ org, outcome }: OrgResult): OrgReport[] {
  if (outcome?.$case === 'result') return [{ org, report: toReportOfOne(outcome.value) }];
  return outcome ? [{ org, error: fromRpcStatus(outcome.value) }] : [];
}

function toReportOfOne(result: PublishResult): PublishReport {
  const { org, subscribers, dropped, duplicate, streamEpoch, sequence } = result;
  const inbox = INBOXES[result.inbox];
  const side = result.side === 1 ? ('local' as const) : ('remote' as const);
  const level = LEVELS[result.level];
  const told = inbox ? { inbox } : {};
  return level === undefined
    ? { side, org, subscribers, dropped, ...told }
    : { side, org, level, subscribers, dropped, duplicate, streamEpoch, sequence: Number(sequence), ...told };
}

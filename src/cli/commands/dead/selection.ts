import type { Command } from 'commander';
import {
  DeadLetter_Direction,
  type DeadLetterSelection,
} from '../../../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { fieldError } from '../../../errors.js';
import { parseOrgName } from '../../../identity/names.js';
import { parseCount } from '../../options.js';

/** Which dead letters a command is about. */
export interface FilterOptions {
  readonly incoming?: boolean;
  readonly outgoing?: boolean;
  readonly subscription?: string;
  readonly org?: string;
}

export const withFilters = (command: Command): Command =>
  command
    .option('--incoming', 'only those that subscriptions here gave up')
    .option('--outgoing', 'only those that were sent from here, and that others refused or gave up')
    .option('--subscription <name>', 'only those of a subscription')
    .option('--org <org>', 'only those from or for an organisation');

/** Throws FIELD_INVALID naming the option. */
export function parseFilters({ incoming, outgoing, subscription, org }: FilterOptions) {
  if (incoming && outgoing) throw fieldError('--incoming', 'give one of: --incoming, --outgoing');
  const { DIRECTION_INCOMING, DIRECTION_OUTGOING, DIRECTION_UNSPECIFIED } = DeadLetter_Direction;
  return {
    direction: incoming ? DIRECTION_INCOMING : outgoing ? DIRECTION_OUTGOING : DIRECTION_UNSPECIFIED,
    subscription: subscription ?? '',
    org: org === undefined ? '' : parseOrgName(org, '--org'),
  };
}

/** Ids, or `--all` with filters: never both, and never neither, so that a slip does not mean all. */
export function parseSelection(
  ids: readonly string[],
  { all, ...filters }: FilterOptions & { readonly all?: boolean },
): DeadLetterSelection {
  const filtered = Object.values(parseFilters(filters)).some(value => value !== '' && value !== 0);
  if (all && ids.length > 0) throw fieldError('--all', 'give ids, or --all');
  if (!all && filtered) throw fieldError('--all', 'is needed with --incoming, --outgoing, --subscription and --org');
  if (!all && ids.length === 0) throw fieldError('id', 'give ids as `fedgate dead list` shows them, or --all');
  return { ids: ids.map(id => BigInt(parseCount(id, 'id', 1))), ...parseFilters(filters) };
}

/** What is selected, for people. */
export function describeSelection({ ids, direction, subscription, org }: DeadLetterSelection): string {
  if (ids.length > 0) return ids.length === 1 ? `dead letter ${ids[0]}` : `${ids.length} dead letters`;
  const direct = ['', 'incoming ', 'outgoing '][direction] ?? '';
  const parts = [subscription && `of subscription ${subscription}`, org && `from or for ${org}`].filter(Boolean);
  return [`all ${direct}dead letters`, ...parts].join(' ');
}

import type { NodePresence } from '../../../client/index.js';
import { formatDuration } from '../../duration.js';
import { table } from '../../env.js';
import { isoTime } from '../../times.js';

/** Why a node is not there, for people. */
const WHYS: { readonly [why in NonNullable<NodePresence['why']>]: string } = {
  closed: 'closed its connection',
  lost: 'its connection broke',
  drained: 'the gateway stopped',
  expired: 'its certificate ended',
  untrusted: 'revoked, or its CA no longer counts',
};

const answersText = ({ patterns, patternsCut }: NodePresence): string =>
  [...patterns, ...(patternsCut ? ['…'] : [])].join(' ') || '-';

export function nodesTable(nodes: readonly NodePresence[], now: number): string {
  const rows = nodes.map(({ org, node, state, since, why, inbox, ...rest }) => [
    org,
    node,
    state,
    formatDuration(now - since.getTime()),
    why ? WHYS[why] : '-',
    inbox ? 'open' : '-',
    answersText({ org, node, state, since, why, inbox, ...rest }),
  ]);
  return table([['ORGANISATION', 'NODE', 'STATE', 'SINCE', 'WHY', 'INBOX', 'ANSWERS'], ...rows]);
}

export const nodeJson = ({ since, why, ...rest }: NodePresence): object => ({
  ...rest,
  since: isoTime(since.getTime()),
  ...(why ? { why } : {}),
});

/** One change, in one line. */
export function describeNode(presence: NodePresence): string {
  const { org, node, state, since, why, inbox, patterns, patternsCut } = presence;
  const answers = patterns.length > 0 || patternsCut ? `, answers on ${answersText(presence)}` : '';
  const rest = why ? `: ${WHYS[why]}` : `${inbox ? ', inbox open' : ''}${answers}`;
  return `${isoTime(since.getTime())}  ${org}/${node}  ${state}${rest}`;
}

import type { StoredRequest } from '../../../client/index.js';
import { formatDuration } from '../../duration.js';
import { table } from '../../env.js';
import { payloadJson } from '../../shown.js';
import { isoTime } from '../../times.js';

export function requestsTable(requests: readonly StoredRequest[], now: number): string {
  const rows = requests.map(({ id, address, state, created, expires, node }) => [
    id,
    address,
    state,
    formatDuration(now - created.getTime()),
    state === 'waiting' ? formatDuration(Math.max(0, expires.getTime() - now)) : '-',
    node || '-',
  ]);
  return table([['ID', 'ADDRESS', 'STATE', 'AGE', 'EXPIRES IN', 'ANSWERED BY'], ...rows]);
}

export const requestJson = ({ created, expires, ended, reply, error, ...rest }: StoredRequest): object => ({
  ...rest,
  created: isoTime(created.getTime()),
  expires: isoTime(expires.getTime()),
  ...(ended ? { ended: isoTime(ended.getTime()) } : {}),
  ...(error ? { error: { reason: error.reason, message: error.message, ...codeOf(error) } } : {}),
  ...(reply
    ? {
        reply: {
          contentType: reply.contentType,
          headers: Object.fromEntries(reply.headers),
          ...payloadJson(reply.payload),
        },
      }
    : {}),
});

const codeOf = (error: object): object => ('code' in error ? { code: error.code } : {});

/** For people, a line for each thing that is known. */
export function describeRequest(request: StoredRequest): string {
  const { id, address, state, created, expires, ended, node, attempts, error } = request;
  const lines = [
    ['request', id],
    ['address', address],
    ['state', state],
    ['stored', isoTime(created.getTime())],
    ['expires', isoTime(expires.getTime())],
    ['ended', ended ? isoTime(ended.getTime()) : '-'],
    ['answered by', node || '-'],
    ['attempts', String(attempts)],
    ...(error ? [['why', `${error.message} [${error.reason}]`]] : []),
  ];
  return table(lines as string[][]);
}

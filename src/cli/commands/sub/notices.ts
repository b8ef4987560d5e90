import type { DurableNotice } from '../../../client/index.js';
import { escapeControls } from '../../../text.js';
import { formatCount, plural } from '../../counts.js';

const FATES: { readonly [kind in DurableNotice['kind']]: string } = {
  gap: 'missing, and will not come',
  expired: 'not delivered, because the time to live was over',
  deadLettered: 'given up, and a dead letter now',
};

/** For standard error. Reasons may come from others: what would draw on the terminal is escaped. */
export function describeNotice(notice: DurableNotice): string {
  const { kind, first, last, channel } = notice;
  const { records, senderOrg, reason } = { records: undefined, senderOrg: '', reason: '', ...notice };
  const what = plural(records ?? last - first + 1, 'record');
  const where = [channel && `of ${channel}`, senderOrg && `from ${senderOrg}`].filter(Boolean).join(' ');
  const at = first === last ? `offset ${formatCount(first)}` : `offsets ${formatCount(first)} to ${formatCount(last)}`;
  const subject = [what, where, `(${at})`].filter(Boolean).join(' ');
  return `${FATES[kind]}: ${subject}${reason === '' ? '' : `: ${escapeControls(reason)}`}`;
}

/** For standard output with --json, among the records. */
export const noticeJson = ({ kind, ...rest }: DurableNotice): object => ({ notice: kind, ...rest });

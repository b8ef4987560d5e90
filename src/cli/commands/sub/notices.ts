import type { DurableNotice } from '../../../client/index.js';
import { escapeControls } from '../../../text.js';
import { formatCount, plural } from '../../counts.js';

/** For standard error. Reasons may come from others: what would draw on the terminal is escaped. */
export function describeNotice(notice: DurableNotice): string {
  const { kind, first, last, channel } = notice;
  const { records, senderOrg, reason } = { records: undefined, senderOrg: '', reason: '', ...notice };
  const what = records === undefined ? 'records' : plural(records, 'record');
  const where = [channel && `of ${channel}`, senderOrg && `from ${senderOrg}`].filter(Boolean).join(' ');
  const at = first === last ? `offset ${formatCount(first)}` : `offsets ${formatCount(first)} to ${formatCount(last)}`;
  const subject = [what, where, `(${at})`].filter(Boolean).join(' ');
  return `${subject} ${FATES[kind]}${reason === '' ? '' : `: ${escapeControls(reason)}`}`;
}

const FATES: { readonly [kind in DurableNotice['kind']]: string } = {
  gap: 'are missing and will not come',
  expired: 'were not delivered: their time to live was over',
  deadLettered: 'were given up and are dead letters now',
};

/** For standard output with --json, among the records. */
export const noticeJson = ({ kind, ...rest }: DurableNotice): object => ({ notice: kind, ...rest });

import { escapeControls } from '../../../text.js';
import { formatCount, plural } from '../../counts.js';

/** Something that a consumer must know and that is not a record. */
export interface ConsumerNotice {
  readonly kind: 'gap' | 'expired' | 'dead-lettered';
  readonly first: number;
  readonly last: number;
  readonly channel: string;
  readonly senderOrg: string;
  /** 0: not known. */
  readonly records: number;
  readonly reason: string;
}

/** For standard error. Reasons may come from others: what would draw on the terminal is escaped. */
export function describeNotice({ kind, first, last, channel, senderOrg, records, reason }: ConsumerNotice): string {
  const what = records > 0 ? plural(records, 'record') : 'records';
  const where = [channel && `of ${channel}`, senderOrg && `from ${senderOrg}`].filter(Boolean).join(' ');
  const at = first === last ? `offset ${formatCount(first)}` : `offsets ${formatCount(first)} to ${formatCount(last)}`;
  const why = reason === '' ? '' : `: ${escapeControls(reason)}`;
  const subject = [what, where, `(${at})`].filter(Boolean).join(' ');
  const fates = {
    gap: 'are missing and will not come',
    expired: 'were not delivered: their time to live was over',
    'dead-lettered': 'were given up and are dead letters now',
  };
  return `${subject} ${fates[kind]}${why}`;
}

/** For standard output with --json, among the records. */
export const noticeJson = ({ kind, first, last, channel, senderOrg, records, reason }: ConsumerNotice): object => ({
  notice: kind,
  offsets: [first, last],
  ...(channel ? { channel } : {}),
  ...(senderOrg ? { senderOrg } : {}),
  ...(records > 0 ? { records } : {}),
  ...(reason ? { reason } : {}),
});

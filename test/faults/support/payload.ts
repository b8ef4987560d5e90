import { createHash } from 'node:crypto';

/** What every message says of itself, so that it can be recognised wherever it turns up. */
export interface MessageIdentity {
  readonly org: string;
  readonly publisher: string;
  readonly to: string;
  readonly channel: string;
  readonly n: number;
}

export const messageId = ({ org, publisher, to, channel, n }: MessageIdentity): string =>
  `${org}/${publisher}>${to}/${channel}#${n}`;

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32);

/** The payload of a message: what it is, padding, and a hash over both. */
export function writePayload(identity: MessageIdentity, paddingBytes = 0): string {
  const body = `${JSON.stringify(identity)}\n${'.'.repeat(paddingBytes)}`;
  return `${digest(body)}\n${body}`;
}

/** Reads a payload. Not intact: the id is empty, as nothing in it can be believed. */
export function readPayload(payload: string): { readonly id: string; readonly intact: boolean } {
  const cut = payload.indexOf('\n');
  const body = payload.slice(cut + 1);
  if (cut < 0 || digest(body) !== payload.slice(0, cut)) return { id: '', intact: false };
  return { id: messageId(JSON.parse(body.slice(0, body.indexOf('\n'))) as MessageIdentity), intact: true };
}

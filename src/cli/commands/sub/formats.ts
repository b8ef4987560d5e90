import type { DurableMessage, Message } from '../../../client/index.js';
import { LINE_END_HEADER } from '../../lines.js';
import { payloadJson, shownPayload } from '../../shown.js';
import { isoTime } from '../../times.js';

/** A record, with what a durable subscription tells of it besides. */
export type Shown = Message & Partial<Pick<DurableMessage, 'offset' | 'deliveryCount' | 'storedTime'>>;

/** Appends what is to be printed of a record. */
export type Format = (message: Shown, out: (string | Uint8Array)[]) => void;

const LINE_END = Buffer.from('\n');

export const rawPayload: Format = (message, out) => {
  out.push(message.payload);
  const isLine = message.contentType !== 'application/octet-stream' && message.headers.get(LINE_END_HEADER) !== 'none';
  if (isLine) out.push(LINE_END);
};

export const jsonLine: Format = (message, out) => {
  const { offset, deliveryCount, storedTime } = message;
  const line = {
    channel: message.channel,
    sender: { org: message.senderOrg, node: message.senderNode },
    ...(message.id ? { id: message.id } : {}),
    ...(message.key.length > 0 ? { key: message.key.toString('utf8') } : {}),
    ...(message.timeMs > 0 ? { time: isoTime(message.timeMs) } : {}),
    ...(message.contentType ? { contentType: message.contentType } : {}),
    ...(message.headers.size > 0 ? { headers: Object.fromEntries(message.headers) } : {}),
    ...(offset === undefined ? {} : { offset, deliveryCount, storedTime }),
    ...payloadJson(message.payload),
  };
  out.push(`${JSON.stringify(line)}\n`);
};

export const readableLine: Format = (message, out) => {
  const time = message.timeMs > 0 ? isoTime(message.timeMs).slice(11, 23) : '-';
  const again = (message.deliveryCount ?? 1) > 1 ? `  (delivery ${message.deliveryCount})` : '';
  out.push(
    `${time}  ${message.senderOrg}/${message.senderNode}  ${message.channel}${again}  ${shownPayload(message.payload)}\n`,
  );
};

/** One piece of output, so that one write takes it. */
export const joined = (parts: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part) : part)));

import { type EvidenceLine, parseLine } from './format.js';

/** What a file says could not be read by the gateway that made it. */
export type Unreadable = Omit<Extract<EvidenceLine, { kind: 'unreadable' }>, 'kind'>;

/** For people. */
export function describeUnreadable({ what, direction, org, epoch, number }: Unreadable): string {
  if (epoch === '') return `the ${direction} ${what} at offset ${number} of the log`;
  const place = `${number} of stream ${epoch} ${direction === 'sent' ? 'to' : 'from'} ${org}`;
  return what === 'receipt' ? `the receipt up to batch ${place}` : `the ${direction} batch ${place}`;
}

const BEGINNING = Buffer.from('{"kind":"unreadable",');
/** More than such a line has. Others are not looked at any further. */
const MAX_BYTES = 512;

/** Passes a file on as it is, and tells of what it says could not be read. */
export async function* noticingUnreadable(
  file: AsyncIterable<Uint8Array>,
  onUnreadable: (found: Unreadable) => void,
): AsyncGenerator<Uint8Array, void> {
  let head: Buffer = Buffer.alloc(0);
  for await (const chunk of file) {
    let from = 0;
    const upTo = (end: number): Buffer =>
      Buffer.concat([head, chunk.subarray(from, Math.min(end, from + MAX_BYTES - head.length))]);
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const line = upTo(end);
      if (line.subarray(0, BEGINNING.length).equals(BEGINNING)) tell(line.toString(), onUnreadable);
      head = Buffer.alloc(0);
      from = end + 1;
    }
    head = upTo(chunk.length);
    yield chunk;
  }
}

function tell(line: string, onUnreadable: (found: Unreadable) => void): void {
  const parsed = parseLine(line, 0);
  if (parsed.kind === 'unreadable') onUnreadable(parsed);
}

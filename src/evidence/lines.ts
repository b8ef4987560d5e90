import { invalid } from './format.js';

/** The longest line: a batch of 2 MiB in base64 with what stands around it. */
export const MAX_LINE_BYTES = 4 * 1024 * 1024;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The lines of a file, without their ends. Throws EVIDENCE_INVALID for one that has none, is too long, or is not UTF-8. */
export async function* readLines(file: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  let parts: Uint8Array[] = [];
  let length = 0;
  let number = 1;
  for await (const chunk of file) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      yield decode([...parts, chunk.subarray(from, end)], number++);
      parts = [];
      length = 0;
      from = end + 1;
    }
    // A copy: whoever reads the file may use the chunk again.
    const rest = Buffer.from(chunk.subarray(from));
    length += rest.length;
    if (length > MAX_LINE_BYTES) throw invalid(number, `it is longer than ${MAX_LINE_BYTES} bytes`);
    if (rest.length > 0) parts.push(rest);
  }
  if (length > 0) throw invalid(number, 'it has no end: the file was cut off');
}

function decode(parts: readonly Uint8Array[], number: number): string {
  try {
    return utf8.decode(Buffer.concat(parts));
  } catch (cause) {
    throw invalid(number, 'it is not UTF-8', cause);
  }
}

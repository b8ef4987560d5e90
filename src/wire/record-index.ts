import { FieldReader, LENGTH_DELIMITED } from './reader.js';
import type { RecordBlock } from './records.js';

/** Where the records of a block begin, and what their keys are, found without decoding them. */

const KEY_FIELD = 2;

/** The place of each record in the block, and behind the last of them its end: to slice it often without walking over it each time. */
export function recordStarts(block: RecordBlock): Uint32Array {
  const starts = new Uint32Array(block.count + 1);
  const reader = new FieldReader(block.bytes);
  for (let i = 0; i < block.count && reader.next(); i++) starts[i] = reader.tagStart;
  starts[block.count] = block.bytes.length;
  return starts;
}

/** The records `from` to before `to`, as a view. */
export function sliceAt(block: RecordBlock, starts: Uint32Array, from: number, to: number): RecordBlock {
  if (from === 0 && to === block.count) return block;
  return { bytes: block.bytes.subarray(starts[from], starts[to]), count: to - from };
}

/**
 * A number for the key of each record: 0 for none, equal for equal keys. Different keys may share one (32 bits of FNV-1a), so it serves to
 * keep what must stay together, not to tell keys apart. Undefined when no record has a key. A record that is no message has none: what
 * publishers wrote is theirs.
 */
export function recordKeys(block: RecordBlock): Uint32Array | undefined {
  let keys: Uint32Array | undefined;
  const reader = new FieldReader(block.bytes);
  for (let i = 0; i < block.count && reader.next(); i++) {
    const hash = keyHash(block.bytes, reader.start, reader.end);
    if (hash === 0) continue;
    keys ??= new Uint32Array(block.count);
    keys[i] = hash;
  }
  return keys;
}

/** The last key counts, as protobuf says. */
function keyHash(bytes: Buffer, start: number, end: number): number {
  let hash = 0;
  const fields = new FieldReader(bytes, start, end, true);
  try {
    while (fields.next()) {
      if (fields.field === KEY_FIELD && fields.wireType === LENGTH_DELIMITED)
        hash = hashOf(bytes, fields.start, fields.end);
    }
  } catch {
    return 0;
  }
  return hash;
}

function hashOf(bytes: Buffer, start: number, end: number): number {
  if (start === end) return 0;
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash >>> 0 || 1;
}

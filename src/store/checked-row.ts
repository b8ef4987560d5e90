import { crc32 } from 'node:zlib';
import { FedgateError } from '../errors.js';
import type { Row, Table } from './store.js';

/**
 * Every value stands behind a CRC-32 over table, key and value. LMDB has no checksum of its own, and one flipped bit in a header would
 * be sent, and refused, for ever. Some 0.3 µs per row.
 */
const CRC_BYTES = 4;

/** Node forgets what came before when it is given nothing that stands in no memory, as a message of defaults encodes to. */
const checksum = (fullKey: Buffer, value: Buffer): number =>
  value.length === 0 ? crc32(fullKey) : crc32(value, crc32(fullKey));

/** The bytes that are stored for a value. `fullKey`: the table's name, a zero byte, and the key. */
export function withChecksum(fullKey: Buffer, value: Buffer): Buffer {
  const stored = Buffer.allocUnsafe(CRC_BYTES + value.length);
  stored.writeUInt32LE(checksum(fullKey, value));
  value.copy(stored, CRC_BYTES);
  return stored;
}

/** The value of what is stored; undefined when it is not what was written, or not where it was written. */
function withoutChecksum(fullKey: Buffer, stored: Buffer): Buffer | undefined {
  if (stored.length < CRC_BYTES) return undefined;
  const value = stored.subarray(CRC_BYTES);
  return checksum(fullKey, value) === stored.readUInt32LE() ? value : undefined;
}

/** The row that is stored. One that is damaged has a key, and a value that throws STORE_DAMAGED. */
export function checkedRow(table: Table, fullKey: Buffer, stored: Buffer): Row {
  const key = fullKey.subarray(table.length + 1);
  const value = withoutChecksum(fullKey, stored);
  return value ? { key, value, damaged: false } : new DamagedRow(table, key);
}

class DamagedRow implements Row {
  readonly damaged = true;
  readonly key: Buffer;
  readonly #table: Table;

  constructor(table: Table, key: Buffer) {
    this.key = key;
    this.#table = table;
  }

  get value(): never {
    throw rowDamaged(this.#table, this.key);
  }
}

export const rowDamaged = (table: Table, key: Buffer): FedgateError =>
  new FedgateError('STORE_DAMAGED', `row ${formatKey(key)} of table ${table} is not what was written`, {
    metadata: { table, key: key.toString('hex') },
  });

/** For people: names as they are, all other bytes in hexadecimal. */
const formatKey = (key: Buffer): string =>
  key.toString('latin1').replace(/[^!-~]+|^$/g, bytes => `[${Buffer.from(bytes, 'latin1').toString('hex')}]`);

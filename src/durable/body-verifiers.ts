import { BatchHeader } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { DeadLetterRow } from '../../gen/ts/fedgate/store/v1/dead_letter.js';
import { LogRow } from '../../gen/ts/fedgate/store/v1/log.js';
import { OutboxRow } from '../../gen/ts/fedgate/store/v1/outbox.js';
import type { Table } from '../store/store.js';
import type { Verifier } from '../store/verify.js';
import { LOG } from './log/tables.js';
import { TABLE } from './outbox/rows.js';

const DEAD_LETTER: Table = 'dead-letter';

/** How to find the bodies of all rows that have one, for checking a store. */
export const BODY_VERIFIERS: ReadonlyMap<Table, Verifier> = new Map<Table, Verifier>([
  [
    TABLE.batch,
    ({ value }) => {
      const { body, header } = OutboxRow.decode(value);
      return body && { ref: body, sha256: BatchHeader.decode(header).contentSha256 };
    },
  ],
  [
    LOG,
    ({ value }) => {
      const { body, contentSha256 } = LogRow.decode(value);
      return body && { ref: body, sha256: contentSha256 };
    },
  ],
  [
    DEAD_LETTER,
    ({ value }) => {
      const { body, sha256 } = DeadLetterRow.decode(value);
      return body && { ref: body, sha256 };
    },
  ],
]);

import { Envelope } from '../../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import {
  LogEntry,
  Exchange_Receipt as Receipt,
  ReceiptBody,
} from '../../../../gen/ts/fedgate/approvals/v1/exchange.js';
import { parseStatement, statementSha256 } from '../../../approvals/statement/statement.js';
import { stateName } from '../../../client/approvals/convert.js';
import type { ApprovalLogEntry } from '../../../client/index.js';
import { describe } from '../../../errors.js';
import { escapeControls } from '../../../text.js';
import { isoTime } from '../../times.js';
import { shortId } from './text.js';

/** An entry of a log of approvals, for people and as JSON. */
interface ShownEntry {
  readonly index: number;
  readonly time: string;
  readonly org: string;
  /** Empty: of none in particular. */
  readonly proposal: string;
  /** `offered`, `voted`, `recalled`, `state`, `receipt`, `refused`, `unknown`. */
  readonly what: string;
  readonly text: string;
  readonly hash: string;
}

export function shownEntry({ index, entry, hash }: ApprovalLogEntry): ShownEntry {
  const { timeMs, org, proposalId, what } = LogEntry.decode(entry);
  return {
    index,
    time: isoTime(timeMs),
    org,
    proposal: Buffer.from(proposalId).toString('hex'),
    what: what?.$case ?? 'unknown',
    text: textOf(what),
    hash: hash.toString('hex'),
  };
}

export const entryLine = ({ index, time, org, proposal, what, text }: ShownEntry): string =>
  [String(index), time, org || '-', shortId(proposal) || '-', `${what}: ${escapeControls(text)}`].join('  ');

function textOf(what: LogEntry['what']): string {
  try {
    switch (what?.$case) {
      case 'offered':
        return offered(what.value);
      case 'voted':
        return voted(Envelope.decode(what.value));
      case 'recalled':
        return what.value;
      case 'state':
        return `${stateName(what.value.state)}: ${what.value.why}`;
      case 'receipt':
        return receipt(ReceiptBody.decode(Receipt.decode(what.value).body));
      case 'refused':
        return `${what.value.reason}: ${what.value.message}`;
      default:
        return 'a kind of entry that this version does not know';
    }
  } catch (error) {
    return `cannot be read: ${describe(error)}`;
  }
}

function offered(bytes: Uint8Array): string {
  const statement = parseStatement(bytes);
  if (statement.kind !== 'approval') return `a ${statement.kind}`;
  const { project, version, artifact } = statement.proposal;
  return `${project} ${version}, artifact ${artifact.sha256}, statement ${statementSha256(bytes)}`;
}

function voted({ payload, signatures }: Envelope): string {
  const { kind } = parseStatement(payload);
  return `${kind} by the key ${signatures.map(({ keyId }) => shortId(keyId) || 'without a hint').join(', ')}`;
}

const receipt = ({ org, gateway, logIndex, subjectSha256 }: ReceiptBody): string =>
  `${org}/${gateway} has ${Buffer.from(subjectSha256).toString('hex')} in its log at ${logIndex}`;

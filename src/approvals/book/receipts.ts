import {
  type Exchange_Receipt,
  ReceiptBody,
  Exchange_Receipt as ReceiptMessage,
} from '../../../gen/ts/fedgate/approvals/v1/exchange.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { signDetached, verifyDetached } from '../../identity/signing.js';
import { key } from '../../store/keys.js';
import { type Desk, findProposal, readMarks, readVotes } from './desk.js';
import type { LogHead } from './log.js';
import { settle } from './settle.js';
import type { Step } from './step.js';
import type { StoredProposal } from './stored-proposal.js';
import { TABLE } from './tables.js';

/** Certificates of gateways have about 700 bytes, bodies about 250. */
const MAX_RECEIPT_BYTES = 8 * 1024;

/** Tells the gateway that brought something that it stands in the log. */
export function giveReceipt(
  { options }: Desk,
  step: Step,
  to: OrgName,
  of: { readonly id: Buffer; readonly subjectSha256: Buffer; readonly receiveMs: number; readonly at: LogHead },
): void {
  const { federation, org, gateway } = options;
  const body = Buffer.from(
    ReceiptBody.encode({
      federation,
      org,
      gateway,
      proposalId: of.id,
      subjectSha256: of.subjectSha256,
      receiveTimeMs: BigInt(of.receiveMs),
      logIndex: BigInt(of.at.index),
      logHash: of.at.hash,
    }).finish(),
  );
  const { key: privateKey, certificate } = options.signer();
  const signature = signDetached('approval-receipt', privateKey, body);
  step.send(to, { $case: 'receipt', value: { body, signature, certificate } });
}

/** Keeps a receipt of another gateway with what it is for. Throws RECEIPT_INVALID, PROPOSAL_UNKNOWN, STORE_*. */
export async function takeReceipt(desk: Desk, step: Step, from: OrgName, receipt: Exchange_Receipt): Promise<void> {
  const body = checkReceipt(desk, from, receipt);
  const stored = await findProposal(desk, Buffer.from(body.proposalId));
  if (!stored) throw new FedgateError('PROPOSAL_UNKNOWN', 'a receipt for a proposal that is not here');
  const subject = Buffer.from(body.subjectSha256);
  const { votes } = await readVotes(desk, stored);
  const ofOffer = subject.equals(stored.sha256) && stored.facts.proposer === desk.options.org;
  const ofBallot = votes.some(({ org, envelopeSha256 }) => org === desk.options.org && envelopeSha256.equals(subject));
  if (!ofOffer && !ofBallot) throw invalid('it is for nothing that was sent from here');
  if (!isConcerned(stored, from)) throw invalid(`nothing of this proposal was sent to ${from}`);
  const rowKey = key(stored.id, subject, from);
  if (await isThere(desk, rowKey)) return;
  const bytes = Buffer.from(ReceiptMessage.encode(receipt).finish());
  step.change.put(TABLE.receipt, rowKey, bytes);
  step.log(stored.id, from, { $case: 'receipt', value: bytes });
  const marks = await readMarks(desk, stored);
  await settle(desk, step, { stored, votes, marks: { ...marks, holds: new Set([...marks.holds, from]) } });
}

function checkReceipt({ options }: Desk, from: OrgName, receipt: Exchange_Receipt): ReceiptBody {
  const { body, signature, certificate } = receipt;
  if (body.length + signature.length + certificate.length > MAX_RECEIPT_BYTES) throw invalid('it is too long');
  const read = decodeBody(body);
  if (read.org !== from) throw invalid(`it is one of ${read.org}`);
  if (read.federation !== options.federation) throw invalid('it is of another federation');
  if (read.logHash.length !== 32 || read.logIndex < 1n) throw invalid('it names no entry of a log');
  const publicKey = options.verifyGatewayCertificate(from, Buffer.from(certificate));
  if (verifyDetached('approval-receipt', publicKey, body, signature)) return read;
  throw invalid('its signature is not one of the gateway that it names');
}

function decodeBody(body: Uint8Array): ReceiptBody {
  try {
    return ReceiptBody.decode(body);
  } catch {
    throw invalid('its body is none');
  }
}

/** Whether messages about a proposal go to an organisation at all. */
export const isConcerned = ({ facts }: StoredProposal, org: string): boolean =>
  facts.proposer === org || facts.approvers.some(approver => approver.org === org);

/** A row that is damaged is one that was there. */
async function isThere({ store }: Desk, rowKey: Buffer): Promise<boolean> {
  const rows = await store.scan(TABLE.receipt, { from: rowKey, limit: 1 });
  return rows[0]?.key.equals(rowKey) ?? false;
}

const invalid = (why: string): FedgateError => new FedgateError('RECEIPT_INVALID', `the receipt is not taken: ${why}`);

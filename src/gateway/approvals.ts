import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { Exchange } from '../../gen/ts/fedgate/approvals/v1/exchange.js';
import { Book } from '../approvals/book/book.js';
import type { BookEvent, ReceiptSigner } from '../approvals/book/options.js';
import { parseStatement } from '../approvals/statement/statement.js';
import type { ApprovalBook, ApproverDirectory } from '../approvals/types.js';
import { APPROVALS_CHANNEL } from '../durable/control.js';
import type { ControlRefused, Outbox } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import type { OrgName } from '../identity/names.js';
import { CertificateVerifier } from '../identity/verify.js';
import type { ApprovalsPort } from '../link/control-receiver.js';
import type { Access } from '../messaging/access.js';
import type { Directory } from '../registry/directory.js';
import type { Change, Store } from '../store/store.js';
import type { Log } from '../telemetry/log.js';
import { malformed } from '../wire/reader.js';
import { SnapshotApprovers } from './approver-directory.js';
import type { Refusals } from './refusals.js';

export interface ApprovalsParts {
  readonly federation: string;
  readonly org: OrgName;
  readonly gateway: string;
  readonly identity: KeyAndCertificate;
  readonly directory: Directory;
  readonly access: Pick<Access, 'mayPropose'>;
  readonly store: Store;
  /** Where what is for another organisation waits; undefined for one that is no member. */
  readonly outbox: (org: OrgName) => Pick<Outbox, 'appendControl'> | undefined;
  readonly log: Log;
  readonly refusals: Refusals;
}

/** Approvals of a gateway: the book, and its ways to the other gateways and to the log. */
export class Approvals implements ApprovalsPort {
  readonly book: ApprovalBook;
  readonly approvers: ApproverDirectory;

  private constructor(book: ApprovalBook, approvers: ApproverDirectory) {
    this.book = book;
    this.approvers = approvers;
  }

  /** Throws STORE_*. The store is closed by its owner, after this. */
  static async open(parts: ApprovalsParts): Promise<Approvals> {
    const { federation, org, gateway, directory, access, store, outbox } = parts;
    const approvers = new SnapshotApprovers(directory);
    const signer = receiptSigner(parts.identity);
    const gateways = new CertificateVerifier(federation, directory);
    const book = await Book.open({
      ...{ federation, org, gateway, store },
      directory: approvers,
      // Who is no member any more will never read it.
      send: (change, to, exchange) => outbox(to)?.appendControl(change, APPROVALS_CHANNEL, exchange),
      signer: () => signer,
      verifyGatewayCertificate: (of, der) => gatewayKey(gateways, of, der),
      mayPropose: from => access.mayPropose(from),
      onEvent: event => tell(parts, event),
    });
    return new Approvals(book, approvers);
  }

  receive(from: OrgName, payloads: readonly Buffer[], change: Change): () => void {
    for (const payload of payloads) checkExchange(payload);
    return this.book.receive(from, payloads, change);
  }

  /** Proposals that the gateway of an organisation did not even look at: told as if it had refused each of them. */
  refused: ControlRefused = ({ org, channel, payloads, error }, change) => {
    if (channel !== APPROVALS_CHANNEL) return nothing;
    try {
      const refusals = payloads.flatMap(payload => refusalOfOffer(payload, error) ?? []);
      return refusals.length > 0 ? this.book.receive(org, refusals, change) : nothing;
    } catch {
      // There is no room for it, or the gateway is about to stop. That the batch was refused stands in the log of the gateway.
      return nothing;
    }
  };

  /** Nothing may come from nodes or peers any more. */
  close(): Promise<void> {
    return this.book.close();
  }
}

function receiptSigner({ key, certificate }: KeyAndCertificate): ReceiptSigner {
  return { key: createPrivateKey(key), certificate: new X509Certificate(certificate).raw };
}

/** Throws CERTIFICATE_*, ORG_INACTIVE. */
function gatewayKey(verifier: CertificateVerifier, org: OrgName, der: Buffer): KeyObject {
  const leaf = readCertificate(der);
  const identity = verifier.identify(leaf.fingerprint256, () => leaf);
  if (identity.org !== org)
    throw new FedgateError('CERTIFICATE_UNTRUSTED', `the certificate is one of ${identity.org}, not of ${org}`);
  if (identity.role !== 'gateway')
    throw new FedgateError('CERTIFICATE_ROLE', `a ${identity.role} certificate came where only a gateway's is taken`);
  return identity.publicKey;
}

function readCertificate(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw new FedgateError('CERTIFICATE_UNTRUSTED', 'the certificate cannot be read', { cause });
  }
}

/** Throws FRAME_MALFORMED. */
function checkExchange(payload: Buffer): void {
  try {
    Exchange.decode(payload);
  } catch {
    throw malformed('an Exchange of approvals');
  }
}

/** What the other gateway would have answered. Undefined: it was no offer, and nobody waits for an answer. */
function refusalOfOffer(payload: Buffer, { reason, message }: FedgateError): Buffer | undefined {
  const { what } = Exchange.decode(payload);
  if (what?.$case !== 'offer') return undefined;
  const statement = parseStatement(what.value.statement);
  if (statement.kind !== 'approval') return undefined;
  const proposalId = Buffer.from(statement.proposal.id, 'hex');
  // What gateways answer that do not know the channel.
  const why = reason === 'CHANNEL_RESERVED' ? 'its gateway does not know approvals' : message;
  const refusal = { proposalId, reason, message: why };
  return Buffer.from(Exchange.encode({ what: { $case: 'refusal', value: refusal } }).finish());
}

const nothing = (): void => undefined;

/** What is against the rules goes where refusals go: as a security event when an honest gateway never causes it. */
function tell({ log, refusals }: Pick<ApprovalsParts, 'log' | 'refusals'>, event: BookEvent): void {
  if (event.kind === 'alarm' || event.kind === 'refused') {
    const { reason, message, org, proposal } = event;
    const error = new FedgateError(reason, message, { metadata: { org } });
    const facts = { org, proposal, channel: APPROVALS_CHANNEL };
    if (event.kind === 'alarm') refusals.write(error, org, facts, true);
    else refusals.write(error, org, facts);
    return;
  }
  const line = factsOf(event);
  if (event.kind === 'proposal' || event.kind === 'vote-early') log.info(line, 'approvals');
  else log.warn(line, 'approvals');
}

/** Errors as the log takes them; a field named `key` would be cut out. */
function factsOf({ kind, ...facts }: BookEvent): Record<string, unknown> {
  const names: Readonly<Record<string, string>> = { error: 'err', key: 'row' };
  const renamed = Object.entries(facts).map(([name, value]) => [names[name] ?? name, value]);
  return { event: kind, ...Object.fromEntries(renamed) };
}

import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { BatchHeader } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { OutboxRow, ReceiptRow } from '../../gen/ts/fedgate/store/v1/outbox.js';
import { positionKey, TABLE } from '../../src/durable/outbox/rows.js';
import type { FedgateError } from '../../src/errors.js';
import { createAuthority, issueLeaf, type KeyAndCertificate } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import { signDetached } from '../../src/identity/signing.js';
import { makeReceipt } from '../../src/link/receipt.js';
import { Change, type Store } from '../../src/store/store.js';
import { block } from './inbox.js';

export const FEDERATION = 'fed.example';
export const ACME = 'ACME' as OrgName;
export const GLOBEX = 'GLOBEX' as OrgName;

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

/** A gateway that signs. */
export interface Signer {
  readonly org: OrgName;
  readonly authority: KeyAndCertificate;
  readonly ca: X509Certificate;
  readonly key: KeyObject;
  readonly certificate: { readonly der: Buffer; readonly sha256: Buffer };
}

export const signerOf = (org: OrgName, authority: KeyAndCertificate, leaf: KeyAndCertificate): Signer => {
  const der = new X509Certificate(leaf.certificate).raw;
  const ca = new X509Certificate(authority.certificate);
  return { org, authority, ca, key: createPrivateKey(leaf.key), certificate: { der, sha256: sha256(der) } };
};

export async function makeSigner(org: OrgName): Promise<Signer> {
  const authority = await createAuthority(FEDERATION, org);
  return signerOf(org, authority, await issueLeaf(authority, FEDERATION, { org, role: 'gateway', name: 'gw1' }));
}

/** A batch as it stands in an outbox. */
export interface SealedEvidence {
  readonly header: Buffer;
  readonly signature: Buffer;
  readonly records: ReturnType<typeof block>;
  readonly sequence: number;
  readonly channel: string;
}

export function seal(from: Signer, to: OrgName, sequence: number, lies: Partial<BatchHeader> = {}): SealedEvidence {
  const records = block(`record ${sequence}`);
  const header = Buffer.from(
    BatchHeader.encode({
      federation: FEDERATION,
      originOrg: from.org,
      originGateway: 'gw1',
      recipientOrg: to,
      channel: sequence % 2 ? 'orders' : 'bills',
      senderNode: 'shop',
      streamEpoch: 7n,
      sequence: BigInt(sequence),
      recordCount: records.count,
      contentSha256: sha256(records.bytes),
      timeMs: BigInt(Date.now()),
      patienceMs: 0,
      durable: true,
      expireTimeMs: 0n,
      notifyConsumed: false,
      requests: [],
      replies: [],
      ...lies,
    }).finish(),
  );
  const { channel } = BatchHeader.decode(header);
  return { header, signature: signDetached('batch', from.key, header), records, sequence, channel };
}

/** Puts batches into an outbox, as sent at `storedMs`. */
export async function keepSent(
  store: Store,
  from: Signer,
  to: OrgName,
  batches: readonly SealedEvidence[],
  storedMs = 1_000,
): Promise<void> {
  const change = new Change().put(TABLE.certificate, from.certificate.sha256, from.certificate.der);
  for (const { header, signature, records, sequence } of batches) {
    const body = store.reserve(`outbox-${to}`, records.bytes.length);
    change.write(body, [records.bytes]);
    const row = {
      header,
      signature,
      body,
      records: records.count,
      bytes: BigInt(records.bytes.length),
      storedMs: BigInt(storedMs),
      expireMs: 0n,
      withheld: 0 as const,
      certificateSha256: from.certificate.sha256,
    };
    change.put(TABLE.batch, positionKey(to, { epoch: 7n, sequence }), Buffer.from(OutboxRow.encode(row).finish()));
  }
  await store.commit(change);
}

/** Puts a receipt for batches into an outbox. */
export async function keepReceipt(
  store: Store,
  from: Signer,
  by: Signer,
  batches: readonly Pick<SealedEvidence, 'header' | 'sequence'>[],
  refusals: ReadonlyMap<number, FedgateError> = new Map(),
): Promise<void> {
  const [first] = batches;
  if (!first) return;
  const terms = {
    federation: FEDERATION,
    recipientOrg: by.org,
    recipientGateway: 'gw1',
    originOrg: from.org,
    originGateway: 'gw1',
  };
  const receipted = batches.map(({ header, sequence }) => ({
    headerSha256: sha256(header),
    refusal: refusals.get(sequence),
  }));
  const { body, signature } = makeReceipt(
    terms,
    { epoch: 7n, sequence: first.sequence },
    receipted,
    by.key,
    Date.now(),
  );
  const row = { body, signature, firstSequence: BigInt(first.sequence), certificateSha256: by.certificate.sha256 };
  const at = positionKey(by.org, { epoch: 7n, sequence: first.sequence + batches.length - 1 });
  await store.commit(
    new Change()
      .put(TABLE.certificate, by.certificate.sha256, by.certificate.der)
      .put(TABLE.receipt, at, Buffer.from(ReceiptRow.encode(row).finish())),
  );
}

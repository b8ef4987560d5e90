import { type KeyObject, X509Certificate } from 'node:crypto';
import { BatchHeader } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { OrgName } from '../../identity/names.js';
import { signDetached } from '../../identity/signing.js';
import { sha256 } from '../../sha256.js';
import type { RecordBlock } from '../../wire/records.js';
import { LOST_CHANNEL, type StreamPosition } from '../types.js';

/** What is sealed with the records. */
export interface SealTerms {
  readonly channel: string;
  readonly senderNode: string;
  readonly notifyConsumed: boolean;
  readonly expireMs: number;
}

export interface SealOptions {
  readonly self: { readonly federation: string; readonly org: string; readonly gateway: string };
  readonly signingKey: KeyObject;
  /** The certificate of that key, PEM or DER. */
  readonly certificate: string | Buffer;
}

/** Signs batches in the name of this gateway. */
export class Seal {
  readonly gateway: string;
  readonly certificate: { readonly sha256: Buffer; readonly der: Buffer };
  readonly #self: SealOptions['self'];
  readonly #key: KeyObject;

  constructor({ self, signingKey, certificate }: SealOptions) {
    this.#self = self;
    this.#key = signingKey;
    this.gateway = self.gateway;
    const der = new X509Certificate(certificate).raw;
    this.certificate = { sha256: sha256(der), der };
  }

  /** Signs a batch. ~40 µs for 64 KiB. */
  seal(
    recipientOrg: OrgName,
    { epoch, sequence }: StreamPosition,
    { channel, senderNode, notifyConsumed, expireMs }: SealTerms,
    records: RecordBlock,
    nowMs: number,
  ): { readonly header: Buffer; readonly signature: Buffer } {
    const { federation, org, gateway } = this.#self;
    const header = Buffer.from(
      BatchHeader.encode({
        federation,
        originOrg: org,
        originGateway: gateway,
        recipientOrg,
        channel,
        senderNode,
        notifyConsumed,
        streamEpoch: epoch,
        sequence: BigInt(sequence),
        recordCount: records.count,
        contentSha256: sha256(records.bytes),
        timeMs: BigInt(nowMs),
        patienceMs: 0,
        durable: true,
        expireTimeMs: BigInt(expireMs),
        requests: [],
        replies: [],
      }).finish(),
    );
    return { header, signature: this.sign(header) };
  }

  /** Signs a batch whose row is damaged, so that nothing is known of it but its number. It is never sent with records. */
  sealLost(
    recipientOrg: OrgName,
    { epoch, sequence }: StreamPosition,
    nowMs: number,
  ): { readonly header: Buffer; readonly signature: Buffer } {
    const { federation, org, gateway } = this.#self;
    const header = Buffer.from(
      BatchHeader.encode({
        federation,
        originOrg: org,
        originGateway: gateway,
        recipientOrg,
        channel: LOST_CHANNEL,
        senderNode: gateway,
        notifyConsumed: false,
        streamEpoch: epoch,
        sequence: BigInt(sequence),
        recordCount: 1,
        contentSha256: Buffer.alloc(32),
        timeMs: BigInt(nowMs),
        patienceMs: 0,
        durable: true,
        expireTimeMs: 0n,
        requests: [],
        replies: [],
      }).finish(),
    );
    return { header, signature: this.sign(header) };
  }

  /** Gives a header another number. The content stays. */
  renumber(
    header: Uint8Array,
    { epoch, sequence }: StreamPosition,
  ): { readonly header: Buffer; readonly signature: Buffer } {
    const old = BatchHeader.decode(header);
    const fresh = Buffer.from(BatchHeader.encode({ ...old, streamEpoch: epoch, sequence: BigInt(sequence) }).finish());
    return { header: fresh, signature: this.sign(fresh) };
  }

  sign(header: Uint8Array): Buffer {
    return signDetached('batch', this.#key, header);
  }
}

export const digest = sha256;

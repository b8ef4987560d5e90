import type { KeyObject } from 'node:crypto';
import type { Hello } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { judgeStart } from '../durable/resume.js';
import type { Inbox, Outbox, StreamId, StreamPosition } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Identity } from '../identity/verify.js';
import { isAlarming } from './alarms.js';
import { type ApprovalsPort, controlReceivers, type StoredRequestsPort } from './control-receiver.js';
import { DurableReceiver, type Judge } from './durable-receiver.js';
import { DurableSender } from './durable-sender.js';
import type { DurableHello, Self } from './hello.js';
import type { IncomingFrame, Lane } from './lane.js';
import type { LiveMeter } from './live-meter.js';
import { Pacer } from './pacer.js';
import { Refetches } from './refetches.js';

/** What a gateway brings to its durable lanes. */
export interface DurableHost {
  readonly store: { readonly id: Buffer; readonly restoredMs: number };
  outbox(org: OrgName): Outbox;
  readonly inbox: Inbox;
  /** Why a batch is not to be stored; undefined: it is. */
  judge(peer: Identity, ...batch: Parameters<Judge>): ReturnType<Judge>;
  /** Hears what is said about proposals. Undefined: the channel is refused like any other that is reserved. */
  readonly approvals?: ApprovalsPort | undefined;
  /** Undefined: batches of stored requests are refused. */
  readonly stored?: StoredRequestsPort | undefined;
  /** Hears of every peer that lies about a stream, or has lost count of it. */
  onAlarm(error: FedgateError, facts: Readonly<Record<string, string>>): void;
}

export interface DurableSessionOptions {
  readonly host: DurableHost;
  readonly self: Self;
  readonly signingKey: KeyObject;
  readonly peer: Identity;
  /** Carries our batches, and what answers them. */
  readonly outgoing: Lane;
  /** Carries the peer's batches, and what answers them. The same lane when there is one for both directions. */
  readonly incoming: Lane;
  /** What the peer said. */
  readonly hello: Hello;
  readonly live: LiveMeter;
}

const peerOf = ({ org, name }: Identity): StreamId => ({ org, gateway: name });

/** What our hello says: where our stream goes on, and how much of the peer's we have. */
export function durableHello({ store, inbox, outbox }: DurableHost, peer: StreamId): DurableHello {
  const own = outbox(peer.org);
  const watermark = inbox.watermark(peer);
  return {
    streamEpoch: own.unreceipted.epoch,
    nextSequence: BigInt(own.unreceipted.sequence),
    newestEpoch: own.newestEpoch,
    receivedEpoch: watermark?.epoch ?? 0n,
    receivedSequence: BigInt(watermark?.sequence ?? 0),
    storeId: store.id,
  };
}

/** The durable lanes of a link at work: one stream each way. */
export class DurableSession {
  readonly #options: DurableSessionOptions;
  readonly #sender: DurableSender;
  readonly #receiver: DurableReceiver;
  readonly #refetches: Refetches;
  readonly #started: Promise<void>;
  #halted = false;

  constructor(options: DurableSessionOptions) {
    const { host, self, signingKey, peer, outgoing, incoming, live } = options;
    this.#options = options;
    const from = peerOf(peer);
    const outbox = host.outbox(from.org);
    const { federation } = self;
    const us = { org: self.org, gateway: self.gateway };
    const them = { org: peer.org, gateway: peer.name };
    const fail = (error: unknown): void => this.#fail(error);
    this.#sender = new DurableSender({
      lane: outgoing,
      outbox,
      peer,
      terms: termsOf(federation, us, them),
      pacer: new Pacer(live),
      fail,
    });
    this.#receiver = new DurableReceiver({
      lane: incoming,
      outbox,
      peer,
      from,
      inbox: host.inbox,
      terms: termsOf(federation, them, us),
      signingKey,
      judge: (...batch) => host.judge(peer, ...batch),
      control: controlReceivers(outbox, host, from.org),
      fail,
    });
    this.#refetches = new Refetches({ incoming, outgoing, outbox });
    for (const lane of this.lanes) {
      lane.out.onDrain(() => {
        if (lane === outgoing) this.#sender.wake();
        if (lane === incoming) this.#receiver.flush();
      });
      lane.closed.addEventListener('abort', () => void this.halt(), { once: true });
    }
    this.#started = this.#start(from, outbox).catch(fail);
  }

  /** One, or two. */
  get lanes(): ReadonlySet<Lane> {
    const { outgoing, incoming } = this.#options;
    return new Set([outgoing, incoming]);
  }

  get recordsSent(): number {
    return this.#sender.recordsSent;
  }

  get recordsReceived(): number {
    return this.#receiver.recordsReceived;
  }

  /** As Refetches.ask. */
  refetch(position: StreamPosition): Promise<Buffer | undefined> {
    return this.#refetches.ask(position);
  }

  /** Sends nothing new. */
  drain(): void {
    void this.#sender.stop();
  }

  /** Resolves when what was sent has receipts, and what came has been answered. */
  async idle(): Promise<void> {
    await this.#sender.idle();
    await this.#receiver.quiet();
  }

  /**
   * Ends its work, not the lanes: frames that still come are not looked at. Resolves when nothing is being stored on its behalf any more: the
   * next session then tells the truth in its hello.
   */
  async halt(): Promise<void> {
    this.#halted = true;
    await Promise.all([this.#sender.stop(), this.#receiver.stop(), this.#started]);
    await this.#sender.settled();
  }

  async #start(from: StreamId, outbox: Outbox): Promise<void> {
    const { host, hello } = this.#options;
    const { inbox, store } = host;
    const start = { epoch: hello.streamEpoch, sequence: Number(hello.nextSequence) };
    const decision = judgeStart(inbox.watermark(from), start, store.restoredMs > 0);
    if (decision.kind === 'refuse')
      throw new FedgateError('WATERMARK_INVALID', `${from.org} claims what cannot be: ${decision.why}`);
    if (decision.skip) await inbox.skip(from, decision.skip);
    if (start.sequence > 1) inbox.confirmed(from, { epoch: start.epoch, sequence: start.sequence - 1 });
    const { receivedEpoch, receivedSequence } = hello;
    const received = receivedEpoch === 0n ? undefined : { epoch: receivedEpoch, sequence: Number(receivedSequence) };
    const next = await outbox.resume(received, Buffer.from(hello.storeId));
    if (this.#halted) return;
    for (const lane of this.lanes) lane.listen(frame => this.#take(frame, lane));
    this.#sender.start(next);
    await this.#receiver.start(decision);
  }

  #take(frame: IncomingFrame, lane: Lane): void {
    if (this.#halted) return;
    try {
      if (lane === this.#options.incoming && this.#takesIncoming(frame)) return;
      if (lane === this.#options.outgoing && this.#takesAnswer(frame)) return;
      throw new FedgateError('FRAME_UNEXPECTED', `a ${frame.$case} on the durable lane`);
    } catch (error) {
      this.#alarm(error);
      throw error;
    }
  }

  /** What goes with the stream of the peer: its batches, and its records once more. */
  #takesIncoming(frame: IncomingFrame): boolean {
    if (frame.$case === 'sealed') this.#receiver.take(frame.value);
    else if (frame.$case === 'refetched') this.#refetches.take(frame.value);
    else return false;
    return true;
  }

  /** What comes back to our stream. It is small: a receipt has some 34 bytes for a batch. See ANSWERS_WINDOW_BYTES for why that gets through. */
  #takesAnswer(frame: IncomingFrame): boolean {
    if (frame.$case === 'receipt') this.#sender.take(frame.value);
    else if (frame.$case === 'credit') this.#credit(frame.value);
    else if (frame.$case === 'refetch') this.#refetches.answer(frame.value, error => this.#fail(error));
    else return false;
    return true;
  }

  #credit(credit: Extract<IncomingFrame, { $case: 'credit' }>['value']): void {
    const { receiptedEpoch: epoch, receiptedSequence } = credit;
    const { inbox } = this.#options.host;
    if (epoch !== 0n) inbox.confirmed(peerOf(this.#options.peer), { epoch, sequence: Number(receiptedSequence) });
    this.#sender.grant(credit);
  }

  #fail(error: unknown): void {
    const { outgoing, incoming } = this.#options;
    if (outgoing.closed.aborted || incoming.closed.aborted) return;
    this.#alarm(error);
    // The link goes with it, and so does the other lane.
    outgoing.close(
      error instanceof FedgateError ? error : new FedgateError('INTERNAL', 'internal error', { cause: error }),
    );
  }

  #alarm(error: unknown): void {
    if (!isAlarming(error)) return;
    const { host, peer } = this.#options;
    host.onAlarm(error, { org: peer.org, gateway: peer.name });
  }
}

interface GatewayId {
  readonly org: string;
  readonly gateway: string;
}

const termsOf = (federation: string, origin: GatewayId, recipient: GatewayId) => ({
  federation,
  originOrg: origin.org,
  originGateway: origin.gateway,
  recipientOrg: recipient.org,
  recipientGateway: recipient.gateway,
});

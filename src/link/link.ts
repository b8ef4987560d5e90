import type { KeyObject } from 'node:crypto';
import type { BatchHeader, Hello } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import type { ResolverName } from '../finding/types.js';
import type { Identity } from '../identity/verify.js';
import type { DeliveryOutcome } from '../messaging/router.js';
import type { Asked } from '../requests/asked.js';
import type { Acquaintance } from './acquaintance.js';
import type { OutgoingBatch } from './batch.js';
import { BatchReceiver, type ReceiveBatch } from './batch-receiver.js';
import { BatchSender } from './batch-sender.js';
import type { LaneWork } from './extra-lanes.js';
import { Heartbeat, type HeartbeatOptions } from './heartbeat.js';
import { ACQUAINTANCE, LANE, type LaneHello, type LaneKind, ONE_WAY, PRESENCE, REQUESTS, type Self } from './hello.js';
import type { IncomingFrame, Lane } from './lane.js';
import { LinkAcquaintance } from './link-acquaintance.js';
import { LinkRequests, type RequestsHost } from './link-requests.js';
import { LiveMeter } from './live-meter.js';
import { NodesAsker } from './nodes-asker.js';
import { NodesHolder } from './nodes-holder.js';
import type { NodesMirror } from './nodes-mirror.js';
import type { NodesHost } from './nodes-terms.js';

/** A lane whose hellos were exchanged. */
export interface OpenLane {
  readonly lane: Lane;
  /** What the peer said. */
  readonly hello: Hello;
  /** The epoch this side gave in its hello. */
  readonly ownEpoch: bigint;
}

export interface LinkParts {
  readonly peer: Identity;
  /** Whether this side dialled. */
  readonly dialled: boolean;
  /** `host:port` of the other end. */
  readonly address: string;
  /** Who gave that address. Undefined: the other side dialled. */
  readonly source?: ResolverName | undefined;
  readonly control: OpenLane;
  /** Batches of the side that dialled go on it, and those of the other too when there is no `mailBack`. */
  readonly mail: OpenLane;
  /** Batches of the side that was dialled go on it. Undefined: one of the two does not know it. */
  readonly mailBack?: OpenLane | undefined;
  /** Opens an additional lane of the link: only the side that dialled can. */
  readonly openLane?: (kind: LaneKind, hello: LaneHello, signal: AbortSignal) => Promise<OpenLane>;
}

export interface LinkSettings {
  readonly self: Self;
  readonly signingKey: KeyObject;
  readonly heartbeat: HeartbeatOptions;
  readonly receive: (peer: Identity) => ReceiveBatch;
  /** Undefined: nothing is told of nodes. */
  readonly nodes?: NodesHost | undefined;
  /** Undefined: nothing is asked or answered here. */
  readonly requests?: RequestsHost | undefined;
  /** Undefined: nothing is passed on about others. */
  readonly acquaintances?: Acquaintance | undefined;
}

/** A link that is up: its control and mail lanes are open, others are added. It ends as a whole when one of them ends. */
export class Link {
  readonly peer: Identity;
  readonly dialled: boolean;
  readonly address: string;
  /** Who gave that address. Undefined: the other side dialled. */
  readonly source: ResolverName | undefined;
  readonly sinceMs = Date.now();
  /** How far the peer's clock is ahead, milliseconds. */
  readonly clockSkewMs: number;
  /** Names the peer's process, not the connection. */
  readonly peerInstance: string;
  /** Names the link on both sides. */
  readonly id: string;
  readonly live = new LiveMeter();
  readonly openLane: LinkParts['openLane'];
  readonly #capabilities: ReadonlySet<string>;
  readonly #lanes: Lane[];
  readonly #control: Lane;
  readonly #mail: readonly Lane[];
  readonly #sender: BatchSender;
  readonly #receiver: BatchReceiver;
  readonly #requests: LinkRequests | undefined;
  readonly #heartbeat: Heartbeat;
  readonly #nodes: { readonly holder: NodesHolder; readonly asker: NodesAsker } | undefined;
  readonly #acquaintance: LinkAcquaintance | undefined;
  readonly #closed: Promise<FedgateError>;
  #draining = false;
  #lostBatches = 0;
  readonly #extra = new Map<LaneKind, LaneWork>();
  #endAll: (reason: FedgateError) => void = () => undefined;
  #onDrain: ((reconnectAfterMs: number) => void) | undefined;

  constructor(
    { peer, dialled, address, source, control, mail, mailBack = mail, openLane }: LinkParts,
    { self, signingKey, heartbeat, receive, nodes, requests, acquaintances }: LinkSettings,
  ) {
    this.peer = peer;
    this.dialled = dialled;
    this.address = address;
    this.source = source;
    this.clockSkewMs = Number(control.hello.timeMs) - Date.now();
    this.peerInstance = Buffer.from(control.hello.instanceId).toString('hex');
    this.id = Buffer.from(control.hello.linkId).toString('hex');
    this.#capabilities = new Set(control.hello.capabilities);
    this.openLane = openLane;
    const [outgoing, incoming] = dialled ? [mail, mailBack] : [mailBack, mail];
    this.#mail = [...new Set([mail.lane, mailBack.lane])];
    this.#lanes = [control.lane, ...this.#mail];
    this.#control = control.lane;
    const limits = outgoing.hello.limits;
    if (!limits) throw new FedgateError('FRAME_UNEXPECTED', 'a hello without limits');
    const us = {
      federation: self.federation,
      originOrg: self.org,
      originGateway: self.gateway,
      recipientOrg: peer.org,
      streamEpoch: outgoing.ownEpoch,
    };
    const them = {
      federation: self.federation,
      originOrg: peer.org,
      originGateway: peer.name,
      recipientOrg: self.org,
      streamEpoch: incoming.hello.streamEpoch,
    };
    this.#sender = new BatchSender(outgoing.lane, us, limits, signingKey);
    this.#requests =
      requests &&
      new LinkRequests({
        peer,
        host: requests,
        send: batch => this.send(batch),
        cancelled: ids => outgoing.lane.put({ $case: 'requestCancel', value: { ids } }),
        close: error => this.close(error),
      });
    const deliver = receive(peer);
    const take: ReceiveBatch = (header, records) => this.#requests?.take(header, records) ?? deliver(header, records);
    const admit = (header: BatchHeader): void => this.#admit(header);
    this.#receiver = new BatchReceiver(incoming.lane, them, peer.publicKey, take, admit);
    this.#heartbeat = new Heartbeat(control.lane, this.#lanes, heartbeat);
    this.#nodes = nodes && {
      holder: new NodesHolder(control.lane, { own: self.org, peer: peer.org }, nodes),
      asker: new NodesAsker(control.lane, peer.org),
    };
    if (acquaintances && this.peerCan(ACQUAINTANCE))
      this.#acquaintance = new LinkAcquaintance(control.lane, peer.org, acquaintances);
    this.#closed = this.#tieTogether(acquaintances);
    control.lane.listen(frame => this.#onControl(frame));
    for (const lane of this.#mail)
      lane.listen(frame => this.#onMail(frame, lane === outgoing.lane, lane === incoming.lane));
    if (this.#acquaintance && !control.lane.closed.aborted) acquaintances?.joined(this.#acquaintance);
  }

  /** Resolves with the reason once the link is over. */
  get closed(): Promise<FedgateError> {
    return this.#closed;
  }

  /** Whether it takes new batches. */
  get usable(): boolean {
    return !this.#draining && ![this.#control, ...this.#mail].some(({ closed }) => closed.aborted);
  }

  get draining(): boolean {
    return this.#draining;
  }

  get roundTripMs(): number | undefined {
    return this.#heartbeat.roundTripMs;
  }

  get recordsSent(): number {
    return this.#sender.recordsSent;
  }

  get recordsReceived(): number {
    return this.#receiver.recordsReceived;
  }

  /** Batches on the way when the link ended. */
  get lostBatches(): number {
    return this.#lostBatches;
  }

  /** Whether the peer said that it has all of these capabilities. */
  peerCan(...capabilities: readonly string[]): boolean {
    return capabilities.every(capability => this.#capabilities.has(capability));
  }

  /** Whether an additional lane of that kind is open. */
  has(kind: LaneKind): boolean {
    return this.#extra.has(kind);
  }

  /** Takes an additional lane, one of each kind: from now on the link ends with it, and it with the link. */
  attach(kind: LaneKind, work: LaneWork): void {
    this.#extra.set(kind, work);
    this.#lanes.push(work.lane);
    this.#endsWith(work.lane);
  }

  /** As BatchSender.send. */
  send(batch: OutgoingBatch): Promise<DeliveryOutcome> {
    this.live.add(batch.records.bytes.length);
    return this.#sender.send(batch);
  }

  /**
   * Asks which nodes of the peer one of ours may know of, or whether there is the one of that name. Throws FEATURE_UNSUPPORTED,
   * LIMIT_REACHED.
   */
  askNodes(asker: string, node?: string): NodesMirror {
    if (this.#nodes && this.peerCan(PRESENCE)) return this.#nodes.asker.ask(asker, node);
    const { org } = this.peer;
    throw new FedgateError('FEATURE_UNSUPPORTED', `the gateway of ${org} does not tell of nodes`, {
      metadata: { org },
    });
  }

  /**
   * Asks the peer. It hears what becomes of it. Returns what ends the waiting without a word: the peer is told. When the peer cannot be asked
   * it fails with FEATURE_UNSUPPORTED.
   */
  ask(asked: Asked): () => void {
    const needed = asked.oneWay ? [REQUESTS, ONE_WAY] : [REQUESTS];
    if (this.#requests && needed.every(capability => this.peerCan(capability))) return this.#requests.ask(asked);
    const { org } = this.peer;
    const what = asked.oneWay ? 'no one-way requests' : 'no requests';
    asked.fail(
      new FedgateError('FEATURE_UNSUPPORTED', `the gateway of ${org} is of a version that knows ${what}`, {
        metadata: { org },
      }),
    );
    return () => undefined;
  }

  /** Hears that the peer is going away. */
  onDrain(listener: (reconnectAfterMs: number) => void): void {
    this.#onDrain = listener;
  }

  /** Takes nothing new, tells the peer, waits for open answers for at most `graceMs`, and closes. */
  async drain(reason: string, graceMs: number): Promise<void> {
    if (!this.#draining) {
      this.#draining = true;
      this.#control.put({ $case: 'drain', value: { reason, reconnectAfterMs: 0 } });
      this.#drainExtra();
    }
    await this.#idle(graceMs);
    this.close(new FedgateError('DRAINING', reason));
  }

  close(reason: FedgateError): void {
    this.#control.close(reason);
  }

  async #idle(graceMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const grace = new Promise<void>(resolve => {
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([Promise.all([this.#answered(), ...[...this.#extra.values()].map(work => work.idle())]), grace]);
    clearTimeout(timer);
  }

  /** Resolves once what was asked either way is answered, and all batches have their outcome: those of the last answers too. */
  async #answered(): Promise<void> {
    await this.#requests?.idle();
    await this.#sender.idle();
  }

  #tieTogether(acquaintances: Acquaintance | undefined): Promise<FedgateError> {
    return new Promise(resolve => {
      this.#endAll = reason => {
        this.#heartbeat.stop();
        this.#nodes?.holder.close();
        this.#nodes?.asker.close(reason);
        if (this.#acquaintance) {
          acquaintances?.left(this.#acquaintance);
          this.#acquaintance.close(reason);
        }
        this.#lostBatches += this.#sender.close(reason);
        this.#requests?.end(reason);
        for (const lane of this.#lanes) lane.close(reason);
        resolve(reason);
      };
      for (const lane of [...this.#lanes]) this.#endsWith(lane);
    });
  }

  #endsWith(lane: Lane): void {
    if (lane.closed.aborted) this.#endAll(lane.reason);
    else lane.closed.addEventListener('abort', () => this.#endAll(lane.reason), { once: true });
  }

  /** A gateway that knows no requests must not be sent any, nor answers that it never asked for. Throws what must end the link. */
  #admit(header: BatchHeader): void {
    if (header.requests.length + header.replies.length === 0) return;
    if (!this.#requests) throw new FedgateError('FRAME_UNEXPECTED', 'a batch of requests came to who knows none');
    this.#requests.admit(header);
  }

  #drainExtra(): void {
    for (const work of this.#extra.values()) work.drain();
  }

  #onControl(frame: IncomingFrame): void {
    if (frame.$case === 'ping' || frame.$case === 'pong') return this.#heartbeat.take(frame);
    if (this.#nodes && frame.$case === 'nodesAsk') return this.#nodes.holder.ask(frame.value);
    if (this.#nodes && frame.$case === 'nodesClose') return this.#nodes.holder.closeAsk(frame.value.id);
    if (this.#nodes && frame.$case === 'nodesTold') return this.#nodes.asker.take(frame.value);
    if (this.#acquaintance?.take(frame)) return;
    if (frame.$case !== 'drain') throw misplaced(frame, LANE.control);
    this.#draining = true;
    this.#drainExtra();
    this.#onDrain?.(frame.value.reconnectAfterMs);
  }

  /**
   * Outcomes go back on the lane that carried their batches: `outgoing` if it carries ours, `incoming` if it carries the peer's. They do not
   * fill a connection against its bulk: see ANSWERS_WINDOW_BYTES.
   */
  #onMail(frame: IncomingFrame, outgoing: boolean, incoming: boolean): void {
    if (frame.$case === 'sealed' && incoming) {
      this.live.add(frame.value.records.bytes.length);
      this.#receiver.take(frame.value);
    } else if (frame.$case === 'batchOutcome' && outgoing) this.#sender.settle(frame.value);
    else if (frame.$case === 'requestCancel' && incoming && this.#requests) this.#requests.takeCancel(frame.value.ids);
    else throw misplaced(frame, LANE.mail);
  }
}

const misplaced = (frame: IncomingFrame, lane: LaneKind): FedgateError =>
  new FedgateError('FRAME_UNEXPECTED', `a ${frame.$case} on the ${lane === LANE.mail ? 'mail' : 'control'} lane`);

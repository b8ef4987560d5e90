import { FedgateError } from '../errors.js';
import type { StreamFrame } from '../wire/stream-frames.js';
import type { Relay, Side } from './relay.js';
import { unexpected } from './terms.js';
import type { Port, Track } from './track.js';

export type Half = 'both' | 'send' | 'receive';

/** A call of a node that is attached to its end of a stream. */
export interface EndCall {
  readonly half: Half;
  readonly track: Track;
  /** The stream is there. Written before anything else. */
  opened(end: NodeEnd): void;
  /** Ends the call; undefined: as it should be. */
  finish(error: Error | undefined): void;
}

/** A node's end of a stream: the calls that are attached to it, which together are a leg. */
export class NodeEnd {
  readonly node: string;
  /** 16 bytes, hexadecimal. */
  readonly token: string;
  readonly relay: Relay;
  readonly side: Side;
  /** Why the node's certificate counts no longer; undefined: it does. */
  readonly complaint: () => FedgateError | undefined;
  /** Whether the stream was accepted: before that, the end that opened it only waits. */
  #accepted: boolean;
  #send: EndCall | undefined;
  #receive: EndCall | undefined;
  #port: Port | undefined;

  constructor(facts: Pick<NodeEnd, 'node' | 'token' | 'relay' | 'side' | 'complaint'>, accepted: boolean) {
    this.node = facts.node;
    this.token = facts.token;
    this.relay = facts.relay;
    this.side = facts.side;
    this.complaint = facts.complaint;
    this.#accepted = accepted;
  }

  /** Brings a call. What was attached for the same half, or as a whole, is ended. */
  attach(call: EndCall): void {
    if (this.#port) this.#leave('the node is attaching again');
    const replaced = new FedgateError('CANCELLED', 'another call is attached to the stream');
    if (call.half !== 'receive') {
      this.#end(this.#send, replaced);
      this.#send = call;
    }
    if (call.half !== 'send') {
      this.#end(this.#receive, replaced);
      this.#receive = call;
    }
    if (!this.#accepted) return;
    call.opened(this);
    this.#complete();
  }

  /** Somebody has accepted the stream that this end opened. */
  accepted(): void {
    if (this.#accepted) return;
    this.#accepted = true;
    for (const call of new Set([this.#send, this.#receive])) call?.opened(this);
    this.#complete();
  }

  /** A frame of a call. Throws FRAME_UNEXPECTED, CREDIT_EXCEEDED for one that breaks the rules, or is not of its half. */
  take(call: EndCall, frame: StreamFrame): void {
    const isCredit = frame.kind === 'credit';
    if (call.half === (isCredit ? 'send' : 'receive'))
      throw unexpected(`a ${frame.kind} frame came on the half that ${call.half === 'send' ? 'sends' : 'receives'}`);
    if (this.#port && (this.#send === call || this.#receive === call)) this.relay.take(this.side, frame, this.#port);
  }

  /** The node breaks it off, or broke the rules: `error` is for the other end. */
  reset(call: EndCall, error: FedgateError): void {
    if (this.#send === call || this.#receive === call) this.relay.end(error, this.#port);
  }

  /** A call is over, for whatever reason. */
  left(call: EndCall, why: string): void {
    if (this.#send !== call && this.#receive !== call) return;
    if (!this.#accepted) {
      this.#send = undefined;
      this.#receive = undefined;
      return this.relay.end(new FedgateError('CANCELLED', 'whoever opened the stream gave up'));
    }
    if (this.#send === call) this.#send = undefined;
    if (this.#receive === call) this.#receive = undefined;
    this.#leave(why);
  }

  /** Ends the calls. */
  close(error: Error | undefined): void {
    const calls = new Set([this.#send, this.#receive]);
    this.#send = undefined;
    this.#receive = undefined;
    this.#port = undefined;
    for (const call of calls) call?.finish(error);
  }

  #complete(): void {
    const [send, receive] = [this.#send, this.#receive];
    if (!send || !receive) return this.relay.await(this.side, `node ${this.node} has attached half of its end`);
    const port: Port = { forward: receive.track, back: send.track, close: error => this.close(error) };
    this.#port = port;
    this.relay.attach(this.side, port);
  }

  /** The leg is gone: what is left of it is ended, and the node attaches anew. */
  #leave(why: string): void {
    const port = this.#port;
    this.#port = undefined;
    const calls = new Set([this.#send, this.#receive]);
    this.#send = undefined;
    this.#receive = undefined;
    const reason = new FedgateError('CANCELLED', 'the other half of the end is gone');
    for (const call of calls) call?.finish(reason);
    if (port) this.relay.detach(this.side, port, why);
    else this.relay.await(this.side, why);
  }

  #end(call: EndCall | undefined, error: FedgateError): void {
    if (!call) return;
    if (this.#send === call) this.#send = undefined;
    if (this.#receive === call) this.#receive = undefined;
    call.finish(error);
  }
}

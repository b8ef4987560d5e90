import { connect, createServer, type Socket } from 'node:net';
import { serveWorker } from '../worker.js';
import { DelayedFlow } from './delayed-flow.js';
import { LimitedDirection } from './limited-direction.js';

/** A line between two gateways, in a process of its own: a proxy that delays bytes, or lets only so many through. */

export interface LineParams {
  /** Ports of 127.0.0.1. */
  readonly listen: number;
  readonly to: number;
  /** Delays each byte by half of this, milliseconds. 0: not at all. */
  readonly roundTripMs?: number;
  /** In each direction, all connections together. Undefined: as many as it can. */
  readonly bytesPerSecond?: number;
}

/** Moves bytes from one socket to another until one of them ends. */
type Flow = (from: Socket, to: Socket) => void;

const methods = {
  /** Answers when connections may come. */
  async open({ listen, to, roundTripMs = 0, bytesPerSecond }: LineParams): Promise<void> {
    const flow = (): Flow => {
      if (bytesPerSecond === undefined) return (from, onward) => new DelayedFlow(from, onward, roundTripMs / 2);
      const direction = new LimitedDirection(bytesPerSecond);
      return (from, onward) => direction.add(from, onward);
    };
    const [there, back] = [flow(), flow()];
    const server = createServer({ noDelay: true, allowHalfOpen: true }, near => {
      const far = connect({ port: to, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
      there(near, far);
      back(far, near);
      breakTogether(near, far);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(listen, '127.0.0.1', resolve);
    });
  },
};

export type LineMethods = typeof methods;
serveWorker(methods);

/** A connection that breaks breaks on the other side too; an end in good order goes the way of the bytes. */
function breakTogether(a: Socket, b: Socket): void {
  a.on('error', () => b.destroy());
  b.on('error', () => a.destroy());
}

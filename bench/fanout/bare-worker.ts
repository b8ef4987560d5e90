import { Metadata, type ServerDuplexStream, type ServerWritableStream } from '@grpc/grpc-js';
import { bareListener, type Tls } from '../bare-grpc.js';
import { serveWorker } from '../worker.js';
import { Bare } from './frames.js';

/**
 * The bare hub: the same stack and transport settings as a gateway, and nothing of what a gateway does. Every frame of the publisher is
 * written to all subscribers as it is, and answered once all of them take more.
 */

type Subscriber = ServerWritableStream<Buffer, Buffer>;

const subscribers = new Set<Subscriber>();

const methods = {
  async serve(tls: Tls): Promise<string> {
    const listener = bareListener('bare hub', tls, undefined, 1_000);
    listener.addService(Bare, { subscribe, publish });
    await listener.start();
    return listener.address;
  },
};

export type BareMethods = typeof methods;
serveWorker(methods);

function subscribe(call: Subscriber): void {
  subscribers.add(call);
  call.once('cancelled', () => subscribers.delete(call));
  call.sendMetadata(new Metadata());
  call.write(Buffer.of(0));
}

function publish(call: ServerDuplexStream<Buffer, Buffer>): void {
  call.on('data', (frame: Buffer) => {
    let blocked = 0;
    for (const subscriber of subscribers) {
      if (subscriber.write(frame)) continue;
      blocked++;
      subscriber.once('drain', () => {
        if (--blocked > 0) return;
        call.write(Buffer.of(1));
        call.resume();
      });
    }
    if (blocked > 0) call.pause();
    else call.write(Buffer.of(1));
  });
}

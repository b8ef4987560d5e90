import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { Metadata, type ServerReadableStream, type ServerWritableStream, type sendUnaryData } from '@grpc/grpc-js';
import { letHeapGrow } from '../../src/heap-growth.js';
import {
  bareListener,
  bareMethod,
  openBareChannel,
  type Sink,
  type Target,
  type Tls,
  untouched,
} from '../bare-grpc.js';
import { FILE_WINDOWS } from '../windows.js';
import { serveWorker } from '../worker.js';
import { HashedFile } from './hashed-file.js';

/**
 * The bare relay for files: the same stack and hops as fedgate without anything that makes it fedgate. A file flows through all hops at
 * once; both relays and the receiver hash it, write it and sync it before they answer. Nothing is looked up by name, checked for access or
 * cut into pieces, and nothing survives a broken connection.
 */

const Relay = {
  /** Chunks come in; the answer is the SHA-256 of what all from here on have on stable storage. */
  push: bareMethod('/bench.FileRelay/Push', { requestStream: true, responseStream: false }),
  /** Chunks of the next file go out to the receiver. */
  pull: bareMethod('/bench.FileRelay/Pull', { requestStream: false, responseStream: true }),
};

const CHUNK_BYTES = 256 * 1024;

let received: Promise<string> | undefined;

const methods = {
  /** Starts a relay that stores at `path`. With `next` chunks go there too, else to whoever pulls. */
  async relay({ next, path, ...tls }: Tls & { next?: Target; path: string }): Promise<string> {
    let puller: ServerWritableStream<Buffer, Buffer> | undefined;
    const onward = next && openBareChannel(next, FILE_WINDOWS);
    const listener = bareListener('bare file relay', tls, FILE_WINDOWS);
    listener.addService(Relay, {
      push: (call: ServerReadableStream<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
        const file = new HashedFile(path);
        const forward = onward ? push(onward) : pullerSink(puller);
        relay(call, file, forward).then(
          digest => answer(null, Buffer.from(digest)),
          error => answer(error),
        );
      },
      pull: (call: ServerWritableStream<Buffer, Buffer>) => {
        puller = call;
        call.sendMetadata(new Metadata());
      },
    });
    await listener.start();
    return listener.address;
  },

  /** Sends a file. Answers with its SHA-256 when both relays have it on stable storage. */
  async send({ file, ...target }: Target & { file: string }): Promise<string> {
    const channel = openBareChannel(target, FILE_WINDOWS);
    const forward = push(channel);
    for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES })) await put(chunk, forward.sink);
    const digest = await forward.end();
    channel.close();
    return digest;
  },

  /** Answers once the relay knows the receiver. */
  async receive({ path, ...target }: Target & { path: string }): Promise<void> {
    const channel = openBareChannel(target, FILE_WINDOWS);
    const call = channel.makeServerStreamRequest(Relay.pull.path, untouched, untouched, Buffer.alloc(0));
    received = (async () => {
      const file = new HashedFile(path);
      for await (const chunk of call) await put(chunk, file);
      channel.close();
      return await file.finish();
    })();
    await once(call, 'metadata');
  },

  /** The SHA-256 of what came, once it is on stable storage. */
  received: (): Promise<string> => received ?? Promise.reject(new Error('nothing is being received')),
};

export type FileRelayMethods = typeof methods;
// All of them, as gateways and the commands for files do.
letHeapGrow('gateway');
serveWorker(methods);

/** Where chunks go on to. `end` resolves with the SHA-256 of what is stored there, or '' when nobody says. */
interface Forward {
  readonly sink: Sink;
  end(): Promise<string>;
}

function push(channel: ReturnType<typeof openBareChannel>): Forward {
  let answer: (digest: string) => void;
  let refuse: (error: Error) => void;
  const answered = new Promise<string>((resolve, reject) => {
    answer = resolve;
    refuse = reject;
  });
  const call = channel.makeClientStreamRequest(
    Relay.push.path,
    untouched,
    untouched,
    (error: Error | null, digest?: Buffer) => (error ? refuse(error) : answer(String(digest))),
  );
  return {
    sink: call,
    end: () => {
      call.end();
      return answered;
    },
  };
}

function pullerSink(puller: ServerWritableStream<Buffer, Buffer> | undefined): Forward {
  if (!puller) throw new Error('nobody pulls yet');
  return {
    sink: puller,
    end: async () => {
      puller.end();
      return '';
    },
  };
}

async function relay(from: AsyncIterable<Buffer>, file: HashedFile, forward: Forward): Promise<string> {
  for await (const chunk of from) await Promise.all([put(chunk, file), put(chunk, forward.sink)]);
  const [digest, further] = await Promise.all([file.finish(), forward.end()]);
  if (further !== '' && further !== digest) throw new Error('the next relay has another file');
  return digest;
}

/** Resolves when the next may be written. */
async function put(chunk: Buffer, sink: Sink): Promise<void> {
  if (!sink.write(chunk)) await new Promise<void>(resolve => sink.once('drain', resolve));
}

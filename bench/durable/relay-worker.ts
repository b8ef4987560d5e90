import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata, type ServerDuplexStream } from '@grpc/grpc-js';
import { type Database, open } from 'lmdb';
import { letHeapGrow } from '../../src/heap-growth.js';
import type { KeyAndCertificate } from '../../src/identity/issue.js';
import { bareListener, bareMethod, openBareChannel, pass, type Target, type Tls, untouched } from '../bare-grpc.js';
import { FRAME_BYTES, makeFrame } from '../frames.js';
import { type MeasureParams, Meter } from '../meter.js';
import { serveWorker } from '../worker.js';

/**
 * The bare durable relay: the least that has the guarantees of durable delivery, and the limit of the stack for it.
 *
 * The first relay hashes and signs each frame, syncs it and sends it on; the second verifies it, syncs it, answers, and hands it to the
 * consumer, whose acknowledgement it syncs too. The publisher has its answer when both have synced. Nothing is read by name, checked for
 * access, deduplicated, merged or removed; nothing survives a broken connection.
 */

const Relay = {
  push: bareMethod('/bench.DurableRelay/Push', { requestStream: true, responseStream: true }),
  pull: bareMethod('/bench.DurableRelay/Pull', { requestStream: true, responseStream: true }),
};

/** What a publisher has on its way before it waits for answers: what a gateway lets it have. */
const WINDOW_FRAMES = (8 * 1024 * 1024) / FRAME_BYTES;

const meter = new Meter();

const methods = {
  /** Starts the first relay, in front of another. */
  async first({ next, ...tls }: Tls & { next: Target }): Promise<string> {
    letHeapGrow('gateway');
    const store = openStore();
    const key = createPrivateKey(tls.identity.key);
    return await listen('first durable relay', tls, {
      push: call => {
        const onward = bidi(next, Relay.push.path);
        let sequence = 0;
        call.on('data', (frame: Buffer) => {
          const sealed = seal(frame, ++sequence, key);
          void store.put(numberBytes(sequence), sealed).then(() => pass(sealed, call, onward));
        });
        onward.on('data', (answer: Buffer) => call.write(answer));
      },
      pull: call => call.emit('error', new Error('nothing to pull here')),
    });
  },

  /** Starts the second relay. */
  async second({ from, ...tls }: Tls & { from: KeyAndCertificate['certificate'] }): Promise<string> {
    letHeapGrow('gateway');
    const store = openStore();
    const key = createPublicKey(from);
    let consumer: ServerDuplexStream<Buffer, Buffer> | undefined;
    return await listen('second durable relay', tls, {
      push: call => {
        call.on('data', (sealed: Buffer) => {
          const { sequence, frame } = unseal(sealed, key);
          void store.put(sequence, sealed).then(() => {
            call.write(sequence);
            if (consumer) pass(frame, call, consumer);
          });
        });
      },
      pull: call => {
        consumer = call;
        call.sendMetadata(new Metadata());
        call.on('data', (acknowledged: Buffer) => {
          void store.put(CURSOR, acknowledged).then(() => call.write(acknowledged));
        });
      },
    });
  },

  publish({ payloadBytes, ...target }: Target & { payloadBytes: number }): void {
    const { bytes } = makeFrame(payloadBytes);
    const call = bidi(target, Relay.push.path);
    let unanswered = 0;
    let writable = true;
    const fill = (): void => {
      while (writable && unanswered < WINDOW_FRAMES) {
        unanswered++;
        writable = call.write(bytes);
      }
    };
    call.on('drain', () => {
      writable = true;
      fill();
    });
    call.on('data', () => {
      unanswered--;
      fill();
    });
    fill();
  },

  /** Counts what it acknowledged and what is settled. Answers once the relay knows it. */
  async consume({ payloadBytes, ...target }: Target & { payloadBytes: number }): Promise<void> {
    const { records } = makeFrame(payloadBytes);
    const call = bidi(target, Relay.pull.path);
    let frames = 0;
    call.on('data', (message: Buffer) => {
      if (message.length === NUMBER_BYTES) meter.add(records);
      else call.write(numberBytes(++frames));
    });
    await once(call, 'metadata');
  },

  measure: (params: MeasureParams) => meter.measure(params),
};

export type DurableRelayMethods = typeof methods;
serveWorker(methods);

const bidi = (target: Target, path: string) =>
  openBareChannel(target).makeBidiStreamRequest(path, untouched, untouched);

type Handler = (call: ServerDuplexStream<Buffer, Buffer>) => void;

async function listen(name: string, tls: Tls, handlers: { push: Handler; pull: Handler }): Promise<string> {
  const listener = bareListener(name, tls);
  listener.addService(Relay, handlers);
  await listener.start();
  return listener.address;
}

/** Mapping anew while the file grows cost a sixth of the rate. It takes no room before it is written. */
const MAP_BYTES = 8 * 1024 ** 3;

/** A put resolves when it is synced; those of one turn, and those that come during a sync, share the next. */
function openStore(): Database<Buffer, Buffer> {
  const path = mkdtempSync(join(tmpdir(), 'fedgate-bench-relay-'));
  process.once('exit', () => rmSync(path, { recursive: true, force: true }));
  return open<Buffer, Buffer>({
    path,
    encoding: 'binary',
    keyEncoding: 'binary',
    overlappingSync: false,
    mapSize: MAP_BYTES,
  });
}

const NUMBER_BYTES = 8;
const CURSOR = Buffer.from('cursor');
const SIGNATURE_AT = NUMBER_BYTES + 1;

function numberBytes(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(NUMBER_BYTES);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

const signedBytes = (sequence: Buffer, frame: Buffer): Buffer =>
  Buffer.concat([sequence, createHash('sha256').update(frame).digest()]);

/** Sequence, length of the signature, signature, frame. */
function seal(frame: Buffer, sequence: number, key: KeyObject): Buffer {
  const number = numberBytes(sequence);
  const signature = sign('sha256', signedBytes(number, frame), key);
  return Buffer.concat([number, Buffer.of(signature.length), signature, frame]);
}

function unseal(sealed: Buffer, key: KeyObject): { sequence: Buffer; frame: Buffer } {
  const sequence = sealed.subarray(0, NUMBER_BYTES);
  const frameAt = SIGNATURE_AT + (sealed[NUMBER_BYTES] ?? 0);
  const frame = sealed.subarray(frameAt);
  if (!verify('sha256', signedBytes(sequence, frame), key, sealed.subarray(SIGNATURE_AT, frameAt))) {
    throw new Error('the signature of a frame does not hold');
  }
  return { sequence, frame };
}

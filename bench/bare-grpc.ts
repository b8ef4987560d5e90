import type { Readable } from 'node:stream';
import type { Client, MethodDefinition } from '@grpc/grpc-js';
import type { KeyAndCertificate } from '../src/identity/issue.js';
import { parseHostPort } from '../src/identity/names.js';
import { openChannel } from '../src/transport/channel.js';
import { Listener, MAX_MESSAGE_BYTES } from '../src/transport/server.js';
import { type OpenWindows, WINDOWS } from './windows.js';

/** The stack of fedgate without fedgate: its transport settings, and methods whose messages are buffers that nobody looks into. */

export interface Tls {
  readonly identity: KeyAndCertificate;
  readonly authorities: readonly string[];
}

export interface Target extends Tls {
  readonly address: string;
  readonly serverName: string;
}

export const untouched = (bytes: Buffer): Buffer => bytes;

export const bareMethod = (
  path: string,
  { requestStream, responseStream }: { readonly requestStream: boolean; readonly responseStream: boolean },
): MethodDefinition<Buffer, Buffer> => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: untouched,
  requestDeserialize: untouched,
  responseSerialize: untouched,
  responseDeserialize: untouched,
});

export const openBareChannel = (target: Target, windows: OpenWindows = WINDOWS): Client =>
  openChannel({ ...target, window: windows.stream, maxReceiveBytes: MAX_MESSAGE_BYTES });

export const bareListener = (
  name: string,
  tls: Tls,
  windows: OpenWindows = WINDOWS,
  maxConcurrentStreams = 100,
): Listener =>
  new Listener({
    name,
    listen: parseHostPort('127.0.0.1:0', 'listen', { allowPortZero: true }),
    ...tls,
    windows,
    maxConcurrentStreams,
  });

export interface Sink {
  write(frame: Buffer): boolean;
  once(event: 'drain', listener: () => void): unknown;
}

/** Writes what was read; never reads more than the other side takes. */
export function pass(frame: Buffer, from: Pick<Readable, 'pause' | 'resume' | 'isPaused'>, to: Sink): void {
  if (to.write(frame) || from.isPaused()) return;
  from.pause();
  to.once('drain', () => from.resume());
}

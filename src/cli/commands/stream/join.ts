import type { Socket } from 'node:net';
import type { ByteStream } from '../../../client/index.js';
import { describe, FedgateError } from '../../../errors.js';

/** How one connection ended. */
export interface JoinEnd {
  /** Bytes from the socket to the stream, and back. */
  readonly sent: number;
  readonly received: number;
  readonly error: FedgateError | undefined;
}

/**
 * Joins a TCP connection and a byte stream: bytes both ways, the end of either way by itself, and that one of them broke. Resolves when both are
 * over. The socket must allow to be half open.
 */
export function join(socket: Socket, stream: ByteStream): Promise<JoinEnd> {
  let error: FedgateError | undefined;
  socket.on('error', cause => {
    error ??= new FedgateError('STREAM_RESET', `the TCP connection broke: ${describe(cause)}`, { cause });
    // The other end may be in another organisation, which need not know what is connected here, and where.
    const { code } = cause as NodeJS.ErrnoException;
    const what = 'the TCP connection behind the other end broke';
    stream.destroy(new FedgateError('STREAM_RESET', code ? `${what} (${code})` : what));
  });
  stream.on('error', cause => {
    error ??= cause as FedgateError;
    socket.resetAndDestroy();
  });
  socket.pipe(stream);
  stream.pipe(socket);
  return new Promise(resolve => {
    let open = 2;
    const closed = (): void => {
      if (--open === 0) resolve({ sent: socket.bytesRead, received: socket.bytesWritten, error });
    };
    socket.on('close', () => {
      // One that was closed before the other end had everything.
      if (!stream.destroyed && !stream.writableEnded)
        stream.destroy(new FedgateError('STREAM_RESET', 'the TCP connection was closed'));
      closed();
    });
    stream.on('close', closed);
  });
}

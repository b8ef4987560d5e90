import { connect, constants } from 'node:http2';
import type { KeyAndCertificate } from '../../src/identity/issue.js';

export interface CompressedCall {
  /** `host:port`. */
  readonly address: string;
  readonly identity: KeyAndCertificate;
  /** Of the method. */
  readonly path: string;
  /** Compressed with gzip. */
  readonly message: Buffer;
}

/**
 * Sends one message that says it is compressed, by HTTP/2 itself: grpc-js takes the header away from callers who set it. Resolves with the status
 * that the call ended with, and its text.
 */
export async function sendCompressed({
  address,
  identity,
  path,
  message,
}: CompressedCall): Promise<{ readonly status: number; readonly text: string }> {
  const session = connect(`https://${address}`, {
    cert: identity.certificate,
    key: identity.key,
    rejectUnauthorized: false,
  });
  try {
    return await new Promise((resolve, reject) => {
      session.on('error', reject);
      const stream = session.request({
        [constants.HTTP2_HEADER_METHOD]: 'POST',
        [constants.HTTP2_HEADER_PATH]: path,
        [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
        [constants.HTTP2_HEADER_TE]: 'trailers',
        'grpc-encoding': 'gzip',
      });
      const end = (headers: NodeJS.Dict<string | string[]>): void => {
        const status = headers['grpc-status'];
        if (status !== undefined)
          resolve({ status: Number(status), text: decodeURIComponent(String(headers['grpc-message'] ?? '')) });
      };
      stream.on('error', reject);
      stream.on('response', end);
      stream.on('trailers', end);
      stream.on('close', () => reject(new Error('the call ended without a status')));
      stream.resume();
      const prefix = Buffer.alloc(5);
      prefix.writeUInt8(1);
      prefix.writeUInt32BE(message.length, 1);
      stream.end(Buffer.concat([prefix, message]));
    });
  } finally {
    session.destroy();
  }
}

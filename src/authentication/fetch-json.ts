import { get } from 'node:https';
import { FedgateError } from '../errors.js';

/** The most bytes of a document of an issuer. */
export const MAX_DOCUMENT_BYTES = 256 * 1024;
/** How long an issuer has to answer, all of it, milliseconds. */
export const FETCH_TIMEOUT_MS = 5_000;

/** PEM of the CAs that the server's certificate must come from; undefined: those that Node knows. */
export type FetchJson = (url: string, ca: string | undefined) => Promise<unknown>;

/** Gets a JSON document over https: one answer of status 200, no redirects, TLS 1.2 or newer. Throws AUTHENTICATOR_UNAVAILABLE. */
export const fetchJson: FetchJson = (url, ca) =>
  new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void =>
      reject(new FedgateError('AUTHENTICATOR_UNAVAILABLE', `${url}: ${why}`, { cause }));
    if (!url.startsWith('https://')) return fail('is not https');
    const signal = AbortSignal.timeout(FETCH_TIMEOUT_MS);
    const options = {
      ca,
      signal,
      headers: { accept: 'application/json' },
      agent: false,
      minVersion: 'TLSv1.2',
    } as const;
    const request = get(url, options, response => {
      if (response.statusCode !== 200) {
        response.destroy();
        return fail(`answered with status ${response.statusCode}`);
      }
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_DOCUMENT_BYTES) {
          response.destroy();
          fail(`is longer than ${MAX_DOCUMENT_BYTES} bytes`);
        } else chunks.push(chunk);
      });
      response.on('error', error => fail(error.message, error));
      response.on('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
        } catch {
          fail('is no JSON');
        }
      });
    });
    request.on('error', error => fail(signal.aborted ? `no answer in ${FETCH_TIMEOUT_MS} ms` : error.message, error));
  });

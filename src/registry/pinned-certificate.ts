import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { describe, FedgateError } from '../errors.js';
import { parseHostPort } from '../identity/names.js';

/** Longest wait for an answer of the registry at one address, unless asked otherwise. */
export const DEFAULT_TIMEOUT_MS = 5_000;

/**
 * Reads the certificate of whoever answers at an address, and returns it (PEM) if it has the promised SHA-256 fingerprint.
 *
 * The one place where TLS is asked not to judge: the fingerprint, which came with the invitation, judges instead, and nothing is sent.
 * Throws REGISTRY_UNTRUSTED or REGISTRY_UNREACHABLE.
 */
export async function fetchPinnedCertificate(
  address: string,
  sha256: Uint8Array,
  {
    signal,
    timeoutMs = DEFAULT_TIMEOUT_MS,
  }: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number } = {},
): Promise<string> {
  const certificate = new X509Certificate(await readServerCertificate(address, timeoutMs, signal));
  const found = createHash('sha256').update(certificate.raw).digest();
  if (found.length !== sha256.length || !timingSafeEqual(found, sha256)) throw untrusted(address);
  return certificate.toString();
}

function readServerCertificate(address: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<Buffer> {
  throwIfAborted(signal);
  const { host, port } = parseHostPort(address, 'address');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] });
    const unreachable = (why: string, cause?: unknown): void =>
      finish(() =>
        reject(
          new FedgateError('REGISTRY_UNREACHABLE', `the registry at ${address} does not answer: ${why}`, { cause }),
        ),
      );
    const timer = setTimeout(() => unreachable(`nothing for ${timeoutMs} ms`), timeoutMs);
    const cancel = (): void => finish(() => reject(cancelled()));
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
      socket.destroy();
      settle();
    };
    signal?.addEventListener('abort', cancel, { once: true });
    socket.once('secureConnect', () => {
      const { raw } = socket.getPeerCertificate();
      finish(() => (raw ? resolve(raw) : reject(untrusted(address))));
    });
    // Also after it was settled: a socket may fail while it is torn down.
    socket.on('error', error => unreachable(describe(error), error));
    socket.once('close', () => unreachable('it closed the connection'));
  });
}

/** REGISTRY_UNTRUSTED, for whoever answers at an address. */
export const untrusted = (address: string, cause?: unknown): FedgateError =>
  new FedgateError('REGISTRY_UNTRUSTED', `${address}: whoever answers there does not have the registry's certificate`, {
    metadata: { address },
    ...(cause === undefined ? {} : { cause }),
  });

const cancelled = (): FedgateError => new FedgateError('CANCELLED', 'given up');

/** Throws CANCELLED. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled();
}

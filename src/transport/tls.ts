import { constants, X509Certificate } from 'node:crypto';
import type { SecureServerOptions } from 'node:http2';
import { checkServerIdentity, type SecureContextOptions } from 'node:tls';
import { CallCredentials, ChannelCredentials, credentials, Metadata, ServerCredentials, status } from '@grpc/grpc-js';
import { describe } from '../errors.js';
import type { KeyAndCertificate } from '../identity/issue.js';

/**
 * TLS as grpc-js does not offer it by itself: windows for what the server receives, limits of the HTTP/2 layer, and material that
 * changes while the server runs.
 */

/** Flow-control windows, bytes. grpc-js leaves what a server receives at 64 KiB, which is 0.4 MB/s at 100 ms. */
export interface Windows {
  /** For one call. */
  readonly stream: number;
  /** For all calls of one connection. Memory: this many bytes per connection whose reader stalls. */
  readonly connection: number;
}

export interface ServerTlsOptions {
  readonly identity: KeyAndCertificate;
  /** PEM of the CAs whose leaves may connect. */
  readonly authorities: readonly string[];
  /**
   * Whether a caller is let in that shows no certificate, or one that TLS does not accept, to be judged by its calls. The registry does, for
   * those who join, and a node listener that takes tokens.
   */
  readonly allowAnonymous?: boolean;
  readonly windows: Windows;
  readonly maxConcurrentStreams: number;
}

/** Server credentials whose certificate and CAs can be replaced while calls go on. New connections see the new material. */
export class SwappableServerCredentials extends ServerCredentials {
  constructor(options: ServerTlsOptions) {
    super(httpOptions(options), contextOptions(options.identity, options.authorities));
  }

  swap(identity: KeyAndCertificate, authorities: readonly string[]): void {
    this.updateSecureContextOptions(contextOptions(identity, authorities));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function httpOptions(options: ServerTlsOptions): SecureServerOptions {
  return {
    requestCert: true,
    rejectUnauthorized: options.allowAnonymous !== true,
    // A caller has to finish its handshake in this time, or an idle socket would cost as much as a busy one.
    handshakeTimeout: 10_000,
    settings: {
      initialWindowSize: options.windows.stream,
      maxConcurrentStreams: options.maxConcurrentStreams,
      maxHeaderListSize: 16 * 1024,
    },
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
  } as SecureServerOptions;
}

const contextOptions = (identity: KeyAndCertificate, authorities: readonly string[]): SecureContextOptions => ({
  key: identity.key,
  cert: identity.certificate,
  // An empty list would mean "the system's CAs"; nobody's certificate is signed by our own leaf.
  ca: authorities.length > 0 ? [...authorities] : [identity.certificate],
  minVersion: 'TLSv1.3',
  // A resumed session keeps the identity of the first one without showing its certificate again.
  secureOptions: constants.SSL_OP_NO_TICKET,
});

export interface ClientTlsOptions {
  /** The caller's own certificate. Undefined: it has none yet. */
  readonly identity?: KeyAndCertificate | undefined;
  /** PEM of the CAs that the server's certificate must come from. */
  readonly authorities: readonly string[];
  /**
   * Judges the server's certificate once TLS has accepted it; what it throws ends the handshake. Undefined: the certificate must carry
   * the DNS name that is dialled, or every leaf of that CA could answer as the server.
   */
  readonly checkServer?: (leaf: X509Certificate) => void;
  /** The bearer token that each call carries, asked for with each. Undefined: none. */
  readonly token?: (() => Promise<string>) | undefined;
}

export function clientCredentials(options: ClientTlsOptions): ChannelCredentials {
  const { token } = options;
  const channel = channelCredentials(options);
  return token ? credentials.combineChannelCredentials(channel, tokenCredentials(token)) : channel;
}

/** gRPC sends these over TLS only. */
function tokenCredentials(token: () => Promise<string>): CallCredentials {
  return CallCredentials.createFromMetadataGenerator((_params, done) => {
    token().then(
      text => {
        const metadata = new Metadata();
        metadata.set('authorization', `Bearer ${text}`);
        done(null, metadata);
      },
      // With this code the call is one that was never made.
      error => done(Object.assign(new Error(describe(error)), { code: status.UNAVAILABLE })),
    );
  });
}

function channelCredentials({ identity, authorities, checkServer }: ClientTlsOptions): ChannelCredentials {
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  return ChannelCredentials.createSsl(
    Buffer.from(authorities.join('\n')),
    pem(identity?.key),
    pem(identity?.certificate),
    {
      checkServerIdentity: (host, certificate) => {
        if (!checkServer) return checkServerIdentity(host, certificate);
        try {
          checkServer(new X509Certificate(certificate.raw));
          return undefined;
        } catch (error) {
          return error as Error;
        }
      },
    },
  );
}

import { constants, type Http2SecureServer, type IncomingHttpHeaders, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { Server, type ServerOptions, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { FedgateError } from '../errors.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import { formatHostPort, type HostPort } from '../identity/names.js';
import type { CallerCertificate } from './calls.js';
import { type ServerTlsOptions, SwappableServerCredentials } from './tls.js';

/** How often, and how patiently, both ends of a connection ask whether the other is there. The same on both sides. */
export const KEEPALIVE = { 'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': 5_000 } as const;

/** The largest message any listener reads, bytes. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** What a connection that is cut has for its last frames, milliseconds. */
const LAST_FRAMES_MS = 200;

export interface ListenerOptions extends ServerTlsOptions {
  readonly listen: HostPort;
  /** For messages: `node listener`. */
  readonly name: string;
  /** With `allowAnonymous`: whether a certificate that is shown must be one that TLS accepts, or the connection ends. */
  readonly certificatesMustHold?: boolean;
  /** Hears of callers that TLS refused, with `host:port` of each. */
  readonly onHandshakeRefused?: (error: Error, remoteAddress: string) => void;
  /** Hears of each connection. */
  readonly onConnection?: (connection: Connection) => void;
}

/** A connection on which calls may come. */
export interface Connection {
  /** Undefined: the other end showed none. */
  readonly certificate: CallerCertificate | undefined;
  /** `ip:port` of its socket. */
  readonly remoteAddress: string;
  /** Hears once that it is over: the other end said goodbye (HTTP/2 GOAWAY, as gRPC clients do when they close), or it just ended. */
  onEnd(listener: (why: 'closed' | 'lost') => void): void;
}

/** A gRPC server on one port, with windows on what it receives and certificates that can be swapped. */
export class Listener {
  readonly #server: Server;
  readonly #credentials: SwappableServerCredentials;
  readonly #options: ListenerOptions;
  readonly #sockets = new Set<Socket>();
  #port = 0;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#credentials = new SwappableServerCredentials(options);
    const serverOptions: ServerOptions = {
      ...KEEPALIVE,
      'grpc.max_concurrent_streams': options.maxConcurrentStreams,
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': -1,
      'grpc.enable_channelz': 0,
    };
    this.#server = new Server(serverOptions);
  }

  get port(): number {
    return this.#port;
  }

  /** Where it listens, with the port that was really taken. */
  get address(): string {
    return formatHostPort({ host: this.#options.listen.host, port: this.#port });
  }

  addService(definition: ServiceDefinition, implementation: UntypedServiceImplementation): void {
    this.#server.addService(definition, implementation);
  }

  /** Throws ADDRESS_UNUSABLE. */
  async start(): Promise<void> {
    const target = formatHostPort(this.#options.listen);
    this.#port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(target, this.#credentials, (error, port) =>
        error ? reject(this.#bindError(target, error)) : resolve(port),
      );
    });
    this.#watchConnections();
  }

  #bindError(target: string, cause: Error): FedgateError {
    const why = cause.message.includes('EADDRINUSE')
      ? 'another process listens there'
      : cause.message.includes('EACCES')
        ? 'this user may not listen there'
        : cause.message;
    return new FedgateError('ADDRESS_UNUSABLE', `${this.#options.name}: cannot listen on ${target}: ${why}`, { cause });
  }

  /** grpc-js keeps its HTTP/2 servers private and has no option for this; the version is pinned and a test measures the effect. */
  #watchConnections(): void {
    const { http2Servers } = this.#server as unknown as { http2Servers: ReadonlyMap<Http2SecureServer, unknown> };
    for (const server of http2Servers.keys()) {
      server.on('session', (session: ServerHttp2Session) => {
        session.setLocalWindowSize(this.#options.windows.connection);
        this.#tellConnection(session);
      });
      server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
        // Node destroys the socket of an unwelcome certificate and says ECONNRESET; why stands on the socket.
        const why = socket.authorizationError as unknown as string | undefined;
        // A probe that connects and leaves, as load balancers do, is no refusal.
        if (!why && (error as NodeJS.ErrnoException).code === 'ECONNRESET') return;
        const remote = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
        this.#options.onHandshakeRefused?.(why ? new Error(why) : error, remote);
      });
      server.on('secureConnection', rememberCertificate);
      if (this.#options.certificatesMustHold) server.on('secureConnection', socket => this.#refuseUnverified(socket));
      if (this.#options.allowAnonymous) server.prependListener('stream', showAllAuthorizations);
      server.on('connection', (socket: Socket) => {
        this.#sockets.add(socket);
        socket.once('close', () => this.#sockets.delete(socket));
      });
    }
  }

  /** grpc-js takes who shows a certificate that does not hold for one who shows none. */
  #refuseUnverified(socket: TLSSocket): void {
    if (socket.authorized || !socket.getPeerX509Certificate()) return;
    const why = socket.authorizationError as unknown as string;
    this.#options.onHandshakeRefused?.(
      new Error(why),
      `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`,
    );
    socket.destroy();
  }

  #tellConnection(session: ServerHttp2Session): void {
    const { onConnection } = this.#options;
    if (!onConnection) return;
    const socket = session.socket as TLSSocket;
    const certificate = socket.getPeerX509Certificate?.();
    let why: 'closed' | 'lost' = 'lost';
    session.once('goaway', (code: number) => {
      if (code === constants.NGHTTP2_NO_ERROR) why = 'closed';
    });
    onConnection({
      certificate: certificate && { fingerprint: certificate.fingerprint256, read: () => certificate },
      remoteAddress: `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`,
      onEnd: listener => session.once('close', () => listener(why)),
    });
  }

  /** New connections are judged by these from now on; open ones stay as they are. */
  swap(identity: KeyAndCertificate, authorities: readonly string[]): void {
    this.#credentials.swap(identity, authorities);
  }

  /** Stops listening, lets open calls end for `graceMs`, then cuts them. */
  async stop(graceMs: number): Promise<void> {
    const timers: NodeJS.Timeout[] = [];
    await new Promise<void>(resolve => {
      const giveUp = (): void => resolve();
      const cut = (): void => {
        for (const socket of this.#sockets) socket.destroy();
        // A session that stood still when its keep-alive ended it never says that it is over, and grpc-js waits for it.
        timers.push(setTimeout(giveUp, LAST_FRAMES_MS));
      };
      const force = (): void => {
        this.#server.forceShutdown();
        // A session whose other side is silent ends only when its keep-alive does; its socket goes without asking.
        timers.push(setTimeout(cut, LAST_FRAMES_MS));
      };
      timers.push(setTimeout(force, graceMs));
      this.#server.tryShutdown(() => resolve());
    });
    for (const timer of timers) clearTimeout(timer);
    this.#server.forceShutdown();
  }
}

/** Of several headers `authorization` Node keeps the first; whoever judges calls by it shall see that there were more. */
function showAllAuthorizations(
  _stream: unknown,
  headers: IncomingHttpHeaders,
  _flags: number,
  raw?: readonly string[],
): void {
  if (!raw || headers.authorization === undefined) return;
  const values = raw.filter((_, i) => i % 2 === 1 && raw[i - 1]?.toLowerCase() === 'authorization');
  if (values.length > 1) headers.authorization = values.join(',');
}

/**
 * grpc-js has the caller's certificate read with every call, 0.1 ms each. It cannot change while a connection lasts: TLS 1.3 does not
 * renegotiate, and nobody asks for another one.
 */
function rememberCertificate(socket: TLSSocket): void {
  const read = socket.getPeerCertificate.bind(socket) as () => PeerCertificate;
  let known: PeerCertificate | undefined;
  Object.defineProperty(socket, 'getPeerCertificate', {
    value: () => {
      known ??= read();
      return known;
    },
  });
}

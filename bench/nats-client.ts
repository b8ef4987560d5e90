import { createRequire } from 'node:module';
import { packageRoot } from '../src/package-root.js';

/** The part of @nats-io/transport-node 3 that the benchmark calls. It is installed by `npm run bench:setup`, in bench/. */
export interface NatsConnection {
  publish(subject: string, payload: Uint8Array, options?: { reply: string }): void;
  /** Resolves when the server has taken everything published before. */
  flush(): Promise<void>;
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: { data: Uint8Array }) => void },
  ): unknown;
}

export const TRANSPORT = '@nats-io/transport-node';

interface TransportModule {
  connect(options: { servers: string; tls: { ca: string }; noAsyncTraces: boolean }): Promise<NatsConnection>;
}

const require = createRequire(new URL('bench/package.json', packageRoot));

export const requirePackage = (name: string): unknown => require(name);

export function installed(name: string): boolean {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
}

/** Without stack traces for requests, which cost more than the requests. */
export const connectNats = ({ port, ca }: { readonly port: number; readonly ca: string }): Promise<NatsConnection> =>
  (requirePackage(TRANSPORT) as TransportModule).connect({
    servers: `tls://localhost:${port}`,
    tls: { ca },
    noAsyncTraces: true,
  });

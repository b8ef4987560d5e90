import { createRequire } from 'node:module';
import { packageRoot } from '../../src/package-root.js';

/** The part of @nats-io/transport-node 3 that the benchmark calls. It is installed by `npm run bench:setup`, in bench/. */
export interface NatsConnection {
  publish(subject: string, payload: Uint8Array): void;
  /** Resolves when the server has taken everything published before. */
  flush(): Promise<void>;
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: { data: Uint8Array }) => void },
  ): unknown;
}

interface NatsModule {
  connect(options: { servers: string; tls: { ca: string } }): Promise<NatsConnection>;
}

/** Undefined when the package is not installed. */
export function loadNats(): NatsModule | undefined {
  const require = createRequire(new URL('bench/package.json', packageRoot));
  try {
    return require('@nats-io/transport-node') as NatsModule;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

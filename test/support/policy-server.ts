import { Server, ServerCredentials } from '@grpc/grpc-js';
import {
  type DecideRequest,
  DecideResponse,
  PolicyServiceService,
} from '../../gen/ts/fedgate/policy/v1/policy_service.js';
import { createSelfSignedServer } from '../../src/identity/issue.js';
import type { TestScope } from './registry.js';

type Verdict = Partial<DecideResponse> | undefined;

/** An operator's policy server: real gRPC over TLS. */
export interface TestPolicy {
  readonly address: string;
  readonly serverName: string;
  /** PEM of what its certificate comes from. */
  readonly ca: string;
  /** All that was asked. */
  readonly asked: DecideRequest[];
  /** Answers; undefined: never. */
  decide: (request: DecideRequest) => Verdict | Promise<Verdict>;
  stop(): void;
  start(): Promise<void>;
}

export const ACTION = { publish: 1, deliver: 2, request: 3, fetch: 4 } as const;

export async function startPolicy(t: TestScope): Promise<TestPolicy> {
  const serverName = 'policy.internal';
  const { key, certificate } = await createSelfSignedServer(serverName, 'spiffe://policy.example/test');
  let port = 0;
  let server: Server;
  const start = async (): Promise<void> => {
    server = new Server();
    server.addService(PolicyServiceService, {
      decide: (call: { request: DecideRequest }, done: (error: null, response: DecideResponse) => void) => {
        policy.asked.push(call.request);
        void Promise.resolve(policy.decide(call.request)).then(verdict => {
          if (verdict) done(null, DecideResponse.fromPartial(verdict));
        });
      },
    } as never);
    const pair = [{ private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) }];
    port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createSsl(null, pair), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
  };
  const policy: TestPolicy = {
    get address() {
      return `127.0.0.1:${port}`;
    },
    serverName,
    ca: certificate,
    asked: [],
    decide: () => ({ allowed: true }),
    stop: () => server.forceShutdown(),
    start,
  };
  await start();
  t.teardown(() => server.forceShutdown());
  return policy;
}

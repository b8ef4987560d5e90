import { EventEmitter, once } from 'node:events';
import { status } from '@grpc/grpc-js';
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  type HealthListRequest,
  type HealthListResponse,
  type HealthServer,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../gen/ts/grpc/health/v1/health.js';
import { FedgateError, quoted } from '../errors.js';
import type { CallWrapper } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';

/**
 * `grpc.health.v1`, for load balancers, `grpc_health_probe` and people. The empty service name stands for the whole server and is
 * SERVING from the start; call `set('', false)` to take it out of service.
 */
export class HealthService {
  readonly #states = new Map<string, boolean>([['', true]]);
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #draining = false;

  set(service: string, serving: boolean): void {
    this.#states.set(service, serving);
    this.#changes.emit('change');
  }

  /** Says NOT_SERVING for everything and ends every Watch with DRAINING, so that open ones do not hold up the stop of a listener. */
  drain(): void {
    this.#draining = true;
    this.#changes.emit('change');
  }

  /** The handlers, to be added to a listener with `HealthService` of the generated code. */
  implementation(calls: CallWrapper<unknown>): HealthServer {
    const check = calls.unary<HealthCheckRequest, HealthCheckResponse | undefined>(({ service }) =>
      this.#read(service),
    );
    return {
      // Unknown services are answered past the wrapper: the status is the protocol's own, and no reason of ours fits it.
      check: (call, callback) =>
        check(call, (error, response) => {
          if (error || response) callback(error, response);
          else callback({ code: status.NOT_FOUND, details: `no service ${quoted(call.request.service)} here` });
        }),
      watch: calls.serverStream<HealthCheckRequest, HealthCheckResponse>(({ service }, out, { signal }) =>
        this.#watch(service, out, signal),
      ),
      list: calls.unary<HealthListRequest, HealthListResponse>(() => this.#list()),
    };
  }

  #read(service: string): HealthCheckResponse | undefined {
    const serving = this.#states.get(service);
    if (serving === undefined) return undefined;
    return { status: serving && !this.#draining ? Serving.SERVING : Serving.NOT_SERVING };
  }

  /** Changes that come faster than the stream takes them are passed over: the latest state is what a watcher wants. */
  async #watch(service: string, out: FrameWriter<HealthCheckResponse>, signal: AbortSignal): Promise<void> {
    let sent: Serving | undefined;
    for (;;) {
      const current = this.#read(service) ?? { status: Serving.SERVICE_UNKNOWN };
      if (current.status !== sent) {
        await out.send(current);
        sent = current.status;
      } else if (this.#draining) {
        throw new FedgateError('DRAINING', 'the server is about to stop');
      } else {
        await once(this.#changes, 'change', { signal });
      }
    }
  }

  #list(): HealthListResponse {
    const statuses = new Map<string, HealthCheckResponse>();
    for (const service of this.#states.keys())
      statuses.set(service, this.#read(service) ?? { status: Serving.UNKNOWN });
    return { statuses };
  }
}

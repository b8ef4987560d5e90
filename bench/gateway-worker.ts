import { readConfig } from '../src/gateway/config.js';
import { type Gateway, startGateway } from '../src/gateway/gateway.js';
import { createLog } from '../src/telemetry/log.js';
import { serveWorker } from './worker.js';

/** A gateway in a process of its own. */

let gateway: Gateway | undefined;

const methods = {
  /** Answers when it has started, with the time since the start of the process, milliseconds. */
  async start(configFile: string): Promise<number> {
    const config = await readConfig(configFile);
    gateway = await startGateway(config, createLog(config.log));
    return performance.now();
  },

  async stop(): Promise<void> {
    await gateway?.stop();
  },
};

export type GatewayMethods = typeof methods;
serveWorker(methods);

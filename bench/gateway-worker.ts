import { readConfig } from '../src/gateway/config.js';
import { startGateway } from '../src/gateway/gateway.js';
import { createLog } from '../src/telemetry/log.js';
import { serveWorker } from './worker.js';

/** A gateway in a process of its own. */

const methods = {
  async start(configFile: string): Promise<void> {
    const config = await readConfig(configFile);
    await startGateway(config, createLog(config.log));
  },
};

export type GatewayMethods = typeof methods;
serveWorker(methods);

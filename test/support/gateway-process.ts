import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connect, type FedgateClient } from '../../src/client/index.js';
import { freePort } from '../../src/demo/free-port.js';
import { addNode } from '../../src/gateway/add-node.js';
import { packageRoot } from '../../src/package-root.js';
import type { LogEvent } from './federation.js';
import { joinOrg, type TestRegistry, type TestScope } from './registry.js';

/** A gateway as its operator runs it: a process of its own. */
export class GatewayProcess {
  readonly folder: string;
  readonly nodes: string;
  readonly #config: string;
  #child: ChildProcess | undefined;
  /** What its log said, over all its lives. */
  readonly events: LogEvent[] = [];

  private constructor(folder: string, nodes: string, config: string) {
    this.folder = folder;
    this.nodes = nodes;
    this.#config = config;
  }

  /** Joins an organisation and starts its gateway. `access`: YAML of the key. */
  static async join(t: TestScope, registry: TestRegistry, name: string, access: string): Promise<GatewayProcess> {
    const peers = `127.0.0.1:${await freePort()}`;
    const nodes = `127.0.0.1:${await freePort()}`;
    const folder = await joinOrg(t, registry, name, { addresses: [peers] });
    const config = join(folder, 'gateway.yaml');
    const links = 'links: { heartbeatMs: 500, deadAfterMs: 2000 }';
    await writeFile(
      config,
      `listen: { nodes: "${nodes}", peers: "${peers}" }\naccess:\n  ${access.replaceAll('\n', '\n  ')}\n${links}\nlog: { format: json }\n`,
    );
    const gateway = new GatewayProcess(folder, nodes, config);
    t.teardown(() => gateway.kill());
    await gateway.start();
    return gateway;
  }

  async start(): Promise<void> {
    const bin = fileURLToPath(new URL('bin/fedgate.js', packageRoot));
    const child = spawn(process.execPath, [bin, 'gateway', 'run', '--config', this.#config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    let complaint = '';
    child.stderr?.on('data', chunk => {
      complaint += String(chunk);
    });
    await new Promise<void>((resolve, reject) => {
      child.once('exit', code => reject(new Error(`the gateway ended with ${code}: ${complaint}`)));
      createInterface(child.stdout as NodeJS.ReadableStream).on('line', line => {
        if (!line.startsWith('{')) return;
        const event = JSON.parse(line) as LogEvent;
        this.events.push(event);
        if (event.msg === 'gateway started') resolve();
      });
    });
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    child.kill(signal);
    const [code] = (await once(child, 'exit')) as [number | null];
    return code;
  }

  async node(t: TestScope, name: string): Promise<FedgateClient> {
    const client = await connect({
      context: await addNode({ folder: this.folder, name, gateway: 'gw1', address: this.nodes }),
    });
    t.teardown(() => client.close());
    return client;
  }
}

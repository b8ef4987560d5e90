import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connect, type FedgateClient } from '../../src/client/index.js';
import { freePort } from '../../src/demo/free-port.js';
import { addNode } from '../../src/gateway/add-node.js';
import { CONNECT, type LogEvent } from './federation.js';
import { joinOrg, type TestRegistry, type TestScope } from './registry.js';

/** The compiled program, started without the check that the checkout's launcher makes: others may be editing meanwhile. */
const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

export interface GatewayProcessOptions {
  /** YAML of the `links` key. @default short heartbeats */
  readonly links?: string;
  /** More YAML at the top level. */
  readonly extra?: string;
  /** Where it listens for peers. @default a free port */
  readonly peers?: string;
  /** The addresses in its record. @default where it listens for peers */
  readonly addresses?: readonly string[];
  /** Environment variables of all its lives. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Arguments of node, before the program. */
  readonly nodeArguments?: readonly string[];
}

const QUICK_LINKS = '{ heartbeatMs: 500, deadAfterMs: 2000 }';

/** A gateway as its operator runs it: a process of its own. */
export class GatewayProcess {
  readonly folder: string;
  readonly nodes: string;
  readonly #config: string;
  readonly #options: GatewayProcessOptions;
  readonly #waiting = new Set<() => void>();
  #child: ChildProcess | undefined;
  /** What its log said, over all its lives. */
  readonly events: LogEvent[] = [];

  private constructor(folder: string, nodes: string, config: string, options: GatewayProcessOptions) {
    this.folder = folder;
    this.nodes = nodes;
    this.#config = config;
    this.#options = options;
  }

  /** Joins an organisation and starts its gateway. `access`: YAML of the key. */
  static async join(
    t: TestScope,
    registry: TestRegistry,
    name: string,
    access: string,
    options: GatewayProcessOptions = {},
  ): Promise<GatewayProcess> {
    const gateway = await GatewayProcess.prepare(t, registry, name, access, options);
    await gateway.start();
    return gateway;
  }

  /** Joins an organisation and leaves the start to the caller. */
  static async prepare(
    t: TestScope,
    registry: TestRegistry,
    name: string,
    access: string,
    options: GatewayProcessOptions = {},
  ): Promise<GatewayProcess> {
    const peers = options.peers ?? `127.0.0.1:${await freePort()}`;
    const nodes = `127.0.0.1:${await freePort()}`;
    const folder = await joinOrg(t, registry, name, { addresses: options.addresses ?? [peers] });
    const config = join(folder, 'gateway.yaml');
    const yaml = [
      `listen: { nodes: "${nodes}", peers: "${peers}" }`,
      `access:\n  ${access.replaceAll('\n', '\n  ')}`,
      `links: ${options.links ?? QUICK_LINKS}`,
      'log: { format: json }',
      options.extra ?? '',
    ];
    await writeFile(config, `${yaml.join('\n')}\n`);
    const gateway = new GatewayProcess(folder, nodes, config, options);
    t.teardown(() => gateway.kill());
    return gateway;
  }

  get pid(): number | undefined {
    return this.running ? this.#child?.pid : undefined;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when it is ready; rejects when it ends before, with what it said. The variables are for this life only. */
  async start(variables: Readonly<Record<string, string>> = {}): Promise<void> {
    const { nodeArguments = [] } = this.#options;
    const child = spawn(process.execPath, [...nodeArguments, MAIN, 'gateway', 'run', '--config', this.#config], {
      env: { ...process.env, ...this.#options.variables, ...variables },
      // With a channel, so that it goes when we do, however we do.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#child = child;
    let complaint = '';
    child.stderr?.on('data', chunk => {
      complaint += String(chunk);
    });
    await new Promise<void>((resolve, reject) => {
      child.once('close', (code, signal) =>
        reject(new Error(`the gateway ended with ${code ?? signal}: ${complaint}`)),
      );
      createInterface(child.stdout as NodeJS.ReadableStream).on('line', line => {
        if (!line.startsWith('{')) return;
        const event = JSON.parse(line) as LogEvent;
        this.events.push(event);
        for (const look of [...this.#waiting]) look();
        if (event.msg === 'gateway started') resolve();
      });
    });
  }

  /** Resolves with the first log event, past or future, that the check accepts. */
  logged(check: (event: LogEvent) => boolean, after = 0): Promise<LogEvent> {
    return new Promise(resolve => {
      const look = (): void => {
        const found = this.events.slice(after).find(check);
        if (!found) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Sends a signal that does not end it. */
  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#child?.kill(signal);
  }

  /** Resolves when it is gone. */
  async exited(): Promise<number | null> {
    const child = this.#child;
    if (!child || !this.running) return child?.exitCode ?? null;
    const [code] = (await once(child, 'exit')) as [number | null];
    return code;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    const exited = this.exited();
    this.signal(signal);
    return exited;
  }

  async node(t: TestScope, name: string): Promise<FedgateClient> {
    const client = await connect({
      ...CONNECT,
      context: await addNode({ folder: this.folder, name, gateway: 'gw1', address: this.nodes }),
    });
    t.teardown(() => client.close());
    return client;
  }
}

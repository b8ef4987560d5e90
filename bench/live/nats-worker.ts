import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KeyAndCertificate } from '../../src/identity/issue.js';
import { FRAME_BYTES } from '../frames.js';
import { type MeasureParams, Meter } from '../meter.js';
import { serveWorker } from '../worker.js';
import { loadNats, type NatsConnection } from './nats-client.js';

/** A nats-server with TLS towards clients and leaf nodes, or a client of one. */

const SUBJECT = 'bench.live';
/** How much a publisher has on its way to its server before it waits, bytes. More does not make it faster. */
const IN_FLIGHT_BYTES = 16 * FRAME_BYTES;

export interface ServerParams {
  readonly identity: KeyAndCertificate;
  readonly clientPort: number;
  /** Where leaf nodes connect to this server. */
  readonly leafPort?: number;
  /** The leaf port of the hub this server is a leaf of. */
  readonly hubPort?: number;
}

const meter = new Meter();
let server: ChildProcess | undefined;

const methods = {
  async serve(params: ServerParams): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'fedgate-bench-nats-'));
    const config = join(folder, 'nats.conf');
    writeFileSync(join(folder, 'key.pem'), params.identity.key, { mode: 0o600 });
    writeFileSync(join(folder, 'cert.pem'), params.identity.certificate);
    writeFileSync(config, serverConfig(folder, params));
    const child = spawn('nats-server', ['-c', config], { stdio: ['ignore', 'ignore', 'inherit'] });
    server = child;
    process.once('exit', () => {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    });
    await untilListening(params.clientPort);
  },

  async publish({ payloadBytes, ...where }: { payloadBytes: number; port: number; ca: string }): Promise<void> {
    void pump(await open(where), Buffer.alloc(payloadBytes, 'x'));
  },

  async subscribe(where: { port: number; ca: string }): Promise<void> {
    const connection = await open(where);
    connection.subscribe(SUBJECT, { callback: (_error, { data }) => meter.add(data.length > 0 ? 1 : 0) });
    await connection.flush();
  },

  measure: (params: MeasureParams) => meter.measure(params),

  cpuSeconds(): number {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6 + (server?.pid === undefined ? 0 : cpuSecondsOf(server.pid));
  },
};

export type NatsMethods = typeof methods;
serveWorker(methods);

function serverConfig(folder: string, { clientPort, leafPort, hubPort }: ServerParams): string {
  const tls = `tls { cert_file: "${folder}/cert.pem", key_file: "${folder}/key.pem", ca_file: "${folder}/cert.pem" }`;
  const lines = [`listen: "127.0.0.1:${clientPort}"`, `log_file: "${folder}/nats.log"`, tls];
  if (leafPort !== undefined) lines.push(`leafnodes { listen: "127.0.0.1:${leafPort}", ${tls} }`);
  if (hubPort !== undefined) lines.push(`leafnodes { remotes: [ { url: "tls://localhost:${hubPort}", ${tls} } ] }`);
  return `${lines.join('\n')}\n`;
}

async function open({ port, ca }: { port: number; ca: string }): Promise<NatsConnection> {
  const nats = loadNats();
  if (!nats) throw new Error('@nats-io/transport-node is not installed');
  return await nats.connect({ servers: `tls://localhost:${port}`, tls: { ca } });
}

/** Publishes without end, always waiting for the server to have taken all but the last few batches. */
async function pump(connection: NatsConnection, payload: Uint8Array): Promise<void> {
  const perFlush = Math.max(1, Math.floor(FRAME_BYTES / payload.length));
  const flushes: Promise<void>[] = [];
  for (;;) {
    for (let i = 0; i < perFlush; i++) connection.publish(SUBJECT, payload);
    flushes.push(connection.flush());
    if (flushes.length * FRAME_BYTES >= IN_FLIGHT_BYTES) await flushes.shift();
  }
}

async function untilListening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const open = await new Promise<boolean>(resolve => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (open) return;
    await sleep(50);
  }
  throw new Error(`nats-server does not listen on port ${port}`);
}

/** utime and stime of Linux's /proc/<pid>/stat, in ticks of 1/100 s; 0 elsewhere. */
function cpuSecondsOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KeyAndCertificate } from '../src/identity/issue.js';
import { statusBytes } from './process-memory.js';
import { serveWorker } from './worker.js';

/** A nats-server with TLS towards clients and leaf nodes; its CPU time and memory are the worker's. */

export interface ServerParams {
  readonly identity: KeyAndCertificate;
  readonly clientPort: number;
  /** Where leaf nodes connect to this server. */
  readonly leafPort?: number;
  /** The leaf port of the hub this server is a leaf of. */
  readonly hubPort?: number;
  /** The JetStream domain; undefined: without JetStream. */
  readonly domain?: string;
}

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

  cpuSeconds(): number {
    const { user, system } = process.cpuUsage();
    const fields = procStat().split(') ')[1]?.split(' ') ?? [];
    // utime and stime, in ticks of 1/100 s.
    return (user + system) / 1e6 + (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100;
  },

  rss: (): number => statusBytes(server?.pid, 'VmRSS') ?? 0,

  peakRss: (): number => statusBytes(server?.pid, 'VmHWM') ?? 0,
};

export type NatsServerMethods = typeof methods;
serveWorker(methods);

function serverConfig(folder: string, { clientPort, leafPort, hubPort, domain }: ServerParams): string {
  const tls = `tls { cert_file: "${folder}/cert.pem", key_file: "${folder}/key.pem", ca_file: "${folder}/cert.pem" }`;
  const lines = [`listen: "127.0.0.1:${clientPort}"`, `log_file: "${folder}/nats.log"`, tls];
  if (domain !== undefined) {
    lines.push(`server_name: "${domain}"`, `jetstream { store_dir: "${folder}/jetstream", domain: "${domain}" }`);
  }
  if (leafPort !== undefined) lines.push(`leafnodes { listen: "127.0.0.1:${leafPort}", ${tls} }`);
  if (hubPort !== undefined) lines.push(`leafnodes { remotes: [ { url: "tls://localhost:${hubPort}", ${tls} } ] }`);
  return `${lines.join('\n')}\n`;
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

/** Linux's /proc/PID/stat of the server; empty elsewhere. */
function procStat(): string {
  try {
    return readFileSync(`/proc/${server?.pid}/stat`, 'utf8');
  } catch {
    return '';
  }
}

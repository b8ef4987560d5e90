import { createServer, type Server } from 'node:net';

/** Below the range from which systems take ports for outgoing connections, so that none of those gets in between. */
const LOWEST = 12_000;
const PORTS = 18_000;

const given = new Set<number>();

/**
 * A port of 127.0.0.1 that was free a moment ago, for addresses that must be known before anybody listens. Never the same twice, nor, on
 * Linux, one that a process which still runs was given here.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * PORTS);
    if (given.has(port) || !(await claimPort(port))) continue;
    given.add(port);
    if (await canListen(port)) return port;
  }
}

/** Keeps a port from others who ask for one, until this process ends. False when another process keeps it, or this one does already. */
export async function claimPort(port: number): Promise<boolean> {
  // A name without a file, which goes with who holds it. Other systems have none: there nobody is kept off.
  if (process.platform !== 'linux') return true;
  const claim = createServer().unref();
  const error = await listening(claim, `\0fedgate-port-${port}`);
  return error?.code !== 'EADDRINUSE';
}

async function canListen(port: number): Promise<boolean> {
  const probe = createServer();
  if (await listening(probe, { port, host: '127.0.0.1' })) return false;
  await new Promise(resolve => probe.close(resolve));
  return true;
}

/** Resolves once it listens, or with why it cannot. */
function listening(
  server: Server,
  where: string | { readonly port: number; readonly host: string },
): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise(resolve => {
    server.once('error', resolve);
    server.listen(where, () => resolve(undefined));
  });
}

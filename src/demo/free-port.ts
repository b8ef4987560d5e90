import { createServer } from 'node:net';

/** Below the range from which systems take ports for outgoing connections, so that none of those gets in between. */
const LOWEST = 12_000;
const PORTS = 18_000;

const given = new Set<number>();

/** A port of 127.0.0.1 that was free a moment ago, for addresses that must be known before anybody listens. Never the same twice. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * PORTS);
    if (given.has(port) || !(await canListen(port))) continue;
    given.add(port);
    return port;
  }
}

function canListen(port: number): Promise<boolean> {
  const probe = createServer();
  return new Promise(resolve => {
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

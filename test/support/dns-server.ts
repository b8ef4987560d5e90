import { createSocket } from 'node:dgram';
import { type Answer, decode, encode, type Packet } from 'dns-packet';
import type { TestScope } from './registry.js';

export interface TestDns {
  /** `ip:port`. */
  readonly address: string;
  /** Names that were asked for, with their types: `SRV name`. */
  readonly asked: string[];
  /** What it answers with: all records of the name and type that was asked. */
  readonly records: Answer[];
  /** Whether it says nothing at all. */
  silent: boolean;
  /** Sent in place of every answer. */
  garbage: Buffer | undefined;
}

/** A DNS server on loopback that knows a few records. */
export async function startDns(t: TestScope, records: readonly Answer[] = []): Promise<TestDns> {
  const socket = createSocket('udp4');
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise<void>(resolve => socket.close(() => resolve())));
  const dns: TestDns = {
    address: `127.0.0.1:${socket.address().port}`,
    asked: [],
    records: [...records],
    silent: false,
    garbage: undefined,
  };
  socket.on('message', (bytes, from) => {
    const { id = 0, questions = [] } = decode(bytes);
    dns.asked.push(...questions.map(({ type, name }) => `${type} ${name}`));
    if (dns.silent) return;
    const answers = dns.records.filter(record =>
      questions.some(({ name, type }) => record.type === type && record.name.toLowerCase() === name.toLowerCase()),
    );
    // Response, recursion available; 3: no such name.
    const flags = 0x8180 | (answers.length === 0 ? 3 : 0);
    const answer: Packet = { type: 'response', id, flags, questions, answers };
    socket.send(dns.garbage ?? encode(answer), from.port, from.address);
  });
  return dns;
}

/** The SRV record that says that a service is at a port of a target. */
export const srv = (name: string, target: string, port: number, priority = 0, weight = 0): Answer => ({
  name,
  type: 'SRV',
  ttl: 60,
  data: { target, port, priority, weight },
});

export const a = (name: string, data: string): Answer => ({ name, type: 'A', ttl: 60, data });

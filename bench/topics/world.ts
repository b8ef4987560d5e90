import { appendFile } from 'node:fs/promises';
import { type BenchOrg, createFederation } from '../federation.js';
import { type Gateway, startGateway } from '../gateway.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { ProgramMethods } from './program-worker.js';

export type Program = Worker<ProgramMethods & CommonMethods>;

/** ACME, GLOBEX and INITECH in a line, a publisher at one end and a reader at the other: five processes. */
export interface TopicsWorld extends AsyncDisposable {
  readonly gateways: readonly Gateway[];
  readonly publisher: Program;
  readonly reader: Program;
}

/** Each shares the topic with its neighbours only, so there are no other links. */
const shareWith = (org: BenchOrg, peers: readonly string[]): Promise<void> =>
  appendFile(
    org.config,
    `  topics: [{ topic: "**", publish: ["*"], subscribe: ["*"], authors: ["*"], peers: [${peers.join(', ')}], relay: true }]\n`,
  );

const startProgram = (name: string): Program => new Worker(name, new URL('./program-worker.js', import.meta.url));

export async function topicsWorld(): Promise<TopicsWorld> {
  const used: AsyncDisposable[] = [];
  const use = <T extends AsyncDisposable>(each: T): T => {
    used.push(each);
    return each;
  };
  const federation = use(await createFederation());
  const { acme, globex } = federation;
  const initech = await federation.join('INITECH');
  await shareWith(acme, ['GLOBEX']);
  await shareWith(globex, ['ACME', 'INITECH']);
  await shareWith(initech, ['GLOBEX']);
  const gateways: Gateway[] = [];
  for (const { org, config } of [acme, globex, initech])
    gateways.push(use(await startGateway(`gateway of ${org}`, config)));
  const publisher = use(startProgram('publisher'));
  const reader = use(startProgram('reader'));
  await publisher.call('connect', acme.node);
  await reader.call('connect', initech.node);
  await reader.call('read', undefined);
  return {
    gateways,
    publisher,
    reader,
    async [Symbol.asyncDispose]() {
      for (const each of used.reverse()) await each[Symbol.asyncDispose]();
    },
  };
}

import { createFederation, type Node, type Reach } from '../federation.js';
import { type Gateway, startGateway } from '../gateway.js';
import { type Line, type LineQuality, openLine } from '../line/line.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { FileProgramMethods } from './fedgate-worker.js';

type Program = Worker<FileProgramMethods & CommonMethods>;

const startProgram = (name: string): Program => new Worker(name, new URL('./fedgate-worker.js', import.meta.url));

/** A line between the gateways, and which of them dials: the other cannot, it knows no address. */
export interface Route {
  readonly dialler: 'holder' | 'asker';
  readonly quality: LineQuality;
}

/** A sender at ACME, a receiver at GLOBEX, and a link between their gateways. */
export interface FedgateWorld {
  readonly sender: Program;
  readonly gatewayA: Gateway;
  readonly gatewayB: Gateway;
  readonly receiver: Program;
  readonly acme: Node;
  readonly globex: Node;
}

/** Both know an address of the other where no route is given. */
export async function withFedgate<T>(route: Route | undefined, run: (world: FedgateWorld) => Promise<T>): Promise<T> {
  await using lines = new Lines();
  const through: Reach | undefined = route && (peers => lines.open(peers, route.quality));
  const nowhere: Reach | undefined = route && (async () => []);
  const dialled = route?.dialler === 'holder' ? 'globex' : 'acme';
  await using federation = await createFederation({
    ...(through && { [dialled]: through }),
    ...(nowhere && { [dialled === 'acme' ? 'globex' : 'acme']: nowhere }),
  });
  const { acme, globex } = federation;
  await using gatewayB = await startGateway('gateway B', globex.config);
  await using gatewayA = await startGateway('gateway A', acme.config);
  await using receiver = startProgram('receiver');
  await using sender = startProgram('sender');
  await sender.call('connect', acme.node);
  await receiver.call('connect', globex.node);
  if (dialled === 'globex') await sender.call('reach', 'pubsub://GLOBEX/bench/files');
  else await receiver.call('reach', 'pubsub://ACME/bench/files');
  return await run({ sender, gatewayA, gatewayB, receiver, acme: acme.node, globex: globex.node });
}

class Lines implements AsyncDisposable {
  readonly #open: Line[] = [];

  async open(to: string, quality: LineQuality): Promise<string[]> {
    const line = await openLine(to, quality);
    this.#open.push(line);
    return [line.address];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const line of this.#open) await line[Symbol.asyncDispose]();
  }
}

import { FedgateError } from '../errors.js';
import type { Storyteller } from './story.js';
import { type DemoWorld, retry } from './world.js';

const STEEL = 'pubsub://GLOBEX/quotes/steel';

/** A node of ACME asks what a node of GLOBEX answers, until that one answers no more. */
export async function questionIsAnswered({ acme, globex }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('A question is answered');
  const responding = globex.client.respond('quotes/*', ({ channel, text }) => `${text} of ${channel}: 1 200`);
  await responding.opened;
  const reply = await retry(() => acme.client.request(STEEL, 'two tons'));
  tell.fact(`ACME/billing asked ${STEEL} for two tons; ${reply.org}/${reply.node} said: ${reply.text}`);
  tell.check('whoever answered is named as its gateway verified', `${reply.org}/${reply.node}` === 'GLOBEX/erp');
  await responding.disable('quotes/*');
  const closed = await acme.client.request(STEEL, 'two tons').then(
    () => undefined,
    (error: unknown) => (error instanceof FedgateError ? error : undefined),
  );
  tell.fact(
    `GLOBEX/erp closed the counter, and the next one who asked was told at once: ${closed?.message} [${closed?.reason}]`,
  );
  tell.check('nobody waits for an answer that nobody will give', closed?.reason === 'NO_RESPONDERS');
  responding.close();
}

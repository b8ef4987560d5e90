import { randomBytes } from 'node:crypto';
import { Transform } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
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

const PRICES = 'topic://prices/steel';

/** What belongs to nobody: published by two organisations, read by the third, which came last. */
export async function topicIsShared({ acme, globex, initech }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('A topic is shared');
  await acme.client.topic(PRICES).publish('12.50');
  await globex.client.topic(PRICES).publish('12.40');
  const late = initech.client.topic(PRICES).subscribe({ from: 'earliest' });
  const heard: string[] = [];
  for await (const message of late) {
    heard.push(`${message.senderOrg}: ${message.text}`);
    if (heard.length === 2) break;
  }
  tell.fact(`ACME and GLOBEX published to ${PRICES}; INITECH, which came late, reads ${heard.sort().join(', ')}`);
  tell.check(
    'whoever comes late gets what there was, signed by who wrote it',
    heard.join() === 'ACME: 12.50,GLOBEX: 12.40',
  );
}

const SCANNER = 'pubsub://GLOBEX/scanner';
const SCANNED_BYTES = 8_000_000;

/** A byte stream: what ACME writes comes back from GLOBEX, turned over, while it writes on. */
export async function bytesFlow({ acme, globex }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('Bytes flow, both ways at once');
  const invert = (): Transform =>
    new Transform({
      transform: (bytes: Buffer, _, done) =>
        done(
          null,
          bytes.map(byte => byte ^ 0xff),
        ),
    });
  const accepting = globex.client.acceptStreams('scanner', stream => pipeline(stream, invert(), stream));
  await accepting.opened;
  const stream = await retry(() => acme.client.openStream(SCANNER));
  const sent = randomBytes(SCANNED_BYTES);
  const start = performance.now();
  stream.end(sent);
  const back = await buffer(stream.pipe(invert()));
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  accepting.close();
  tell.fact(`ACME/billing opened a stream to ${SCANNER}; ${SCANNED_BYTES / 1e6} MB went and came in ${seconds} s`);
  tell.check('every byte came back, in order', back.equals(sent));
}

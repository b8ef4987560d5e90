import test from 'ava';
import { RequestError } from '../../src/client/index.js';
import type { FedgateError } from '../../src/errors.js';
import { startFederation } from '../support/federation.js';

const ASKS = 'nodes: [{ node: "*", publish: ["**"], request: ["**", "pubsub://*/**"], respond: ["**"], status: true }]';
const ANSWERS = `${ASKS}\npeers: [{ org: ACME, request: ["quotes/**"] }]`;

test('request: within the own organisation, with headers, content type and who asked', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: ASKS } });
  const asker = await ACME.node('asker');
  const clerk = await ACME.node('clerk');
  const responding = clerk.respond('quotes/*', request => {
    t.like(request, { channel: 'quotes/steel', senderOrg: 'ACME', senderNode: 'asker', attempt: 1, survey: false });
    t.is(request.headers.get('lang'), 'de');
    t.true(request.timeoutMs > 30_000 && request.timeoutMs <= 60_000);
    return { payload: `${request.text} costs 7`, contentType: 'text/plain', headers: { by: 'clerk' } };
  });
  await responding.opened;
  const reply = await asker.request('quotes/steel', 'steel', { timeoutMs: 60_000, headers: { lang: 'de' } });
  t.is(reply.text, 'steel costs 7');
  t.like(reply, { org: 'ACME', node: 'clerk', attempts: 1, duplicate: false, contentType: 'text/plain' });
  t.is(reply.headers.get('by'), 'clerk');
});

test('request: across organisations, a reply and an application error', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: { access: ASKS }, GLOBEX: { access: ANSWERS } });
  const asker = await ACME.node('asker');
  const clerk = await GLOBEX.node('clerk');
  const responding = clerk.respond('quotes/**', request => {
    t.like(request, { senderOrg: 'ACME', senderNode: 'asker' });
    if (request.text === 'gold') throw new RequestError('OUT_OF_STOCK', 'no gold', { details: Buffer.from('soon') });
    return `${request.text}: 7`;
  });
  await responding.opened;
  const reply = await asker.request('pubsub://GLOBEX/quotes/eu/steel', 'steel');
  t.is(reply.text, 'steel: 7');
  t.like(reply, { org: 'GLOBEX', node: 'clerk', attempts: 1 });
  const error = await t.throwsAsync<RequestError>(asker.request('pubsub://GLOBEX/quotes/gold', 'gold'));
  t.true(error instanceof RequestError);
  t.like(error, { code: 'OUT_OF_STOCK', message: 'no gold', org: 'GLOBEX', node: 'clerk', retryable: false });
  t.is(Buffer.from(error?.details ?? []).toString(), 'soon');
});

test('request: nobody answers, and not granted on either side', async t => {
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: { access: 'nodes: [{ node: asker, request: ["pubsub://GLOBEX/**"] }, { node: clerk, respond: [a] }]' },
    GLOBEX: { access: ANSWERS },
  });
  const asker = await ACME.node('asker');
  const refused = (address: string): Promise<FedgateError | undefined> =>
    t.throwsAsync<FedgateError>(asker.request(address, 'x'));
  t.like(await refused('pubsub://GLOBEX/quotes/x'), { reason: 'NO_RESPONDERS', retryable: true });
  t.is((await refused('pubsub://GLOBEX/secret'))?.reason, 'NOT_GRANTED');
  await GLOBEX.logged(event => event.security === true && event.err?.reason === 'NOT_GRANTED');
  t.is((await refused('own'))?.reason, 'NOT_GRANTED');
  t.is((await refused('pubsub://NOBODY/x'))?.reason, 'NOT_GRANTED');
  const clerk = await ACME.node('clerk');
  const responding = clerk.respond('b', () => 'no');
  t.is((await responding.closed)?.reason, 'NOT_GRANTED');
});

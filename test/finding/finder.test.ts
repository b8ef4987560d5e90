import test from 'ava';
import {
  EMPTY_LIFETIME_MS,
  FIND_TIMEOUT_MS,
  Finder,
  type FinderOptions,
  HINT_REST_MS,
  MAX_HINTS,
} from '../../src/finding/finder.js';
import { parseHint, staticResolver } from '../../src/finding/static.js';
import type { AddressHint, Resolver } from '../../src/finding/types.js';
import type { OrgName } from '../../src/identity/names.js';

const GLOBEX = 'GLOBEX' as OrgName;
const INITECH = 'INITECH' as OrgName;

function resolver(
  name: 'dns' | 'mdns' | 'acquaintance',
  answer: () => readonly AddressHint[] | Promise<AddressHint[]>,
) {
  const asked: string[] = [];
  const found: Resolver = {
    name,
    find: async org => {
      asked.push(org);
      return answer();
    },
  };
  return { ...found, asked };
}

const make = (resolvers: readonly Resolver[], options: Partial<FinderOptions> = {}): Finder =>
  new Finder({ resolvers, localPlaces: false, lifetimeMs: 60_000, ...options });

const places = (addresses: readonly AddressHint[]): string[] => addresses.map(({ address }) => address);

test('finder: what is at hand comes in the order of the chain, without looking', t => {
  const dns = resolver('dns', () => []);
  const own = staticResolver({ GLOBEX: ['gw2@10.0.0.1:1', '10.0.0.2:2'] });
  const finder = make([own, dns]);
  t.deepEqual(finder.atHand(GLOBEX), [
    { gateway: 'gw2', address: '10.0.0.1:1', source: 'static' },
    { gateway: undefined, address: '10.0.0.2:2', source: 'static' },
  ]);
  t.deepEqual(finder.atHand(INITECH), []);
  t.deepEqual(dns.asked, []);
  t.true(finder.looks);
  t.false(make([own]).looks);
});

test('finder: the others are asked at once, answered in the order of the chain, each place once', async t => {
  const dns = resolver('dns', async () => {
    await new Promise(resolve => setImmediate(resolve));
    return [{ address: '10.0.0.1:1' }, { address: '10.0.0.1:1' }];
  });
  const mdns = resolver('mdns', () => [{ address: '10.0.0.1:1' }, { gateway: 'gw1', address: '10.0.0.2:2' }]);
  t.deepEqual(await make([dns, mdns]).find(GLOBEX), [
    { gateway: undefined, address: '10.0.0.1:1', source: 'dns' },
    { gateway: 'gw1', address: '10.0.0.2:2', source: 'mdns' },
  ]);
});

test('finder: one that fails, or answers with nonsense or far too much, is no failure of the chain', async t => {
  const failing = resolver('dns', () => {
    throw new Error('the DNS is down');
  });
  const mad = resolver('mdns', () =>
    Array.from({ length: 10_000 }, (_, i) => ({ address: i % 2 ? 'x' : `10.0.${i >> 8}.${i & 255}:7` })),
  );
  const evil = resolver('acquaintance', () => [
    { address: '127.0.0.1:22' },
    { address: '169.254.169.254:80' },
    { address: '[::1]:1' },
  ]);
  const finder = make([failing, mad, evil]);
  t.true((await finder.find(GLOBEX)).length <= MAX_HINTS);
  const [dns, mdns, acquaintance] = await finder.report(GLOBEX);
  t.is(dns?.failure, 'the DNS is down');
  t.true((mdns?.refused ?? 0) >= 10_000 - MAX_HINTS);
  t.like(acquaintance, { refused: 3, addresses: [] });
});

test('finder: one that never answers costs a bounded time, and the others count', async t => {
  const silent = resolver('dns', () => new Promise(() => undefined));
  const mdns = resolver('mdns', () => [{ address: '10.0.0.2:2' }]);
  const startMs = performance.now();
  t.deepEqual(places(await make([silent, mdns]).find(GLOBEX)), ['10.0.0.2:2']);
  t.true(performance.now() - startMs >= FIND_TIMEOUT_MS * 0.9);
});

test('finder: what was found is kept for a while, that nothing was for a shorter one, and one look serves all who wait', async t => {
  let nowMs = 0;
  let found: AddressHint[] = [];
  const dns = resolver('dns', () => found);
  const finder = make([dns], { now: () => nowMs, lifetimeMs: 60_000 });
  await Promise.all([finder.find(GLOBEX), finder.find(GLOBEX), finder.find(INITECH)]);
  t.deepEqual(dns.asked, ['GLOBEX', 'INITECH']);
  found = [{ address: '10.0.0.1:1' }];
  t.deepEqual(await finder.find(GLOBEX), []);
  nowMs += EMPTY_LIFETIME_MS + 1;
  t.deepEqual(places(await finder.find(GLOBEX)), ['10.0.0.1:1']);
  found = [];
  nowMs += 59_000;
  t.deepEqual(places(await finder.find(GLOBEX)), ['10.0.0.1:1']);
  nowMs += 2_000;
  t.deepEqual(await finder.find(GLOBEX), []);
});

test('finder: a hint that led nowhere rests for a minute, for that organisation', async t => {
  let nowMs = 0;
  const dns = resolver('dns', () => [{ address: '10.0.0.1:1' }, { address: '10.0.0.2:2' }]);
  const finder = make([dns], { now: () => nowMs });
  finder.failed(GLOBEX, '10.0.0.1:1');
  t.deepEqual(places(await finder.find(GLOBEX)), ['10.0.0.2:2']);
  t.is((await finder.find(INITECH)).length, 2);
  nowMs += HINT_REST_MS + 1;
  t.is((await finder.find(GLOBEX)).length, 2);
});

test('static addresses: with and without the name of a gateway; nonsense is refused', t => {
  t.deepEqual(parseHint('10.0.0.5:7443', 'f'), { address: '10.0.0.5:7443' });
  t.deepEqual(parseHint('gw2@[::1]:7443', 'f'), { gateway: 'gw2', address: '[::1]:7443' });
  for (const wrong of ['', '10.0.0.5', '@10.0.0.5:1', 'GW@10.0.0.5:1', 'a@b@10.0.0.5:1', '10.0.0.5:0', 'http://x:1'])
    t.throws(() => parseHint(wrong, 'f'), { message: /is not/ }, wrong);
});

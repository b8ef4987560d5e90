import test from 'ava';
import fc from 'fast-check';
import { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import type { DialTarget } from '../../src/link/dial.js';
import { dialAny, MAX_DIALS_AT_ONCE } from '../../src/link/dial-any.js';
import type { Link } from '../../src/link/link.js';
import { targetsOf } from '../../src/link/targets.js';
import type { OrgProfile } from '../../src/registry/record.js';

const at = (i: number): DialTarget => ({ org: 'GLOBEX', gateway: 'gw1', address: `10.0.0.${i}:1`, authorities: [] });

test('hints dialled beside each other: the first link wins and stays, every other is closed or given up', async t => {
  const plan = fc.array(fc.record({ turns: fc.nat({ max: 6 }), works: fc.boolean() }), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(plan, async steps => {
      let running = 0;
      const open = new Set<string>();
      const signals = new Map<string, AbortSignal>();
      const failed: string[] = [];
      const targets = steps.map((_, i) => at(i));
      const dial = async ({ address }: DialTarget, signal: AbortSignal): Promise<Link> => {
        signals.set(address, signal);
        const { turns = 0, works = false } = steps[targets.findIndex(target => target.address === address)] ?? {};
        t.true(++running <= MAX_DIALS_AT_ONCE);
        for (let i = 0; i < turns; i++) await new Promise(resolve => setImmediate(resolve));
        running--;
        if (!works) throw new FedgateError('PEER_UNREACHABLE', address);
        open.add(address);
        return { address, close: () => void open.delete(address) } as unknown as Link;
      };
      const onFailure = ({ address }: DialTarget): void => void failed.push(address);
      const { signal } = new AbortController();
      const result = dialAny(targets, { dial, onFailure, signal });
      if (!steps.some(({ works }) => works)) {
        if (steps.length > 0) t.is((await t.throwsAsync<FedgateError>(result))?.message, targets[0]?.address ?? '');
        else await t.throwsAsync(result, { any: true });
        t.deepEqual(
          failed,
          targets.map(({ address }) => address),
        );
        return;
      }
      const won = await result;
      t.deepEqual([...open], [won?.address ?? '']);
      t.false(signals.get(won?.address ?? '')?.aborted);
      t.deepEqual(failed, []);
    }),
    { numRuns: 150 },
  );
});

test('hints dialled beside each other: giving up gives up all', async t => {
  const seen: AbortSignal[] = [];
  const attempt = new AbortController();
  const dialling = dialAny([at(1), at(2)], {
    dial: (_target, signal) =>
      new Promise((_resolve, reject) => {
        seen.push(signal);
        signal.addEventListener('abort', () => reject(new FedgateError('CANCELLED', 'given up')), { once: true });
      }),
    onFailure: () => t.fail('nobody failed'),
    signal: attempt.signal,
  });
  attempt.abort();
  t.is((await t.throwsAsync<FedgateError>(dialling))?.reason, 'CANCELLED');
  t.true(seen.length === 2 && seen.every(({ aborted }) => aborted));
});

test("targets: an address without a gateway is tried for each of the record, or for gw1; the CA is the record's", t => {
  const profile = (...names: readonly string[]): OrgProfile =>
    ({
      authorities: [{ toString: () => 'PEM' }],
      gateways: names.map(name => ({ name, addresses: ['a:1'] })),
    }) as unknown as OrgProfile;
  const org = 'GLOBEX' as OrgName;
  const hints = [
    { address: 'x:1', source: 'static' as const },
    { gateway: 'gw2', address: 'x:1', source: 'dns' as const },
  ];
  const ways = (member: OrgProfile): string[] =>
    targetsOf({ org, profile: member }, hints).map(
      ({ gateway, address, source, authorities }) => `${gateway}@${address} ${source} ${authorities}`,
    );
  t.deepEqual(ways(profile('gw1', 'gw2')), ['gw1@x:1 static PEM', 'gw2@x:1 static PEM']);
  t.deepEqual(ways(profile()), ['gw1@x:1 static PEM', 'gw2@x:1 dns PEM']);
});

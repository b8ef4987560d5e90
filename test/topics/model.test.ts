import test from 'ava';
import fc from 'fast-check';
import { type Got, World } from '../support/topic-world.js';

/** What may happen to a few gateways. */
type Step =
  | { readonly do: 'publish'; readonly at: number; readonly records: number }
  | { readonly do: 'link' | 'cut'; readonly a: number; readonly b: number }
  | { readonly do: 'restart'; readonly at: number }
  | { readonly do: 'wait'; readonly ms: number };

const GATEWAYS = 5;
const at = fc.nat(GATEWAYS - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('publish' as const), at, records: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('link' as const, 'cut' as const), a: at, b: at }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), at }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 2_000 }) }) },
);

function play(seed: number, steps: readonly Step[], loss: number, records = 100_000): { world: World; readers: Got[] } {
  const world = new World({ seed, gateways: GATEWAYS, loss, retention: { records, bytes: 1e9, keepMs: 3_600_000 } });
  const readers = world.gateways.map(gateway => gateway.read());
  for (const each of steps) {
    if (each.do === 'publish') world.at(each.at).publish(Array.from({ length: each.records }, () => 'x'));
    else if (each.do === 'wait') world.time.run(each.ms);
    else if (each.do === 'restart') world.at(each.at).restart();
    else if (each.do === 'link') world.link(each.a, each.b);
    else world.cut(each.a, each.b);
  }
  world.line();
  world.time.run(120_000);
  return { world, readers };
}

/** The numbers of each stream rise by one; what is missing was told as lost. */
function accounted({ records, lost }: Got): boolean {
  const places = new Map<string, number>();
  let missing = 0;
  for (const record of records) {
    const [org, epoch, sequence] = record.split(' ');
    const stream = `${org} ${epoch}`;
    const place = places.get(stream) ?? 0;
    if (Number(sequence) <= place) return false;
    missing += Number(sequence) - place - 1;
    places.set(stream, Number(sequence));
  }
  // What is lost at the end of a stream has no record behind it.
  return lost.reduce((sum, each) => sum + each.records, 0) >= missing;
}

test('model: whatever happens to links and gateways, in the end every reader has every record once, in order', t => {
  t.timeout(60_000);
  fc.assert(
    fc.property(fc.nat(), fc.array(step, { maxLength: 40 }), fc.constantFrom(0, 0.05), (seed, steps, loss) => {
      const { world, readers } = play(seed, steps, loss);
      const all = [...world.published].sort().join('\n');
      return readers.every(
        got => got.lost.length === 0 && [...got.records].sort().join('\n') === all && accounted(got),
      );
    }),
    { numRuns: 150 },
  );
  t.pass();
});

test('model: with little room nothing comes twice or out of order, and what is missing is told', t => {
  t.timeout(60_000);
  fc.assert(
    fc.property(fc.nat(), fc.array(step, { maxLength: 60 }), (seed, steps) => {
      const { world, readers } = play(seed, steps, 0.02, 25);
      return readers.every(
        got =>
          accounted(got) &&
          got.records.length + got.lost.reduce((sum, { records }) => sum + records, 0) === world.published.length,
      );
    }),
    { numRuns: 150 },
  );
  t.pass();
});

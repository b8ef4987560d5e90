import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { FedgateError, type Reason } from '../../src/errors.js';
import type { Identity } from '../../src/identity/verify.js';
import { ExtraLanes, type LaneDoor } from '../../src/link/extra-lanes.js';
import { LANE, type Self } from '../../src/link/hello.js';
import type { Link } from '../../src/link/link.js';

const door: LaneDoor = {
  kind: LANE.durable,
  capabilities: ['durable'],
  offer: async () => ({
    hello: {},
    start: () => {
      throw new Error('no lane was opened');
    },
  }),
};

/** A link that we dialled, the other side of which refuses all further lanes. */
function refusedLink(reason: Reason) {
  let end: (why: FedgateError) => void = () => undefined;
  let close: (why: FedgateError) => void = () => undefined;
  const closedByUs = new Promise<FedgateError>(resolve => {
    close = resolve;
  });
  const link = {
    ...{ peer: {} as Identity, usable: true, draining: false, peerCan: () => true },
    openLane: () => Promise.reject(new FedgateError(reason, 'no such lane')),
    closed: new Promise<FedgateError>(resolve => {
      end = resolve;
    }),
    close: (why: FedgateError) => close(why),
  };
  new ExtraLanes([door], { self: {} as Self, linkTo: () => undefined }).open(link as unknown as Link);
  return { link, end, closedByUs };
}

test('extra lanes: a link that the other side drains is left to it, also when the lane was refused before we heard so', async t => {
  const { link, end, closedByUs } = refusedLink('LINK_SUPERSEDED');
  let closes = 0;
  void closedByUs.then(() => closes++);
  for (let i = 0; i < 5; i++) await turn();
  t.is(closes, 0);
  link.draining = true;
  end(new FedgateError('DRAINING', 'all is answered'));
  for (let i = 0; i < 5; i++) await turn();
  t.is(closes, 0);
});

test('extra lanes: a link of which nothing more is heard, or of which a lane does not open, is closed', async t => {
  for (const reason of ['LINK_SUPERSEDED', 'PEER_UNREACHABLE'] as const)
    t.is((await refusedLink(reason).closedByUs).reason, reason);
});

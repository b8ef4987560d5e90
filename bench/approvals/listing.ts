import { atMost } from '../goals.js';
import { median } from '../meter.js';
import type { PartReport } from './index.js';
import type { ApprovalsOptions } from './options.js';
import type { Listed } from './program-worker.js';
import { ORGS, type Program, withMembers } from './world.js';

const PROPOSALS = 10_000;
const GOAL_MS = 200;
const FILL_MS = 600_000;

/** Open proposals of three organisations, listed by a program over TLS from the gateway that made them. */
export const measureListing = ({ runs }: ApprovalsOptions): Promise<PartReport> =>
  withMembers(async ([acme, ...others]) => {
    if (!acme) throw new Error('nobody is there');
    // What they would do with so many proposals is not what is measured.
    for (const { gateway } of others) await gateway.call('stop', undefined);
    const { program } = acme;
    const artifactShare = await program.call('share', 'what is proposed');
    const from = performance.now();
    await program.call('fill', { terms: { artifactShare, orgs: ORGS, threshold: 2 }, count: PROPOSALS }, FILL_MS);
    const each = (performance.now() - from) / PROPOSALS;
    const byCalls = await listed(program, 'listByCalls', runs);
    const bySdk = await listed(program, 'listBySdk', runs);
    return {
      rows: [
        [
          `${PROPOSALS} open proposals, ms`,
          'proposed, each',
          `${byCalls[0]?.calls} calls of ListProposals`,
          'by the SDK',
        ],
        ['median', each.toFixed(2), medianMs(byCalls).toFixed(0), medianMs(bySdk).toFixed(0)],
        ['least', '', leastMs(byCalls).toFixed(0), leastMs(bySdk).toFixed(0)],
      ],
      goals: [
        atMost(`${PROPOSALS} open proposals by ListProposals, ms`, medianMs(byCalls), GOAL_MS),
        { what: `${PROPOSALS} open proposals by the SDK, ms`, value: medianMs(bySdk) },
      ],
    };
  });

async function listed(program: Program, how: 'listByCalls' | 'listBySdk', runs: number): Promise<Listed[]> {
  const all: Listed[] = [];
  for (let i = 0; i < runs; i++) {
    const one = await program.call(how, undefined);
    if (one.proposals !== PROPOSALS) throw new Error(`${one.proposals} of ${PROPOSALS} proposals were listed`);
    all.push(one);
  }
  return all;
}

const medianMs = (all: readonly Listed[]): number => median(all.map(({ ms }) => ms));
const leastMs = (all: readonly Listed[]): number => Math.min(...all.map(({ ms }) => ms));

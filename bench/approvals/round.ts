import { atMost } from '../goals.js';
import { median } from '../meter.js';
import type { PartReport } from './index.js';
import type { ApprovalsOptions } from './options.js';
import { ORGS, withMembers } from './world.js';

const GOAL_MS = 2_000;

/**
 * From the call that proposes until the gateways of all three organisations have found it approved, all of which must: at each of them a program
 * signs whatever comes.
 */
export const measureRound = ({ runs }: ApprovalsOptions): Promise<PartReport> =>
  withMembers(async members => {
    for (const { program, keyFile } of members) await program.call('approveAll', keyFile);
    const [proposer] = members;
    if (!proposer) throw new Error('nobody is there');
    const terms = {
      artifactShare: await proposer.program.call('share', 'what is proposed'),
      orgs: ORGS,
      threshold: ORGS.length,
    };
    const taken: number[] = [];
    // The first one is not counted: code that was never run before.
    for (let i = 0; i <= runs; i++) {
      const from = performance.now();
      const id = await proposer.program.call('propose', terms);
      await Promise.all(members.map(({ program }) => program.call('untilApproved', id)));
      if (i > 0) taken.push(performance.now() - from);
    }
    const most = Math.max(...taken);
    return {
      rows: [
        ['proposed until approved by 3 of 3, everywhere', 'median, ms', 'most, ms', 'rounds'],
        ['', median(taken).toFixed(0), most.toFixed(0), `${runs}`],
      ],
      goals: [atMost('proposed until approved by 3 of 3, everywhere, ms, the slowest', most, GOAL_MS)],
    };
  });

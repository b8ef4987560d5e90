import { World } from '../../test/support/topic-world.js';

/** What a message costs, for each member that gets it. */
export interface SimulatedCost {
  readonly gateways: number;
  readonly links: number;
  readonly posts: number;
  readonly postBytes: number;
  readonly otherFrames: number;
  readonly otherBytes: number;
}

const GATEWAYS = 50;
const AUTHORS = 5;
const MESSAGES = 200;

/** Plays it in virtual time. `more`: links beyond those that are needed; undefined: all with all. */
export function simulate(payloadBytes: number, more: number | undefined): SimulatedCost {
  const world = new World({ seed: 2, gateways: GATEWAYS });
  if (more !== undefined) world.graph(more);
  else for (let i = 0; i < GATEWAYS; i++) for (let k = 0; k < i; k++) world.link(i, k);
  world.time.run(2_000);
  // The first of each author find the ways.
  for (let i = 0; i < 4 * AUTHORS; i++) world.at(i % AUTHORS).publish(['first']);
  world.time.run(5_000);
  Object.assign(world.traffic, { posts: 0, postBytes: 0, frames: 0, frameBytes: 0 });
  for (let i = 0; i < MESSAGES; i++) {
    world.at(i % AUTHORS).publish(['x'.repeat(payloadBytes)]);
    world.time.run(20);
  }
  world.time.run(2_000);
  const { posts, postBytes, frames, frameBytes } = world.traffic;
  const per = (count: number): number => count / MESSAGES / (GATEWAYS - 1);
  return {
    gateways: GATEWAYS,
    links: world.links,
    posts: per(posts),
    postBytes: per(postBytes),
    otherFrames: per(frames),
    otherBytes: per(frameBytes),
  };
}

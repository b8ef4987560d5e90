import type { Command } from 'commander';
import type { CliEnv } from '../env.js';
import { registerContext } from './context/context.js';
import { registerDead } from './dead/index.js';
import { registerDemo } from './demo.js';
import { registerDoctor } from './doctor.js';
import { registerEvidence } from './evidence/index.js';
import { registerGateway } from './gateway/run.js';
import { registerNode } from './node/add.js';
import { registerOrg } from './org/index.js';
import { registerOutbox } from './outbox/index.js';
import { registerPub } from './pub.js';
import { registerRegistry } from './registry/index.js';
import { registerStatus } from './status.js';
import { registerSub } from './sub.js';
import { registerSubs } from './subs/index.js';

/** In the order of `fedgate --help`. */
export const COMMANDS: readonly ((program: Command, env: CliEnv) => void)[] = [
  registerDemo,
  registerRegistry,
  registerOrg,
  registerGateway,
  registerNode,
  registerContext,
  registerPub,
  registerSub,
  registerSubs,
  registerOutbox,
  registerDead,
  registerEvidence,
  registerStatus,
  registerDoctor,
];

import type { Command } from 'commander';
import type { CliEnv } from '../env.js';
import { registerContext } from './context/context.js';
import { registerDoctor } from './doctor.js';
import { registerGateway } from './gateway/run.js';
import { registerNode } from './node/add.js';
import { registerPub } from './pub.js';
import { registerStatus } from './status.js';
import { registerSub } from './sub.js';

/** In the order of `fedgate --help`. */
export const COMMANDS: readonly ((program: Command, env: CliEnv) => void)[] = [
  registerGateway,
  registerNode,
  registerContext,
  registerPub,
  registerSub,
  registerStatus,
  registerDoctor,
];

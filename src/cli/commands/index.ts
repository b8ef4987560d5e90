import type { Command } from 'commander';
import type { CliEnv } from '../env.js';

/** In the order of `fedgate --help`. */
export const COMMANDS: readonly ((program: Command, env: CliEnv) => void)[] = [];

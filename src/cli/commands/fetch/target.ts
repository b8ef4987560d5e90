import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { fieldError, quoted } from '../../../errors.js';
import { nameProblem } from '../../file-names.js';

/**
 * Where a share goes: the path that was given; a folder that was given, under the name of the share; or that name, in the current folder. A
 * name that another chose is taken only when it is a plain one, and nothing is there but a folder that an earlier run has `begun`. Throws
 * FIELD_INVALID, naming what is wrong and asking for -o.
 */
export async function chooseTarget(
  output: string | undefined,
  name: string,
  isFolder: boolean,
  begun: (target: string) => Promise<boolean>,
): Promise<string> {
  if (output === undefined) {
    const target = plainName(name);
    const there = await kindOf(target);
    if (isFolder && there === 'folder' && (await begun(target))) return target;
    if (there) throw fieldError('-o', `${quoted(target)} is there already; say where to with -o`);
    return target;
  }
  if (!isFolder && (await kindOf(output)) === 'folder') return join(output, plainName(name));
  return output;
}

function plainName(name: string): string {
  const problem = nameProblem(name) ?? (/^[.~-]/.test(name) ? 'begins with a dot, a tilde or a dash' : undefined);
  if (problem) throw fieldError('-o', `the name of the share, ${quoted(name)}, ${problem}; say where to with -o`);
  return name;
}

async function kindOf(path: string): Promise<'folder' | 'other' | undefined> {
  const stats = await lstat(path).catch(() => undefined);
  return stats && (stats.isDirectory() ? 'folder' : 'other');
}

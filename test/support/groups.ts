import type { Groups } from '../../src/files/audience.js';

/** Groups as a configuration has them. */
export const groupsOf = (groups: Readonly<Record<string, readonly string[]>>): Groups => ({
  orgsOf: name => (Object.hasOwn(groups, name) ? groups[name] : undefined),
});

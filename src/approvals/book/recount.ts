import { createHash } from 'node:crypto';
import type { OrgApprovers } from '../types.js';
import type { Desk } from './desk.js';

/** Finds the open proposals that a change of the registry may concern: those that name a member of which something changed. */
export class Recount {
  readonly #desk: Desk;
  #seen = new Map<string, string>();
  #next = new Map<string, string>();
  /** At first all are due: who knows what changed before. */
  #all = true;

  constructor(desk: Desk) {
    this.#desk = desk;
  }

  /** Those that are due. */
  due(): Buffer[] {
    const { index, options } = this.#desk;
    this.#next = new Map([...options.directory.all()].map(member => [member.org, fingerprint(member)]));
    const orgs = new Set([...this.#seen.keys(), ...this.#next.keys()]);
    const changed = new Set([...orgs].filter(org => this.#seen.get(org) !== this.#next.get(org)));
    return index
      .newestFirst()
      .filter(({ summary }) => this.#all || summary.standings.some(({ org }) => changed.has(org)))
      .map(({ id }) => id);
  }

  /** All that were due are counted. */
  done(): void {
    this.#seen = this.#next;
    this.#all = false;
  }
}

/** Changes when anything that counting looks at does. */
function fingerprint({ active, required, approvers }: OrgApprovers): string {
  const keys = approvers.map(({ name, key, revocation }) => [
    name,
    key.id,
    revocation?.timeMs,
    revocation?.compromised,
  ]);
  return createHash('sha256')
    .update(JSON.stringify([active, required, keys]))
    .digest('base64');
}

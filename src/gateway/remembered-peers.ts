import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../identity/files.js';
import { isOrgName, type OrgName } from '../identity/names.js';

/**
 * The organisations a gateway had links to. After a restart it dials them at once: they may be waiting out half a minute of back-off,
 * and contact ends that.
 */
export class RememberedPeers {
  readonly #path: string;
  readonly #orgs: Set<OrgName>;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, orgs: Iterable<OrgName>) {
    this.#path = path;
    this.#orgs = new Set(orgs);
  }

  /** A missing or damaged file is an empty one: nothing depends on it but speed. */
  static async load(stateFolder: string): Promise<RememberedPeers> {
    const path = join(stateFolder, 'peers.json');
    const list: unknown = await readFile(path, 'utf8')
      .then(JSON.parse)
      .catch(() => []);
    return new RememberedPeers(
      path,
      Array.isArray(list) ? list.filter((org): org is OrgName => typeof org === 'string' && isOrgName(org)) : [],
    );
  }

  all(): OrgName[] {
    return [...this.#orgs];
  }

  add(org: OrgName): void {
    if (this.#orgs.has(org)) return;
    this.#orgs.add(org);
    this.#writing = this.#writing
      .then(() => writeFileAtomically(this.#path, JSON.stringify(this.all())))
      .catch(() => undefined);
  }

  flush(): Promise<void> {
    return this.#writing;
  }
}

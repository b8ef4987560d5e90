import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { formatPolicy } from '../../src/cli/commands/policy/text.js';
import type { ApprovalKey } from '../../src/identity/approval-key.js';
import { type CommandResult, type CommandSettings, fedgate } from './cli.js';

/** A place for files and for what commands keep, with a context. */
export class ApprovalPlace {
  readonly folder: string;
  readonly #context: string;
  readonly #variables: Record<string, string>;

  /** `context`: the path of a context file. */
  constructor(folder: string, context: string) {
    this.folder = folder;
    this.#context = context;
    this.#variables = { FEDGATE_STATE_DIR: join(folder, 'state') };
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  async write(name: string, content: Buffer | string): Promise<string> {
    const path = this.path(name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
    return path;
  }

  /** A command that talks to the gateway. */
  run(args: readonly string[], settings: CommandSettings = {}): Promise<CommandResult> {
    return fedgate([...args, '--context', this.#context], { ...settings, variables: this.#variables });
  }

  /** A command that needs no gateway. */
  offline(args: readonly string[]): Promise<CommandResult> {
    return fedgate(args, { variables: this.#variables });
  }

  async files(...names: string[]): Promise<string[]> {
    const entries = await readdir(this.path(...names)).catch(() => []);
    return entries.sort();
  }

  /** Writes a policy that trusts these keys; returns its path. */
  policy(name: string, threshold: number, orgs: Readonly<Record<string, ApprovalKey>>): Promise<string> {
    const drafts = Object.entries(orgs).map(([org, { spki }]) => ({
      org,
      required: 1,
      keys: [{ name: undefined, spki, revoked: undefined }],
    }));
    const draft = { name, created: new Date().toISOString(), threshold, require: [], orgs: drafts };
    return this.write(`${name}.yaml`, formatPolicy(draft));
  }
}

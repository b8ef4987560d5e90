import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import { describe, FedgateError } from '../errors.js';
import { writeFileAtomically } from '../identity/files.js';
import type { MemberTrust, TrustDirectory } from '../identity/verify.js';
import { revokedBy } from './record.js';
import { type AcceptedSnapshot, acceptSnapshot, type DirectoryMember, readSnapshot } from './snapshot.js';

/** Where a gateway keeps its last good snapshot, within its state folder. */
export const snapshotFile = (stateFolder: string): string => join(stateFolder, 'registry-snapshot.bin');

export interface DirectoryOptions {
  readonly federation: string;
  /** The registry's snapshot verification key. */
  readonly snapshotKey: KeyObject;
  /** @default Date.now */
  readonly now?: () => number;
  /** Hears of a file that cannot be read or written. Nothing stops for it: the registry can be asked again. */
  readonly onProblem?: (message: string, cause: unknown) => void;
}

/**
 * What a gateway knows of the federation: the last good snapshot, in memory and on disk.
 *
 * Certificates are the same objects from one snapshot to the next as long as the record they stand in did not change.
 */
export class Directory implements TrustDirectory {
  readonly #path: string;
  readonly #options: DirectoryOptions;
  readonly #now: () => number;
  readonly #listeners = new Set<() => void>();
  #snapshot: AcceptedSnapshot | undefined;
  #unwritten: SignedSnapshot | undefined;
  #writing: Promise<void> | undefined;

  private constructor(path: string, options: DirectoryOptions) {
    this.#path = path;
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Reads the file, which may be absent. One that is damaged or foreign is reported and does not count; an expired one is kept, not fresh. */
  static async load(path: string, options: DirectoryOptions): Promise<Directory> {
    const directory = new Directory(path, options);
    try {
      directory.#snapshot = readSnapshot(SignedSnapshot.decode(await readFile(path)), options);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
        options.onProblem?.(`${path}: the kept snapshot does not count: ${describe(cause)}`, cause);
      }
    }
    return directory;
  }

  /** 0: none yet. */
  get version(): bigint {
    return this.#snapshot?.version ?? 0n;
  }

  /** The snapshot as the registry signed it, to be handed on. Undefined: none, or it is not good any more. */
  get signed(): SignedSnapshot | undefined {
    return this.isFresh() ? this.#snapshot?.signed : undefined;
  }

  /** 0: none yet. */
  get expireTimeMs(): number {
    return this.#snapshot?.expireTimeMs ?? 0;
  }

  /** Whether the snapshot still counts. When it does not, nobody can be identified. */
  isFresh(nowMs: number = this.#now()): boolean {
    return this.expireTimeMs > nowMs;
  }

  /** Suspended and removed ones included, sorted by name. */
  members(): DirectoryMember[] {
    return [...(this.#snapshot?.members.values() ?? [])];
  }

  member(org: string): DirectoryMember | undefined {
    return this.#snapshot?.members.get(org);
  }

  trust(org: string): MemberTrust | undefined {
    const member = this.member(org);
    return member && this.#trustOf(member);
  }

  *all(): Iterable<MemberTrust> {
    for (const member of this.#snapshot?.members.values() ?? []) yield this.#trustOf(member);
  }

  #trustOf({ org, state, profile }: DirectoryMember): MemberTrust {
    const active = state === 'active' && this.isFresh();
    return { org, active, authorities: profile.authorities, isRevoked: revokedBy(profile) };
  }

  /** PEM of the CAs of active members, for the TLS layer. */
  authoritiesPem(): string[] {
    const active = this.members().filter(({ state }) => state === 'active');
    return active.flatMap(({ profile }) => profile.authorities.map(ca => ca.toString()));
  }

  /**
   * Takes a snapshot if it is good, and keeps it on disk. True: something changed. Throws as `acceptSnapshot`; the last good one then
   * stays.
   *
   * The file follows shortly after: what is lost by a crash in between is asked for again.
   */
  offer(signed: SignedSnapshot): boolean {
    const accepted = acceptSnapshot(this.#snapshot, signed, { ...this.#options, nowMs: this.#now() });
    if (accepted === this.#snapshot) return false;
    this.#snapshot = accepted;
    this.#unwritten = signed;
    this.#writing ??= this.#write();
    this.notify();
    return true;
  }

  /** Resolves when the file holds the newest snapshot, or could not be written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  /** One write at a time, always of the newest. */
  async #write(): Promise<void> {
    try {
      while (this.#unwritten) {
        const signed = this.#unwritten;
        this.#unwritten = undefined;
        await writeFileAtomically(this.#path, SignedSnapshot.encode(signed).finish());
      }
    } catch (cause) {
      this.#options.onProblem?.(`${this.#path}: the snapshot cannot be kept: ${describe(cause)}`, cause);
    } finally {
      this.#writing = undefined;
    }
  }

  /** Calls the listener after each change, and when the snapshot ends being good. Returns what stops it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Tells the listeners to look again. */
  notify(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** The member, if it takes part and the snapshot is fresh. Throws SNAPSHOT_EXPIRED, ORG_UNKNOWN or ORG_INACTIVE. */
  activeMember(org: string): DirectoryMember {
    if (!this.isFresh()) throw new FedgateError('SNAPSHOT_EXPIRED', 'no snapshot of the registry is good any more');
    const member = this.member(org);
    if (!member)
      throw new FedgateError('ORG_UNKNOWN', `${org} is no member of ${this.#options.federation}`, {
        metadata: { org },
      });
    if (member.state !== 'active')
      throw new FedgateError('ORG_INACTIVE', `${org} is ${member.state}`, { metadata: { org } });
    return member;
  }
}

import { mkdir } from 'node:fs/promises';
import { type Database, open } from 'lmdb';
import { Member } from '../../../gen/ts/fedgate/registry/v1/record.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';

/** An invitation as it is kept: the secret itself is known only to whoever was invited. */
export interface StoredInvitation {
  readonly org: OrgName;
  /** SHA-256 of the secret. */
  readonly secretHash: Uint8Array;
  readonly expireTimeMs: number;
  /** The CA key that joined with it (`authorityKeyId`). Undefined: not used yet. */
  readonly usedBy?: string | undefined;
}

/** What changes together. */
export interface Change {
  /** The version this change was decided on. */
  readonly expectedVersion: bigint;
  /** The snapshot version from then on. */
  readonly version: bigint;
  readonly member?: Member;
  readonly invitation?: StoredInvitation;
}

export interface StoredState {
  readonly version: bigint;
  readonly members: readonly Member[];
  readonly invitations: readonly StoredInvitation[];
}

/** The registry's durable state. */
export interface RegistryStore {
  load(): Promise<StoredState>;
  /** All or nothing; on stable storage when it resolves. Throws when the version is no longer the expected one: then another process writes too. */
  commit(change: Change): Promise<void>;
  close(): Promise<void>;
}

/** Opens or makes the database in a folder. The caller closes it. */
export async function openRegistryStore(folder: string): Promise<RegistryStore> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // Without overlapping sync a transaction resolves only once it is synced; binary keys and values are ours to define.
  const root = open<Buffer, Buffer>({
    path: folder,
    encoding: 'binary',
    keyEncoding: 'binary',
    overlappingSync: false,
  });
  return new LmdbRegistryStore(root);
}

const VERSION = Buffer.from('version');
const memberKey = (org: string): Buffer => Buffer.from(`member/${org}`);
const invitationKey = (org: string): Buffer => Buffer.from(`invitation/${org}`);
/** One byte after `/`: the end of a range of keys. */
const rangeOf = (prefix: string) => ({ start: Buffer.from(`${prefix}/`), end: Buffer.from(`${prefix}0`) });

class LmdbRegistryStore implements RegistryStore {
  readonly #db: Database<Buffer, Buffer>;

  constructor(db: Database<Buffer, Buffer>) {
    this.#db = db;
  }

  async load(): Promise<StoredState> {
    return {
      version: this.#version(),
      members: this.#values('member', Member.decode),
      invitations: this.#values('invitation', decodeInvitation),
    };
  }

  #values<T>(prefix: string, decode: (value: Buffer) => T): T[] {
    return [...this.#db.getRange(rangeOf(prefix))].map(({ value }) => decode(value));
  }

  async commit({ expectedVersion, version, member, invitation }: Change): Promise<void> {
    // An exception within a transaction would not undo what was written before it: look first, write last.
    const problem = await this.#db.transaction(() => {
      const found = this.#version();
      if (found !== expectedVersion) return `version ${found} instead of ${expectedVersion}`;
      // Not awaited one by one: they are of this transaction, and it is awaited.
      void this.#db.put(VERSION, Buffer.from(version.toString()));
      if (member) void this.#db.put(memberKey(member.org), Buffer.from(Member.encode(member).finish()));
      if (invitation) void this.#db.put(invitationKey(invitation.org), encodeInvitation(invitation));
      return undefined;
    });
    if (problem !== undefined) {
      throw new FedgateError('INTERNAL', `the registry's database was changed by another process: ${problem}`);
    }
  }

  #version(): bigint {
    return BigInt(this.#db.get(VERSION)?.toString() ?? '0');
  }

  async close(): Promise<void> {
    await this.#db.close();
  }
}

const encodeInvitation = ({ secretHash, ...rest }: StoredInvitation): Buffer =>
  Buffer.from(JSON.stringify({ ...rest, secretHash: Buffer.from(secretHash).toString('hex') }));

function decodeInvitation(value: Buffer): StoredInvitation {
  const { secretHash, ...rest } = JSON.parse(value.toString('utf8')) as Omit<StoredInvitation, 'secretHash'> & {
    secretHash: string;
  };
  return { ...rest, secretHash: Buffer.from(secretHash, 'hex') };
}

import type { ApproverDirectory, OrgApprovers } from '../approvals/types.js';
import type { Directory } from '../registry/directory.js';
import { authorityApprovalKeyId } from '../registry/record.js';
import type { DirectoryMember } from '../registry/snapshot.js';

/**
 * The members' approval keys, out of the last good snapshot.
 *
 * The registry sees to it that no two members have one key. Should it not, such a key counts for nobody: it would be one signature and two
 * votes.
 */
export class SnapshotApprovers implements ApproverDirectory {
  readonly #directory: Directory;
  /** Keys that count for nobody, as of which snapshot. */
  #ambiguous: { readonly version: bigint; readonly keyIds: ReadonlySet<string> } | undefined;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  of(org: string): OrgApprovers | undefined {
    const member = this.#directory.member(org);
    return member && this.#read(member);
  }

  *all(): Iterable<OrgApprovers> {
    for (const member of this.#directory.members()) yield this.#read(member);
  }

  onChange(listener: () => void): () => void {
    return this.#directory.onChange(listener);
  }

  #read({ org, state, profile }: DirectoryMember): OrgApprovers {
    const ambiguous = this.#ambiguousKeys();
    return {
      org,
      active: state === 'active' && this.#directory.isFresh(),
      approvers: profile.approvers.filter(({ key }) => !ambiguous.has(key.id)),
      required: profile.approvalsRequired,
    };
  }

  #ambiguousKeys(): ReadonlySet<string> {
    const { version } = this.#directory;
    if (this.#ambiguous?.version !== version) {
      this.#ambiguous = { version, keyIds: ambiguousKeys(this.#directory.members()) };
    }
    return this.#ambiguous.keyIds;
  }
}

/** Approval keys that stand in the records of two members, or are the key of any CA. */
function ambiguousKeys(members: readonly DirectoryMember[]): Set<string> {
  const seen = new Set(members.flatMap(({ profile }) => profile.authorities.map(authorityApprovalKeyId)));
  const ambiguous = new Set<string>();
  for (const { profile } of members) {
    // Within one record a key stands once.
    for (const { key } of profile.approvers) {
      if (seen.has(key.id)) ambiguous.add(key.id);
      seen.add(key.id);
    }
  }
  return ambiguous;
}

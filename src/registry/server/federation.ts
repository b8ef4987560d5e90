import type { SignedRecord } from '../../../gen/ts/fedgate/registry/v1/record.js';
import { FedgateError, fieldError } from '../../errors.js';
import type { Approver } from '../../identity/approver.js';
import { type OrgName, parseOrgName } from '../../identity/names.js';
import { verifyDetached } from '../../identity/signing.js';
import type { MemberTrust, TrustDirectory } from '../../identity/verify.js';
import { joinProofBytes } from '../join-proof.js';
import {
  authorityApprovalKeyId,
  authorityKeyId,
  checkNewRecord,
  checkStillRevoked,
  checkSuccession,
  type OrgProfile,
  readRecord,
  revokedBy,
} from '../record.js';
import { type DirectoryMember, type MemberState, memberStateFromWire, memberToWire } from '../snapshot.js';
import { Challenges } from './challenges.js';
import { hashSecret, Invitations } from './invitations.js';
import { type IssuedSnapshot, type IssuerOptions, issueSnapshot, renewalTimeMs } from './snapshots.js';
import type { Change, RegistryStore, StoredInvitation } from './store.js';

const HOUR_MS = 3_600_000;
export const DEFAULT_INVITATION_LIFETIME_MS = 24 * HOUR_MS;
const LONGEST_INVITATION_LIFETIME_MS = 30 * 24 * HOUR_MS;

export interface FederationOptions {
  readonly store: RegistryStore;
  readonly issuer: IssuerOptions;
  readonly now: () => number;
}

export interface JoinClaim {
  readonly secret: Uint8Array;
  readonly challenge: Uint8Array;
  readonly proof: Uint8Array;
  readonly record: SignedRecord;
}

/**
 * The federation as the registry knows it: who is a member, who is invited, and the snapshot that says so.
 *
 * Changes happen one after the other. Each is decided on the state in memory, then stored together with the version of the snapshot
 * that will say it, then signed, and only then answered and told to watchers.
 */
export class Federation implements TrustDirectory {
  readonly #store: RegistryStore;
  readonly #issuer: IssuerOptions;
  readonly #now: () => number;
  readonly #members = new Map<string, DirectoryMember>();
  readonly #invitations: Invitations;
  readonly #challenges = new Challenges();
  readonly #listeners = new Set<() => void>();
  #version: bigint;
  #snapshot: IssuedSnapshot;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor({ store, issuer, now }: FederationOptions, version: bigint) {
    this.#store = store;
    this.#issuer = issuer;
    this.#now = now;
    this.#invitations = new Invitations(now);
    this.#version = version;
    // Replaced before anybody sees it.
    this.#snapshot = {
      version: 0n,
      timeMs: 0,
      expireTimeMs: 0,
      signed: { snapshot: new Uint8Array(), signature: new Uint8Array() },
    };
  }

  /** Reads the state and issues a snapshot with a version that no earlier run has used. */
  static async open(options: FederationOptions): Promise<Federation> {
    const { version, members, invitations } = await options.store.load();
    const federation = new Federation(options, version);
    for (const { org, state, record } of members) {
      if (!record) throw new FedgateError('FILE_UNUSABLE', `the registry's database is damaged: ${org} has no record`);
      const profile = readRecord(record, options.issuer.federation);
      federation.#members.set(org, { org: profile.org, state: memberStateFromWire(state) ?? 'suspended', profile });
    }
    for (const invitation of invitations) federation.#invitations.put(invitation);
    await federation.renew();
    return federation;
  }

  get domain(): string {
    return this.#issuer.federation;
  }

  get snapshot(): IssuedSnapshot {
    return this.#snapshot;
  }

  /** Sorted by name, removed ones included. */
  members(): DirectoryMember[] {
    return [...this.#members.values()].sort((a, b) => (a.org < b.org ? -1 : 1));
  }

  /** Throws ORG_UNKNOWN. */
  member(org: string): DirectoryMember {
    const member = this.#members.get(org);
    if (!member) throw new FedgateError('ORG_UNKNOWN', `no member has the name ${JSON.stringify(org.slice(0, 40))}`);
    return member;
  }

  /** Neither used nor expired; sorted by name. */
  openInvitations(): StoredInvitation[] {
    return this.#invitations.open();
  }

  trust(org: string): MemberTrust | undefined {
    const member = this.#members.get(org);
    return member && trustOf(member);
  }

  *all(): Iterable<MemberTrust> {
    for (const member of this.#members.values()) yield trustOf(member);
  }

  /** Calls the listener after each new snapshot. Returns what stops it. */
  onSnapshot(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Stores a new invitation in place of an unused earlier one. Throws ORG_EXISTS or FIELD_INVALID. Returns when it ends. */
  invite(orgText: string, secret: Uint8Array, lifetimeMs: number): Promise<{ org: OrgName; expireTimeMs: number }> {
    const org = parseOrgName(orgText, 'org');
    if (!(lifetimeMs > 0 && lifetimeMs <= LONGEST_INVITATION_LIFETIME_MS)) {
      throw fieldError('lifetime_seconds', 'an invitation is good for at most 30 days');
    }
    return this.#serially(async () => {
      if (this.#members.has(org)) {
        throw new FedgateError('ORG_EXISTS', `${org} is a member already, or was once`, { metadata: { org } });
      }
      const invitation = { org, secretHash: hashSecret(secret), expireTimeMs: this.#now() + lifetimeMs };
      // Invitations are not in the snapshot, so its version stays.
      await this.#store.commit({ expectedVersion: this.#version, version: this.#version, invitation });
      this.#invitations.put(invitation);
      return { org, expireTimeMs: invitation.expireTimeMs };
    });
  }

  /**
   * Gives a challenge to whoever holds an invitation. Throws INVITATION_UNKNOWN, INVITATION_EXPIRED or LIMIT_REACHED.
   *
   * A used invitation gets one too, or nobody could ask again for a lost answer; `join` then tells who used it.
   */
  challenge(orgText: string, secret: Uint8Array): Buffer {
    const { org } = this.#invitations.find(orgText, secret);
    return this.#challenges.create(org, this.#now());
  }

  /** Makes the bearer of an invitation a member. Repeats its success for the same CA key. Throws INVITATION_*, PROOF_INVALID, REPLAYED, CA_ALREADY_REGISTERED, APPROVER_KEY_TAKEN or RECORD_INVALID. */
  join({ secret, challenge, proof, record }: JoinClaim): Promise<IssuedSnapshot> {
    return this.#serially(async () => {
      const org = this.#challenges.use(challenge, this.#now());
      const invitation = this.#invitations.find(org, secret);
      const profile = this.#firstProfile(record, invitation.org);
      const [authority] = profile.authorities;
      if (
        !authority ||
        !verifyDetached('join', authority.publicKey, joinProofBytes(challenge, secret, record), proof)
      ) {
        throw new FedgateError('PROOF_INVALID', 'the proof of possession of the CA key does not hold');
      }
      const usedBy = authorityKeyId(authority);
      if (invitation.usedBy === usedBy) {
        this.requireActive(invitation.org);
        return this.#snapshot;
      }
      if (invitation.usedBy !== undefined) throw invitationUsed(invitation.org);
      this.#refuseTakenKeys(profile);
      const member: DirectoryMember = { org: profile.org, state: 'active', profile };
      return this.#change({ member, invitation: { ...invitation, usedBy } });
    });
  }

  #firstProfile(record: SignedRecord, org: OrgName): OrgProfile {
    const profile = readRecord(record, this.domain);
    checkNewRecord(profile);
    // A second CA would be one whose possession nobody proved.
    if (profile.org !== org || profile.sequence !== 1n || profile.authorities.length !== 1) {
      throw new FedgateError('RECORD_INVALID', `not a first record of ${org}: sequence 1, one CA certificate`, {
        metadata: { org },
      });
    }
    return profile;
  }

  /** No key is two things: neither the keys of CAs nor approval keys, those of removed members and revoked ones included. */
  #refuseTakenKeys({ org, authorities, approvers }: OrgProfile): void {
    const own = new Set(authorities.map(authorityApprovalKeyId));
    for (const { org: other, profile } of this.#members.values()) {
      if (other === org) continue;
      const cas = new Set(profile.authorities.map(authorityApprovalKeyId));
      const keys = new Set(profile.approvers.map(({ key }) => key.id));
      if ([...own].some(id => cas.has(id) || keys.has(id))) {
        throw new FedgateError(
          'CA_ALREADY_REGISTERED',
          "the CA key is another member's; every organisation makes its own",
        );
      }
      const taken = approvers.find(({ key }) => cas.has(key.id) || keys.has(key.id));
      if (taken) throw approverKeyTaken(taken);
    }
  }

  /** Replaces a member's record. Throws IDENTITY_MISMATCH for another's, RECORD_INVALID, RECORD_STALE, ORG_INACTIVE, CA_ALREADY_REGISTERED or APPROVER_KEY_TAKEN. */
  putRecord(callerOrg: OrgName, record: SignedRecord): Promise<IssuedSnapshot> {
    return this.#serially(async () => {
      const profile = readRecord(record, this.domain);
      if (profile.org !== callerOrg) {
        throw new FedgateError('IDENTITY_MISMATCH', `${callerOrg} cannot replace the record of ${profile.org}`, {
          metadata: { org: callerOrg },
        });
      }
      const member = this.member(callerOrg);
      // It may have been cut off while the call waited for its turn.
      if (member.state !== 'active') throw inactive(member);
      checkSuccession(member.profile, profile);
      checkNewRecord(profile);
      checkStillRevoked(member.profile, profile, this.#now());
      this.#refuseTakenKeys(profile);
      return this.#change({ member: { ...member, profile } });
    });
  }

  /** Suspends, resumes or removes a member. Throws ORG_UNKNOWN or ORG_REMOVED. */
  setState(org: string, state: MemberState): Promise<{ member: DirectoryMember; snapshot: IssuedSnapshot }> {
    return this.#serially(async () => {
      const member = this.member(org);
      if (member.state === state) return { member, snapshot: this.#snapshot };
      if (member.state === 'removed') {
        throw new FedgateError('ORG_REMOVED', `${member.org} was removed, which is for ever`, {
          metadata: { org: member.org },
        });
      }
      const changed = { ...member, state };
      return { member: changed, snapshot: await this.#change({ member: changed }) };
    });
  }

  /** Issues a younger snapshot of the same state. */
  renew(): Promise<IssuedSnapshot> {
    return this.#serially(() => this.#change({}));
  }

  /** When `renew` is due. */
  get renewalTimeMs(): number {
    return renewalTimeMs(this.#snapshot);
  }

  /** Throws ORG_INACTIVE. */
  requireActive(org: OrgName): void {
    const member = this.member(org);
    if (member.state !== 'active') throw inactive(member);
  }

  /** Waits until all changes that were asked for are done. */
  async settled(): Promise<void> {
    await this.#queue.catch(() => undefined);
  }

  /** Stored first, signed second, told third: a version that anybody has seen survives every crash, and none is signed twice. */
  async #change({
    member,
    invitation,
  }: {
    member?: DirectoryMember;
    invitation?: StoredInvitation;
  }): Promise<IssuedSnapshot> {
    const version = this.#version + 1n;
    const change: Change = {
      expectedVersion: this.#version,
      version,
      ...(member ? { member: memberToWire(member) } : {}),
      ...(invitation ? { invitation } : {}),
    };
    await this.#store.commit(change);
    this.#version = version;
    if (member) this.#members.set(member.org, member);
    if (invitation) this.#invitations.put(invitation);
    this.#snapshot = issueSnapshot(this.#issuer, version, this.#members.values(), this.#now());
    for (const listener of [...this.#listeners]) listener();
    return this.#snapshot;
  }

  #serially<T>(step: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(step, step);
    this.#queue = run.catch(() => undefined);
    return run;
  }
}

const trustOf = ({ org, state, profile }: DirectoryMember): MemberTrust => ({
  org,
  active: state === 'active',
  authorities: profile.authorities,
  isRevoked: revokedBy(profile),
});

const inactive = ({ org, state }: DirectoryMember): FedgateError =>
  new FedgateError('ORG_INACTIVE', `${org} is ${state}`, { metadata: { org } });

/** Whose it is already is not told: the caller need not know who else has which key. */
const approverKeyTaken = ({ name, key }: Approver): FedgateError =>
  new FedgateError(
    'APPROVER_KEY_TAKEN',
    `the approval key of ${name} (${key.id}) is another member's already, or was once; every approver makes their own`,
    { metadata: { approver: name, keyId: key.id } },
  );

const invitationUsed = (org: OrgName): FedgateError =>
  new FedgateError('INVITATION_USED', `the invitation for ${org} was used already; ask for a new one`, {
    metadata: { org },
  });

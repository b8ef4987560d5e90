import { type ApprovalKey, verifyWithApprovalKey } from '../../identity/approval-key.js';
import { pae } from '../statement/pae.js';
import { PAYLOAD_TYPE, type ProposalFacts } from '../types.js';
import type { Evidence, FoundSignature } from './evidence.js';
import type { Policy, PolicyKey } from './policy.js';

/** What became of one signature. */
export interface SignatureVerdict {
  /** The bundles that hold it. */
  readonly sources: readonly string[];
  /** Of the key that verifies it; undefined when none does. */
  readonly keyId: string | undefined;
  readonly org: string | undefined;
  /** The approver's name in the policy. */
  readonly approver: string | undefined;
  readonly counts: boolean;
  /** Why not; undefined when it counts. */
  readonly why: string | undefined;
}

/** What became of one organisation, of the policy or the proposal. */
export interface OrgVerdict {
  readonly org: string;
  readonly counts: boolean;
  /** Different approvers whose signatures count. */
  readonly approvers: number;
  /** How many are needed: what the policy demands, or the proposal where that is more. */
  readonly required: number;
  readonly why: string | undefined;
}

export interface Count {
  readonly orgs: readonly OrgVerdict[];
  readonly signatures: readonly SignatureVerdict[];
}

/** How often a key is tried on a signature that is not said to be by it. */
const MAX_BLIND_TRIES = 4_096;

interface Candidate extends PolicyKey {
  readonly org: string;
  /** The organisation for which the proposal names the key. */
  readonly namedFor: string | undefined;
}

/**
 * Counts organisations, not signatures: each signature is led back to the key that verifies it, each key to an approver of one organisation,
 * and each of these counts once.
 */
export function countSignatures({ statement, proposal, signatures }: Evidence, policy: Policy): Count {
  const candidates = candidatesOf(proposal, policy);
  const finder = new KeyFinder(pae(PAYLOAD_TYPE, statement), candidates);
  const seen = new Set<string>();
  const approvers = new Map<string, Set<string>>();
  const verdicts = signatures.map((found): SignatureVerdict => {
    const by = finder.find(found);
    const why = typeof by === 'string' ? by : whyNot(by, proposal, seen, approvers);
    if (typeof by === 'string') {
      return { sources: found.sources, keyId: undefined, org: undefined, approver: undefined, counts: false, why };
    }
    if (why === undefined) {
      approvers.set(by.org, (approvers.get(by.org) ?? new Set()).add(approverOf(by)));
    }
    seen.add(by.key.id);
    return { sources: found.sources, keyId: by.key.id, org: by.org, approver: by.name, counts: why === undefined, why };
  });
  return { signatures: verdicts, orgs: orgVerdicts(proposal, policy, approvers) };
}

function candidatesOf(proposal: ProposalFacts, policy: Policy): readonly Candidate[] {
  const named = new Map(proposal.approvers.flatMap(({ org, keyIds }) => keyIds.map(id => [id, org])));
  return policy.orgs.flatMap(({ org, keys }) => keys.map(each => ({ ...each, org, namedFor: named.get(each.key.id) })));
}

/** People are told apart by their names in the policy; a key without one is an approver of its own. */
const approverOf = ({ name, key }: PolicyKey): string => (name === undefined ? `key ${key.id}` : `name ${name}`);

function whyNot(
  by: Candidate,
  proposal: ProposalFacts,
  seen: ReadonlySet<string>,
  approvers: ReadonlyMap<string, ReadonlySet<string>>,
): string | undefined {
  const { org, namedFor, revoked, key } = by;
  if (namedFor === undefined) return `the proposal does not name this key of ${org}`;
  if (namedFor !== org) return `the proposal has this key under ${namedFor}, the policy under ${org}`;
  // Nothing proves offline when a signature was made, so one by a key that somebody else may have says nothing at all.
  if (revoked?.compromised) return 'the key is compromised';
  if (revoked && proposal.createdMs >= revoked.atMs) {
    return 'whose key it was had left when the proposal was made';
  }
  if (seen.has(key.id)) return 'already counted: the same key';
  if (approvers.get(org)?.has(approverOf(by))) return 'already counted: another key of the same approver';
  return undefined;
}

function orgVerdicts(
  proposal: ProposalFacts,
  policy: Policy,
  approvers: ReadonlyMap<string, ReadonlySet<string>>,
): readonly OrgVerdict[] {
  const names = new Set<string>([...policy.orgs, ...proposal.approvers].map(({ org }) => org));
  return [...names].sort().map(org => {
    const trusted = policy.orgs.find(each => each.org === org);
    const named = proposal.approvers.find(each => each.org === org);
    const count = approvers.get(org)?.size ?? 0;
    const required = Math.max(trusted?.required ?? 1, named?.required ?? 1);
    const counts = trusted !== undefined && named !== undefined && count >= required;
    const why = !trusted
      ? 'the policy does not name it'
      : !named
        ? 'the proposal does not name it'
        : count === 0
          ? 'no signature of it counts'
          : `${count} of ${required} approvers that it needs`;
    return { org, counts, approvers: count, required, why: counts ? undefined : why };
  });
}

/** Finds the key that verifies a signature. The hint says where to look first, and no more. */
class KeyFinder {
  readonly #message: Buffer;
  readonly #byId: ReadonlyMap<string, Candidate>;
  readonly #named: readonly Candidate[];
  readonly #found = new Set<ApprovalKey>();
  #tries = 0;

  constructor(message: Buffer, candidates: readonly Candidate[]) {
    this.#message = message;
    this.#byId = new Map(candidates.map(each => [each.key.id, each]));
    this.#named = candidates.filter(({ namedFor }) => namedFor !== undefined);
  }

  /** The key, or why there is none. */
  find(found: FoundSignature): Candidate | string {
    const hinted = this.#byId.get(found.hint);
    if (hinted && this.#verifies(hinted, found)) return hinted;
    // A key that verified a signature already is most likely not the one: those come last.
    const fresh = this.#named.filter(({ key }) => !this.#found.has(key));
    const used = this.#named.filter(({ key }) => this.#found.has(key));
    for (const candidate of [...fresh, ...used]) {
      if (candidate === hinted) continue;
      if (++this.#tries > MAX_BLIND_TRIES) return 'not looked at: too many signatures are by no key that is known';
      if (this.#verifies(candidate, found)) return candidate;
    }
    return hinted
      ? 'it is not what its key signs: the statement or the signature was changed'
      : 'no key of the policy verifies it';
  }

  #verifies(candidate: Candidate, { signature }: FoundSignature): boolean {
    const holds = verifyWithApprovalKey(candidate.key, this.#message, signature);
    if (holds) this.#found.add(candidate.key);
    return holds;
  }
}

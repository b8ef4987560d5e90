import type { Choice, CountableVote } from './types.js';

/**
 * What one key may still say of one proposal.
 *
 * It may approve once and reject once, and only one of them stands at a time. So whoever replays a vote that was withdrawn says nothing new.
 */
export class KeyVotes {
  readonly #cast = new Set<Choice>();
  #standing: Choice | undefined;

  /** What stands. */
  get standing(): Choice | undefined {
    return this.#standing;
  }

  has(choice: Choice): boolean {
    return this.#cast.has(choice);
  }

  /** Why a vote cannot follow those before it; undefined when it can. */
  refuses({ kind, withdraws }: Pick<CountableVote, 'kind' | 'withdraws'>): string | undefined {
    if (kind === 'withdraw') {
      return withdraws !== undefined && this.#standing === withdraws
        ? undefined
        : 'there is no such vote of this key to withdraw';
    }
    if (this.#standing === kind) return `already counted: this key has voted to ${kind}`;
    if (this.#cast.has(kind)) return `this key has voted to ${kind} before, and has withdrawn that`;
    if (this.#standing !== undefined) return `this key has voted to ${this.#standing}, and has not withdrawn that`;
    return undefined;
  }

  /** Takes a vote that is not refused. */
  take({ kind }: Pick<CountableVote, 'kind'>): void {
    if (kind === 'withdraw') this.#standing = undefined;
    else {
      this.#cast.add(kind);
      this.#standing = kind;
    }
  }

  /** Whether the same was said before, and still is so. */
  repeats({ kind, withdraws }: Pick<CountableVote, 'kind' | 'withdraws'>): boolean {
    if (kind !== 'withdraw') return this.#standing === kind;
    return withdraws !== undefined && this.#cast.has(withdraws) && this.#standing !== withdraws;
  }
}

/** What a key has said in these votes, those of other keys among them. */
export function votesOf(votes: readonly CountableVote[], keyId: string): KeyVotes {
  const said = new KeyVotes();
  for (const vote of votes) if (vote.keyId === keyId && !said.refuses(vote)) said.take(vote);
  return said;
}

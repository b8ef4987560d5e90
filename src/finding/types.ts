import type { OrgName } from '../identity/names.js';

/** Where a hint came from, in the order of the chain. */
export type ResolverName = 'static' | 'registry' | 'dns' | 'mdns' | 'acquaintance';

/**
 * Where a gateway of an organisation may be. Nothing but a place to dial: what answers there has to prove that it is that gateway, with a
 * certificate of the CA that the organisation's own record names.
 */
export interface AddressHint {
  /** The gateway's name. Undefined: any of the organisation. */
  readonly gateway?: string | undefined;
  /** `host:port`. */
  readonly address: string;
}

/** A hint, and who gave it. */
export interface FoundAddress extends AddressHint {
  readonly source: ResolverName;
}

/** One link of the chain. */
export interface Resolver {
  readonly name: ResolverName;
  /** What it knows without looking. Undefined: it has to look for everything. */
  readonly atHand?: (org: OrgName) => readonly AddressHint[];
  /** Looks. Throws whatever went wrong: that is reported and is no failure of the chain. `signal` ends it. */
  find(org: OrgName, signal: AbortSignal): Promise<readonly AddressHint[]>;
}

/** What became of asking one resolver. */
export interface ResolverReport {
  readonly name: ResolverName;
  readonly addresses: readonly FoundAddress[];
  /** Hints that were not used: too many, or for a place that may not be dialled. */
  readonly refused: number;
  /** Why it found nothing, for people. Undefined: it looked. */
  readonly failure?: string | undefined;
}

import { fieldError, quoted } from '../errors.js';
import { parseNodeName } from '../identity/names.js';
import { invalidToken } from './bearer.js';

/** How a claim of a token names a node. */
export interface NodeNaming {
  /** The claim that is looked at, a text. */
  readonly nodeClaim: string;
  /** What the claim must look like: text with exactly one `*`, which stands for the characters of a node's name and is what counts. */
  readonly claimPattern: string;
  /** Put before what the `*` stands for, so that no token names a node that another issuer or a certificate names. */
  readonly nodePrefix: string;
  /** Claim values and the nodes that they are. Values that are not in it are refused when there is at least one entry. */
  readonly nodes: Readonly<Record<string, string>>;
}

const NAME_CHARACTERS = /^[a-z0-9-]{1,63}$/;

/** Throws FIELD_INVALID. */
export function checkClaimPattern(pattern: string): void {
  if (pattern.split('*').length !== 2) throw fieldError('claimPattern', `${quoted(pattern)} has not exactly one \`*\``);
}

/** The node that a claim names. Throws TOKEN_INVALID. */
export function nodeOfClaim(claim: unknown, naming: NodeNaming): string {
  const { nodeClaim, nodes } = naming;
  if (typeof claim !== 'string') throw invalidToken('node', `it has no claim ${quoted(nodeClaim)} that is a text`);
  if (Object.keys(nodes).length > 0) {
    const node = Object.hasOwn(nodes, claim) ? nodes[claim] : undefined;
    if (node === undefined) throw invalidToken('node', `its claim ${quoted(nodeClaim)} is no key of \`nodes\``);
    return node;
  }
  const name = `${naming.nodePrefix}${starOf(claim, naming)}`;
  try {
    return parseNodeName(name, 'node');
  } catch {
    throw invalidToken('node', `its claim ${quoted(nodeClaim)} names no node`);
  }
}

/** No regular expression of the operator's: none of them can be slow, and none matches more than it seems to. */
function starOf(claim: string, { claimPattern, nodeClaim }: NodeNaming): string {
  const [before = '', after = ''] = claimPattern.split('*');
  const star = claim.slice(before.length, claim.length - after.length);
  const fits = claim.length >= before.length + after.length && claim.startsWith(before) && claim.endsWith(after);
  if (!fits || !NAME_CHARACTERS.test(star))
    throw invalidToken('node', `its claim ${quoted(nodeClaim)} is not as \`claimPattern\` says`);
  return star;
}

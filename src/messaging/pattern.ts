import { isInbox, type Pattern } from './address.js';

/** `@*`: any one inbox. */
const EVERY_INBOX = '@*';

/** Whether a channel is one that the pattern speaks of. Whole segments only: `user` never opens `users` nor `user/x`. */
export function matches(pattern: Pattern, channel: string): boolean {
  const segments = channel.split('/');
  const { segments: wanted } = pattern;
  for (const [i, want] of wanted.entries()) {
    if (want === '**') return !segments.slice(i).some(isInbox);
    const segment = segments[i];
    if (segment === undefined || !stands(want, segment)) return false;
  }
  return segments.length === wanted.length;
}

/** Whether a segment of a pattern speaks of a segment, which may be one of a narrower pattern. */
function stands(want: string, segment: string): boolean {
  if (want === '*') return !isInbox(segment);
  return want === segment || (want === EVERY_INBOX && isInbox(segment));
}

/** Whether all that `asked` speaks of is granted by `granted`. A wildcard never leaves what was granted. */
export function covers(granted: Pattern, asked: Pattern): boolean {
  for (const [i, grant] of granted.segments.entries()) {
    if (grant === '**') return !asked.segments.slice(i).some(isInbox);
    const ask = asked.segments[i];
    if (ask === undefined || ask === '**' || !stands(grant, ask)) return false;
  }
  return asked.segments.length === granted.segments.length;
}

/** What two patterns have in common, as one pattern: it matches what both match. Undefined: nothing. */
export function meet(a: Pattern, b: Pattern): Pattern | undefined {
  const segments: string[] = [];
  for (let i = 0; ; i++) {
    const one = a.segments[i];
    const other = b.segments[i];
    const rest = one === '**' ? b.segments.slice(i) : other === '**' ? a.segments.slice(i) : undefined;
    if (rest) return rest.some(isInbox) ? undefined : joined([...segments, ...rest]);
    if (one === undefined && other === undefined) return joined(segments);
    if (one === undefined || other === undefined) return undefined;
    if (stands(one, other)) segments.push(other);
    else if (stands(other, one)) segments.push(one);
    else return undefined;
  }
}

const joined = (segments: readonly string[]): Pattern | undefined =>
  segments.length === 0 ? undefined : { text: segments.join('/'), segments };

interface TrieNode<T> {
  readonly children: Map<string, TrieNode<T>>;
  readonly here: Set<T>;
  readonly below: Set<T>;
}

const newNode = <T>(): TrieNode<T> => ({ children: new Map(), here: new Set(), below: new Set() });

/** Which of many patterns match a channel, in time that depends on the channel's segments and not on how many patterns there are. */
export class PatternIndex<T> {
  readonly #root = newNode<T>();

  add(pattern: Pattern, value: T): void {
    const { node, deep } = this.#find(pattern);
    (deep ? node.below : node.here).add(value);
  }

  remove(pattern: Pattern, value: T): void {
    const path: { parent: TrieNode<T>; segment: string }[] = [];
    const { node, deep } = this.#find(pattern, path);
    (deep ? node.below : node.here).delete(value);
    // Nodes that hold nothing any more go, so that churn does not grow the tree.
    for (const { parent, segment } of path.reverse()) {
      const child = parent.children.get(segment);
      if (child && child.children.size === 0 && child.here.size === 0 && child.below.size === 0)
        parent.children.delete(segment);
      else break;
    }
  }

  #find(pattern: Pattern, path?: { parent: TrieNode<T>; segment: string }[]): { node: TrieNode<T>; deep: boolean } {
    let node = this.#root;
    for (const segment of pattern.segments) {
      if (segment === '**') return { node, deep: true };
      path?.push({ parent: node, segment });
      let child = node.children.get(segment);
      if (!child) {
        child = newNode<T>();
        node.children.set(segment, child);
      }
      node = child;
    }
    return { node, deep: false };
  }

  match(channel: string): Set<T> {
    const found = new Set<T>();
    if (isInbox(channel)) {
      for (const segment of [channel, EVERY_INBOX])
        for (const value of this.#root.children.get(segment)?.here ?? []) found.add(value);
      return found;
    }
    collect(this.#root, channel.split('/'), 0, found);
    return found;
  }
}

function collect<T>(node: TrieNode<T>, segments: readonly string[], at: number, found: Set<T>): void {
  for (const value of node.below) found.add(value);
  const segment = segments[at];
  if (segment === undefined) {
    for (const value of node.here) found.add(value);
    return;
  }
  const exact = node.children.get(segment);
  if (exact) collect(exact, segments, at + 1, found);
  const any = node.children.get('*');
  if (any) collect(any, segments, at + 1, found);
}

import { type Pattern, parsePattern } from './address.js';
import { covers, meet } from './pattern.js';

/** Patterns of one node that are told, and their bytes. */
export const MAX_SHOWN_PATTERNS = 100;
export const MAX_SHOWN_PATTERN_BYTES = 8 * 1024;

/** Where a node answers, as far as somebody is told. */
export interface ShownPatterns {
  /** In order; none is part of another. */
  readonly patterns: readonly string[];
  /** Whether there are more than could be told. */
  readonly cut: boolean;
}

/**
 * What is common to the patterns that a node answers and to those that somebody may ask: never more than the one answers, nor than the other is
 * granted.
 */
export function shownPatterns(answers: readonly string[], granted: readonly Pattern[]): ShownPatterns {
  const common = new Map<string, Pattern>();
  for (const text of answers) {
    const pattern = parsePattern(text);
    for (const grant of granted) {
      const both = meet(grant, pattern);
      if (both) common.set(both.text, both);
    }
  }
  const all = [...common.values()];
  // Beyond what is told anyway, what is part of what need not be known.
  const few = all.length > MAX_SHOWN_PATTERNS * 4 ? all : withoutParts(all);
  return firstOf(few.map(({ text }) => text).sort());
}

const withoutParts = (patterns: readonly Pattern[]): readonly Pattern[] =>
  patterns.filter(each => !patterns.some(other => other !== each && covers(other, each)));

function firstOf(texts: readonly string[]): ShownPatterns {
  let bytes = 0;
  const patterns: string[] = [];
  for (const text of texts) {
    bytes += text.length;
    if (patterns.length >= MAX_SHOWN_PATTERNS || bytes > MAX_SHOWN_PATTERN_BYTES) return { patterns, cut: true };
    patterns.push(text);
  }
  return { patterns, cut: false };
}

import { fieldError } from '../../errors.js';

/**
 * Splits a command into program and arguments: at blanks, except in '…' and "…"; a backslash takes the next character as it is, except in '…'.
 * Nothing else means anything: no variables, no wildcards, no pipes. Throws FIELD_INVALID naming the option.
 */
export function splitCommand(text: string, option: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const character = text.charAt(i);
    if (character === '\\' && quote !== "'") {
      if (++i === text.length) throw fieldError(option, 'ends with a backslash');
      word = (word ?? '') + text.charAt(i);
    } else if (quote !== '') {
      if (character === quote) quote = '';
      else word = (word ?? '') + character;
    } else if (character === "'" || character === '"') {
      quote = character;
      word ??= '';
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + character;
  }
  if (quote !== '') throw fieldError(option, `has a ${quote} that is not closed`);
  if (word !== undefined) words.push(word);
  if (words.length === 0 || words[0] === '') throw fieldError(option, 'names no program');
  return words;
}

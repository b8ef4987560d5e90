import { quoted } from '../../errors.js';

/** What JSON may hold. Objects are maps: no key of theirs means anything to the language. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = ReadonlyMap<string, Json>;

export const isJsonObject = (value: Json | undefined): value is JsonObject => value instanceof Map;
export const isJsonArray = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);

/** How deep objects and arrays may stand in each other. */
const MAX_DEPTH = 32;

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORDS: readonly (readonly [string, null | boolean])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
];

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads JSON of somebody who may want two readers to see two things: RFC 8259, and no key twice in an object, no text that is not Unicode, no
 * byte order mark, no deep nesting. Throws SyntaxError, saying what is wrong and at which character.
 */
export function parseStrictJson(input: string | Uint8Array): Json {
  return new Reader(typeof input === 'string' ? input : decodeUtf8(input)).document();
}

/** Throws SyntaxError. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new SyntaxError('it is not UTF-8');
  }
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Json {
    const value = this.#value(0);
    if (this.#peek() !== '') throw this.#wrong('something follows the value');
    return value;
  }

  #value(depth: number): Json {
    if (depth > MAX_DEPTH) throw this.#wrong(`more than ${MAX_DEPTH} levels`);
    switch (this.#peek()) {
      case '{':
        return this.#object(depth);
      case '[':
        return this.#array(depth);
      case '"':
        return this.#string();
      default:
        return this.#scalar();
    }
  }

  #object(depth: number): JsonObject {
    const found = new Map<string, Json>();
    this.#list('}', () => {
      if (this.#peek() !== '"') throw this.#wrong('a key was expected');
      const key = this.#string();
      if (found.has(key)) throw this.#wrong(`the key ${quoted(key)} stands there twice`);
      if (!this.#take(':')) throw this.#wrong('":" was expected');
      found.set(key, this.#value(depth + 1));
    });
    return found;
  }

  #array(depth: number): readonly Json[] {
    const found: Json[] = [];
    this.#list(']', () => found.push(this.#value(depth + 1)));
    return found;
  }

  /** From the opening bracket to the closing one. */
  #list(end: string, item: () => void): void {
    this.#at++;
    if (this.#take(end)) return;
    do item();
    while (this.#take(','));
    if (!this.#take(end)) throw this.#wrong(`"," or "${end}" was expected`);
  }

  #string(): string {
    const token = this.#text.slice(this.#at, this.#endOfString());
    try {
      // The language's own reader does the escapes, and refuses bare control characters and escapes that there are not.
      const text: string = JSON.parse(token);
      this.#at += token.length;
      if (!/\p{Cs}/u.test(text)) return text;
    } catch {}
    throw this.#wrong('not a string of Unicode characters');
  }

  /** After the next quote before which stands no backslash, or an even number of them. */
  #endOfString(): number {
    let quote = this.#at;
    let before: number;
    do {
      quote = this.#text.indexOf('"', quote + 1);
      if (quote < 0) throw this.#wrong('a string without an end');
      before = quote - 1;
      while (this.#text[before] === '\\') before--;
    } while ((quote - before) % 2 === 0);
    return quote + 1;
  }

  #scalar(): null | boolean | number {
    const word = WORDS.find(([name]) => this.#text.startsWith(name, this.#at));
    if (word) {
      this.#at += word[0].length;
      return word[1];
    }
    NUMBER.lastIndex = this.#at;
    const [token = ''] = NUMBER.exec(this.#text) ?? [];
    this.#at += token.length;
    const number = token === '' ? Number.NaN : Number(token);
    if (!Number.isFinite(number)) throw this.#wrong('a value was expected');
    return number;
  }

  /** The next character that is not space; empty at the end. */
  #peek(): string {
    let character = this.#text.charAt(this.#at);
    while (character === ' ' || character === '\n' || character === '\r' || character === '\t') {
      character = this.#text.charAt(++this.#at);
    }
    return character;
  }

  #take(character: string): boolean {
    const there = this.#peek() === character;
    if (there) this.#at++;
    return there;
  }

  #wrong(what: string): SyntaxError {
    return new SyntaxError(`not the JSON it should be: ${what}, at character ${this.#at + 1}`);
  }
}

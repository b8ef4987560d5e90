import { invalid } from './rules.js';

/** Reads the fields of one object of JSON.parse, by name. Everything throws STATEMENT_INVALID, naming the field. */
export class Fields {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(path, 'is not an object');
    this.#object = value as Readonly<Record<string, unknown>>;
    this.#path = path;
  }

  text(name: string): string {
    const value = this.#own(name);
    if (typeof value !== 'string') throw invalid(this.#pathOf(name), 'is not text');
    return value;
  }

  number(name: string): number {
    const value = this.#own(name);
    if (typeof value !== 'number') throw invalid(this.#pathOf(name), 'is not a number');
    return value;
  }

  /** Milliseconds. That it is written in the one form is found by writing it again. */
  time(name: string): number {
    const ms = Date.parse(this.text(name));
    if (Number.isNaN(ms)) throw invalid(this.#pathOf(name), 'is not a date and time');
    return ms;
  }

  object(name: string): Fields {
    return new Fields(this.#own(name), this.#pathOf(name));
  }

  objects(name: string): readonly Fields[] {
    return this.#list(name).map((item, i) => new Fields(item, `${this.#pathOf(name)}[${i}]`));
  }

  texts(name: string): readonly string[] {
    return this.#list(name).map(item => {
      if (typeof item === 'string') return item;
      throw invalid(this.#pathOf(name), 'holds what is not text');
    });
  }

  #own(name: string): unknown {
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  #list(name: string): readonly unknown[] {
    const value = this.#own(name);
    if (!Array.isArray(value)) throw invalid(this.#pathOf(name), 'is not a list');
    return value;
  }

  #pathOf(name: string): string {
    return `${this.#path}.${name}`;
  }
}

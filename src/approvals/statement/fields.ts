import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.js';
import { invalid } from './rules.js';

/** Reads the fields of one object of a statement, by name. Everything throws STATEMENT_INVALID, naming the field. */
export class Fields {
  readonly #object: JsonObject;
  readonly #path: string;

  constructor(value: Json | undefined, path: string) {
    if (!isJsonObject(value)) throw invalid(path, 'is not an object');
    this.#object = value;
    this.#path = path;
  }

  text(name: string): string {
    const value = this.#object.get(name);
    if (typeof value !== 'string') throw invalid(this.#pathOf(name), 'is not text');
    return value;
  }

  number(name: string): number {
    const value = this.#object.get(name);
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
    return new Fields(this.#object.get(name), this.#pathOf(name));
  }

  objects(name: string): readonly Fields[] {
    return this.#list(name).map((item, i) => new Fields(item, `${this.#pathOf(name)}[${i}]`));
  }

  texts(name: string): readonly string[] {
    return this.#list(name).map(item => {
      if (typeof item !== 'string') throw invalid(this.#pathOf(name), 'holds what is not text');
      return item;
    });
  }

  #list(name: string): readonly Json[] {
    const value = this.#object.get(name);
    if (!isJsonArray(value)) throw invalid(this.#pathOf(name), 'is not a list');
    return value;
  }

  #pathOf(name: string): string {
    return `${this.#path}.${name}`;
  }
}

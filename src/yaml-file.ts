import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { FedgateError, type Reason } from './errors.js';

/** Files that people write: YAML by a schema, and errors that say where. */

/** A text that a function of ours must accept; what that function says becomes the message. */
export const checked = (check: (text: string) => unknown) =>
  z.string().superRefine((text, context) => {
    try {
      check(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: ruleOf(error) });
    }
  });

/** What a check of ours said, without the name of the field, which the place says. */
export function ruleOf(error: unknown): string {
  const { fields, message } = error as FedgateError;
  return fields?.[0]?.description ?? message;
}

/** A value from elsewhere that stands in for one of the file. */
export interface Override {
  /** Where from, for people. */
  readonly from: string;
  readonly keys: readonly string[];
  readonly value: string;
}

/** Throws with `reason` and one line for each problem: `file:line:column key: what was expected`. */
export function parseYaml<S extends z.ZodType>(
  text: string,
  path: string,
  schema: S,
  reason: Reason,
  overrides: readonly Override[] = [],
): z.output<S> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const [broken] = document.errors;
  if (broken) throw new FedgateError(reason, `${at(path, lines, broken.pos[0])} not YAML: ${broken.message}`);
  for (const { keys, value } of overrides) document.setIn(keys, value);
  const result = schema.safeParse(document.toJS({ maxAliasCount: 10 }) ?? {});
  if (result.success) return result.data;
  const problems = result.error.issues.map(issue => describeIssue(issue, path, document, lines, overrides));
  throw new FedgateError(reason, problems.join('\n'));
}

type Issue = z.core.$ZodIssue;

function describeIssue(
  issue: Issue,
  path: string,
  document: ReturnType<typeof parseDocument>,
  lines: LineCounter,
  overrides: readonly Override[],
): string {
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const keys = unknown === undefined ? issue.path : [...issue.path, unknown];
  const name = keys
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i > 0 ? '.' : ''}${String(key)}`))
    .join('');
  const override = overrides.find(each => each.keys.join() === keys.join());
  const where = override ? `${override.from}:` : at(path, lines, offsetOf(document, keys, unknown !== undefined));
  return `${where} ${name || 'the file'}: ${unknown === undefined ? expectation(issue) : 'unknown key'}`;
}

/** zod's words, without its preamble. */
const expectation = (issue: Issue): string => issue.message.replace(/^Invalid (input|option): /, '');

interface YamlNode {
  readonly range?: readonly [number, number, number] | null;
  readonly items?: readonly {
    readonly key?: { readonly value?: unknown; readonly range?: readonly [number, number, number] | null };
  }[];
}

/** Where a key stands; for a missing one, where its parent does. */
function offsetOf(document: ReturnType<typeof parseDocument>, keys: readonly PropertyKey[], atKey: boolean): number {
  for (let depth = keys.length; depth >= 0; depth--) {
    const parent = document.getIn(keys.slice(0, Math.max(0, depth - 1)), true) as YamlNode | undefined;
    const pair = depth > 0 ? parent?.items?.find(item => item.key?.value === keys[depth - 1]) : undefined;
    const node = document.getIn(keys.slice(0, depth), true) as YamlNode | undefined;
    const range = atKey || depth < keys.length ? (pair?.key?.range ?? node?.range) : (node?.range ?? pair?.key?.range);
    if (range) return range[0];
  }
  return 0;
}

function at(path: string, lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return `${path}:${line}:${col}`;
}

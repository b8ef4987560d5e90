import { isMap, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { describe, FedgateError } from '../../errors.js';
import { readText } from '../../identity/files.js';
import { parseFederationDomain, parseHostPort } from '../../identity/names.js';

/** registry.yaml. */
export interface RegistryConfig {
  readonly federation: string;
  /** `host:port` for members and those about to join. Port 0: any. */
  readonly listen: string;
  /** `host:port` for operators. */
  readonly adminListen: string;
  /** `host:port` at which members reach it. */
  readonly advertise: readonly string[];
  /** How long a snapshot is good, hours: for so long gateways do without the registry. */
  readonly snapshotLifetimeHours: number;
}

const DEFAULT_SNAPSHOT_LIFETIME_HOURS = 7 * 24;
const LONGEST_SNAPSHOT_LIFETIME_HOURS = 90 * 24;

const checked = (check: (text: string) => unknown) =>
  z.string().superRefine((text, context) => {
    try {
      check(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: describe(error) });
    }
  });

const schema = z.strictObject({
  federation: checked(text => parseFederationDomain(text, 'federation')),
  listen: checked(text => parseHostPort(text, 'listen', { allowPortZero: true })),
  adminListen: checked(text => parseHostPort(text, 'adminListen', { allowPortZero: true })),
  advertise: z
    .array(checked(text => parseHostPort(text, 'advertise')))
    .max(8)
    .default([]),
  snapshotLifetimeHours: z
    .number()
    .min(1)
    .max(LONGEST_SNAPSHOT_LIFETIME_HOURS)
    .default(DEFAULT_SNAPSHOT_LIFETIME_HOURS),
});

/** Throws FILE_UNUSABLE or CONFIG_INVALID. */
export async function readRegistryConfig(path: string): Promise<RegistryConfig> {
  return parseRegistryConfig(
    await readText(path, 'configuration (is this a folder made by `fedgate registry init`?)'),
    path,
  );
}

/** Throws CONFIG_INVALID, naming file, line and key. */
export function parseRegistryConfig(text: string, path: string): RegistryConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [broken] = document.errors;
  if (broken) throw invalid(`${path}:${lines.linePos(broken.pos[0]).line}: ${broken.message.split('\n')[0]}`);
  const result = schema.safeParse(document.toJS());
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const key = issue?.code === 'unrecognized_keys' ? issue.keys[0] : issue?.path[0];
  throw invalid(`${path}:${lineOfKey(document.contents, String(key), lines)}: ${String(key ?? '')}: ${issue?.message}`);
}

function lineOfKey(contents: unknown, key: string, lines: LineCounter): number {
  if (!isMap(contents)) return 1;
  const pair = contents.items.find(item => String(item.key) === key);
  const start = (pair?.key as { range?: readonly number[] } | undefined)?.range?.[0];
  return start === undefined ? 1 : lines.linePos(start).line;
}

const invalid = (message: string): FedgateError => new FedgateError('CONFIG_INVALID', message);

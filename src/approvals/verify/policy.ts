import { createHash } from 'node:crypto';
import { z } from 'zod';
import { describe, FedgateError } from '../../errors.js';
import { type ApprovalKey, readApprovalKey } from '../../identity/approval-key.js';
import { readText } from '../../identity/files.js';
import { type OrgName, parseFederationDomain, parseOrgName } from '../../identity/names.js';
import { checked, parseYaml, ruleOf } from '../../yaml-file.js';
import { decodeBase64 } from '../statement/base64.js';
import { MAX_ORGS } from '../statement/rules.js';

/**
 * Whom a consumer trusts: a file of its own. What an approval says about itself (who may approve, how many must) is a claim, and holds only
 * together with this.
 */
export interface Policy {
  /** What is remembered of earlier verifications is remembered under this name. */
  readonly name: string;
  /** Rises with every change. */
  readonly version: number;
  /** Changes with everything that the policy says. */
  readonly fingerprint: string;
  readonly createdMs: number | undefined;
  /** From then on nothing is verified with it. */
  readonly expiresMs: number | undefined;
  readonly federation: string | undefined;
  /** How many organisations must approve, whatever fewer a proposal demands. */
  readonly threshold: number;
  readonly orgs: readonly PolicyOrg[];
  /** Those that must be among them. */
  readonly require: readonly OrgName[];
  /** `ORG/project`: whose projects it is for. Undefined: all. */
  readonly projects: readonly string[] | undefined;
  /** The lowest sequence of a proposal that is accepted, by `ORG/project`. */
  readonly minSequence: Readonly<Record<string, number>>;
  readonly maxAgeMs: number | undefined;
  /** Whether a proposal whose time is over is still as good as it was. */
  readonly acceptExpired: boolean;
}

export interface PolicyOrg {
  readonly org: OrgName;
  /** How many different approvers of it must approve, whatever fewer a proposal demands. */
  readonly required: number;
  readonly keys: readonly PolicyKey[];
}

export interface PolicyKey {
  /** Whose key it is: several keys of one name count as one approver. */
  readonly name: string | undefined;
  readonly key: ApprovalKey;
  readonly revoked: { readonly compromised: boolean; readonly atMs: number } | undefined;
}

/** The most keys of one organisation, those that were rotated away included. */
const MAX_POLICY_KEYS = 64;

const DURATION_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A text made into something else; what the function throws becomes the message. */
const made = <T>(make: (text: string) => T) =>
  z.string().transform((text, context) => {
    try {
      return make(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: ruleOf(error) });
      return z.NEVER;
    }
  });

const time = made(parseTime);
const orgName = checked(text => parseOrgName(text, 'org')).transform(text => text as OrgName);
const project = z
  .string()
  .regex(/^[A-Z][A-Z0-9-]{1,31}\/[A-Za-z0-9._-]{1,64}$/, 'expected ORG/project, such as ACME/scanner');

const POLICY_SCHEMA = z
  .strictObject({
    policy: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected a name: 1 to 64 of A-Z a-z 0-9 . _ -'),
    version: z.int().min(1),
    created: time.optional(),
    expires: time.optional(),
    federation: checked(text => parseFederationDomain(text, 'federation')).optional(),
    threshold: z.int().min(1).max(MAX_ORGS),
    orgs: z
      .array(
        z.strictObject({
          org: orgName,
          required: z.int().min(1).default(1),
          keys: z
            .array(
              z.strictObject({
                name: z
                  .string()
                  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected a name: 1 to 63 of a-z 0-9 -')
                  .optional(),
                key: made(parseKey),
                revoked: z.strictObject({ reason: z.enum(['departed', 'compromised']), at: time }).optional(),
              }),
            )
            .min(1)
            .max(MAX_POLICY_KEYS),
        }),
      )
      .min(1)
      .max(MAX_ORGS),
    require: z.array(orgName).default([]),
    projects: z.array(project).min(1).optional(),
    minSequence: z.record(project, z.int().min(1)).default({}),
    maxAge: made(parseAge).optional(),
    expired: z.enum(['refuse', 'accept']).default('refuse'),
  })
  .superRefine((policy, context) => {
    const problem = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (policy.threshold > policy.orgs.length) {
      problem(['threshold'], `expected at most ${policy.orgs.length}: the policy has no more organisations`);
    }
    for (const [i, org] of policy.require.entries()) {
      if (!policy.orgs.some(each => each.org === org)) problem(['require', i], `${org} is not among the orgs`);
    }
    checkOrgs(policy.orgs, problem);
  });

type Parsed = z.output<typeof POLICY_SCHEMA>;

/** Reads a policy. Throws POLICY_INVALID, for a file that is not there or cannot be read too: without a policy nothing is verified. */
export async function readPolicy(path: string): Promise<Policy> {
  let text: string;
  try {
    text = await readText(path, 'policy');
  } catch (cause) {
    throw new FedgateError('POLICY_INVALID', describe(cause), { cause });
  }
  return parsePolicy(text, path);
}

/** Throws POLICY_INVALID with `file:line:column key: what was expected`. */
export function parsePolicy(text: string, path: string): Policy {
  if (text.trim() === '') throw new FedgateError('POLICY_INVALID', `${path}: the policy is empty`);
  const parsed = parseYaml(text, path, POLICY_SCHEMA, 'POLICY_INVALID');
  return {
    name: parsed.policy,
    version: parsed.version,
    fingerprint: fingerprintOf(parsed),
    createdMs: parsed.created,
    expiresMs: parsed.expires,
    federation: parsed.federation,
    threshold: parsed.threshold,
    orgs: parsed.orgs.map(({ org, required, keys }) => ({ org, required, keys: keys.map(toKey) })),
    require: parsed.require,
    projects: parsed.projects,
    minSequence: parsed.minSequence,
    maxAgeMs: parsed.maxAge,
    acceptExpired: parsed.expired === 'accept',
  };
}

const toKey = ({ name, key, revoked }: Parsed['orgs'][number]['keys'][number]): PolicyKey => ({
  name,
  key,
  revoked: revoked && { compromised: revoked.reason === 'compromised', atMs: revoked.at },
});

function checkOrgs(orgs: Parsed['orgs'], problem: (path: (string | number)[], message: string) => void): void {
  const owners = new Map<string, string>();
  for (const [i, { org, required, keys }] of orgs.entries()) {
    if (orgs.findIndex(each => each.org === org) < i) problem(['orgs', i, 'org'], `${org} is there twice`);
    for (const [j, { key }] of keys.entries()) {
      const owner = owners.get(key.id);
      // The one way in which one key could be counted for two.
      if (owner !== undefined) problem(['orgs', i, 'keys', j, 'key'], `the same key is there for ${owner} already`);
      owners.set(key.id, org);
    }
    const approvers = new Set(keys.map(({ name, key }) => name ?? key.id)).size;
    if (required > approvers)
      problem(['orgs', i, 'required'], `expected at most ${approvers}: it has no more approvers`);
  }
}

/** Of what it says, not of how it is written. */
function fingerprintOf(policy: Parsed): string {
  const text = JSON.stringify(policy, (key, value) => (key === 'key' ? (value as ApprovalKey).id : value));
  return createHash('sha256').update(text).digest('hex');
}

const PEM = /^-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*$/;

/** A public key as PEM, or its SubjectPublicKeyInfo in base64. Throws APPROVER_KEY_INVALID. */
export function parseKey(text: string): ApprovalKey {
  const invalid = (what: string) => new FedgateError('APPROVER_KEY_INVALID', what);
  if (text.includes('PRIVATE KEY')) throw invalid('that is a private key: keep it, and give the public one');
  const [, body = text] = PEM.exec(text.trimStart()) ?? [];
  const der = decodeBase64(body.replaceAll(/\s/g, ''));
  if (!der) throw invalid('expected a public key: PEM, or SubjectPublicKeyInfo in base64');
  return readApprovalKey(der);
}

function parseTime(text: string): number {
  const [, date = ''] = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?Z)?$/.exec(text) ?? [];
  const ms = date === '' ? Number.NaN : Date.parse(text);
  // A day that its month does not have is read as one of the next month.
  if (Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(date)) {
    throw new Error('expected a time in UTC such as 2026-03-01 or 2026-03-01T12:00:00Z');
  }
  return ms;
}

function parseAge(text: string): number {
  const [, count = '', unit = ''] = /^([1-9]\d{0,5})(m|h|d)$/.exec(text) ?? [];
  if (unit === '') throw new Error('expected a duration such as 30m, 12h or 90d');
  return Number(count) * (DURATION_MS[unit] ?? 0);
}

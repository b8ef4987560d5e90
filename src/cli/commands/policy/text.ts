/** What a new policy says. */
export interface Draft {
  readonly name: string;
  /** ISO 8601. */
  readonly created: string;
  readonly threshold: number;
  readonly require: readonly string[];
  readonly orgs: readonly DraftOrg[];
}

export interface DraftOrg {
  readonly org: string;
  readonly required: number;
  readonly keys: readonly {
    readonly name: string | undefined;
    readonly spki: Uint8Array;
    readonly revoked: { readonly reason: 'departed' | 'compromised'; readonly at: string } | undefined;
  }[];
}

/** As YAML, with what else it may say as comments. Values are texts of ours or quoted; whoever reads it checks them. */
export const formatPolicy = ({ name, created, threshold, require, orgs }: Draft): string =>
  [
    '# Whose approvals are trusted here, for `fedgate verify`. Check every key by another way than the one it came.',
    `policy: ${JSON.stringify(name)}`,
    '# Raise it with every change.',
    'version: 1',
    `created: ${created}`,
    '# expires: 2030-01-01',
    '# How many organisations must approve, whatever a proposal says.',
    `threshold: ${threshold}`,
    `${require.length > 0 ? `require: [${require.join(', ')}]` : '# require: [ORG]'}`,
    '# projects: [ORG/project]',
    '# maxAge: 90d',
    '# expired: accept',
    'orgs:',
    ...orgs.flatMap(({ org, required, keys }) => [
      `  - org: ${org}`,
      `    required: ${required}`,
      '    keys:',
      ...keys.flatMap(({ name: approver, spki, revoked }) => [
        `      - key: ${Buffer.from(spki).toString('base64')}`,
        ...(approver === undefined ? [] : [`        name: ${JSON.stringify(approver)}`]),
        ...(revoked ? [`        revoked: { reason: ${revoked.reason}, at: ${revoked.at} }`] : []),
      ]),
    ]),
    '',
  ].join('\n');

import test from 'ava';
import fc from 'fast-check';
import { encodeStatement, MAX_STATEMENT_BYTES, parseStatement } from '../../../src/approvals/statement/statement.js';
import type { ProposalFacts, Statement } from '../../../src/approvals/types.js';
import { FedgateError } from '../../../src/errors.js';
import type { OrgName } from '../../../src/identity/names.js';
import { DAY_MS, proposalOf, replyTo, START_MS, sha256, testKey } from '../../support/approvals.js';

const keys = [testKey('ACME'), testKey('GLOBEX'), testKey('GLOBEX', 'ed25519'), testKey('INITECH')];
const proposal = proposalOf(keys, { threshold: 2, note: 'please', links: ['https://example.org/changes?from=1#top'] });
const approval: Statement = { kind: 'approval', proposal };
const bytes = encodeStatement(approval);

const refusal = (act: () => unknown): string | undefined => {
  try {
    act();
    return undefined;
  } catch (error) {
    return error instanceof FedgateError ? `${error.reason}: ${error.message}` : `threw ${String(error)}`;
  }
};

/** The statement with one text in place of another. */
const edited = (from: string | RegExp, to: string): Buffer => {
  const text = bytes.toString().replace(from, to);
  if (text === bytes.toString()) throw new Error(`nothing was changed by ${from}`);
  return Buffer.from(text);
};

const org = fc.stringMatching(/^[A-Z][A-Z0-9-]{1,31}$/).filter(name => name !== 'REGISTRY');
const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
const time = fc.integer({ min: 0, max: Date.UTC(9998, 0, 1) });
const wellFormed = (maxLength: number) => fc.string({ unit: 'binary', maxLength });
const name = fc.stringMatching(/^[A-Za-z0-9 äß木._-]{1,60}$/u).filter(text => text !== '.' && text !== '..');

const proposals: fc.Arbitrary<ProposalFacts> = fc
  .record({
    orgs: fc.uniqueArray(org, { minLength: 1, maxLength: 64 }),
    seed: hex(32),
    sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    name,
    kind: fc.constantFrom('file' as const, 'package' as const),
    size: fc.integer({ min: 0, max: 16 * 1024 * 1024 }),
    created: time,
    days: fc.integer({ min: 1, max: 366 }),
    threshold: fc.nat(),
    keysEach: fc.integer({ min: 1, max: 8 }),
    note: wellFormed(1_000),
    project: fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/),
    version: fc.stringMatching(/^[A-Za-z0-9._+-]{1,64}$/),
  })
  .map(({ orgs, seed, created, days, threshold, keysEach, ...facts }) => ({
    id: seed,
    federation: 'fed.example',
    project: facts.project,
    version: facts.version,
    sequence: facts.sequence,
    artifact: { name: facts.name, kind: facts.kind, size: facts.size, sha256: sha256(seed) },
    proposer: orgs[0] as OrgName,
    approvers: orgs.sort().map(each => ({
      org: each as OrgName,
      trustDomain: `${each.toLowerCase()}.fed.example`,
      required: 1 + (threshold % keysEach),
      keyIds: Array.from({ length: keysEach }, (_, i) => sha256(`${each} ${i}`)).sort(),
    })),
    threshold: 1 + (threshold % orgs.length),
    createdMs: created,
    notBeforeMs: created,
    notAfterMs: created + days * DAY_MS,
    note: facts.note,
    links: [],
  }));

test('statement: what is written is read again, whatever it says', t => {
  fc.assert(
    fc.property(proposals, facts => {
      t.deepEqual(parseStatement(encodeStatement({ kind: 'approval', proposal: facts })), {
        kind: 'approval',
        proposal: facts,
      });
    }),
    { numRuns: 100 },
  );
  for (const withdraws of ['approval', 'rejection'] as const) {
    const statement: Statement = { kind: 'withdrawal', reply: replyTo(proposal, 'ACME' as OrgName), withdraws };
    t.deepEqual(parseStatement(encodeStatement(statement)), statement);
  }
  const rejection: Statement = {
    kind: 'rejection',
    reply: replyTo(proposal, 'ACME' as OrgName, { reason: '„nein“\n' }),
  };
  t.deepEqual(parseStatement(encodeStatement(rejection)), rejection);
});

test('statement: the bytes are the ones in the documentation of the format', t => {
  const id = 'ab'.repeat(32);
  const small = proposalOf([], {
    approvers: [{ org: 'ACME' as OrgName, trustDomain: 'acme.fed.example', required: 1, keyIds: [id] }],
  });
  t.is(
    encodeStatement({ kind: 'approval', proposal: small }).toString(),
    `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"scanner.tar","digest":{"sha256":"${small.artifact.sha256}"}}],` +
      '"predicateType":"https://fedgate.dev/approval/v1","predicate":{"proposal":"00112233445566778899aabbccddeeff","federation":"fed.example",' +
      '"project":"scanner","version":"1.4.0","sequence":7,"artifact":{"kind":"file","size":21},"proposer":"ACME","approvers":[{"org":"ACME",' +
      `"trustDomain":"acme.fed.example","required":1,"keys":["${id}"]}],"threshold":1,"createdAt":"2026-06-01T12:00:00.000Z",` +
      '"notBefore":"2026-06-01T12:00:00.000Z","notAfter":"2026-06-15T12:00:00.000Z","note":"","links":[]}}',
  );
  const reply = replyTo(small, 'ACME' as OrgName);
  t.is(
    encodeStatement({ kind: 'withdrawal', reply, withdraws: 'approval' }).toString(),
    `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"scanner.tar","digest":{"sha256":"${small.artifact.sha256}"}}],` +
      '"predicateType":"https://fedgate.dev/approval-withdrawal/v1","predicate":{"proposal":"00112233445566778899aabbccddeeff",' +
      `"federation":"fed.example","org":"ACME","statement":{"sha256":"${reply.statementSha256}"},"withdraws":"approval",` +
      '"reason":"not today","time":"2026-06-01T12:00:01.000Z"}}',
  );
});

test('statement: no byte of it can be changed, added or left out without another meaning or a refusal', t => {
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
      const other = Buffer.from(bytes);
      other[at] = value;
      if (other.equals(bytes)) return;
      const read = refusal(() => t.notDeepEqual(parseStatement(other), approval));
      t.true(read === undefined || read.startsWith('STATEMENT_INVALID'), read);
    }),
    { numRuns: 2_000 },
  );
  for (let length = 0; length < bytes.length; length++) {
    t.regex(refusal(() => parseStatement(bytes.subarray(0, length))) ?? '', /^STATEMENT_INVALID/);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), junk => {
      t.regex(refusal(() => parseStatement(junk)) ?? '', /^STATEMENT_INVALID/);
    }),
  );
});

test('attack 9: a threshold that is no whole number from 1 to the number of organisations is refused before anything is counted', t => {
  for (const threshold of [
    '0',
    '-1',
    '4',
    '1.5',
    '"2"',
    'true',
    'null',
    '[2]',
    '2.0',
    '2e0',
    '02',
    '9007199254740992',
    '1e400',
  ]) {
    const said = refusal(() => parseStatement(edited('"threshold":2', `"threshold":${threshold}`)));
    t.regex(said ?? 'accepted', /^STATEMENT_INVALID/, threshold);
  }
  for (const threshold of [0, -1, 4, 1.5, Number.NaN, Infinity, 2 ** 53, '2' as never, true as never]) {
    const said = refusal(() => encodeStatement({ kind: 'approval', proposal: { ...proposal, threshold } }));
    t.regex(said ?? 'accepted', /threshold is not a whole number from 1 to 3/, String(threshold));
  }
});

test('attack 9: no organisation, too many, one twice, or one with a name that only looks right is refused', t => {
  const said = (facts: Partial<ProposalFacts>) =>
    refusal(() => encodeStatement({ kind: 'approval', proposal: { ...proposal, ...facts } })) ?? '';
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      org: `A${String(i).padStart(5, '0')}` as OrgName,
      trustDomain: `a${String(i).padStart(5, '0')}.fed.example`,
      required: 1,
      keyIds: [sha256(String(i))],
    }));
  t.is(said({ approvers: many(64) }), '');
  for (const count of [0, 65, 10_000]) t.regex(said({ approvers: many(count) }), /approvers are not 1 to 64/);
  t.regex(
    refusal(() => parseStatement(edited(/"approvers":\[.*?\],"threshold"/, '"approvers":[],"threshold"'))) ?? '',
    /approvers are not 1 to 64/,
  );

  const [acme, ...others] = proposal.approvers;
  if (!acme) return t.fail();
  const second = { ...acme, keyIds: [sha256('another key')] };
  t.regex(said({ approvers: [acme, second, ...others] }), /names ACME twice/);
  t.regex(said({ approvers: [...others, acme] }), /not in the order/);
  // Lower case, Greek capital alpha, Cyrillic Es, full width, a letter with a mark apart, a zero-width space, a space.
  for (const name of [
    'acme',
    'ΑCME',
    'AСME',
    'ＡCME',
    'ACME\u0301',
    'ACME\u200b',
    'ACME ',
    'ACMé',
    'REGISTRY',
    '',
    'A',
  ]) {
    t.regex(said({ approvers: [{ ...acme, org: name as OrgName }, ...others] }), /^STATEMENT_INVALID/, name);
    t.regex(said({ proposer: name as OrgName }), /^STATEMENT_INVALID/, name);
  }
  t.regex(
    said({ approvers: [{ ...acme, trustDomain: 'acme.fed.example.evil' }, ...others] }),
    /trustDomain is not the one of ACME/,
  );
});

test('attack 9: an organisation demands a whole number of its approvers, of those that it has', t => {
  const [acme, globex, ...others] = proposal.approvers;
  if (!acme || !globex) return t.fail();
  const said = (required: number) =>
    refusal(() =>
      encodeStatement({
        kind: 'approval',
        proposal: { ...proposal, approvers: [acme, { ...globex, required }, ...others] },
      }),
    );
  t.is(said(2), undefined);
  for (const required of [0, 3, -1, 1.5, true as never, '1' as never])
    t.regex(said(required) ?? '', /required is not a whole number from 1 to 2/);
});

test('attack 2: one key under two organisations, or twice, is refused by whoever reads the statement', t => {
  const [acme, globex, ...others] = proposal.approvers;
  if (!acme || !globex) return t.fail();
  const said = (keyIds: readonly string[]) =>
    refusal(() =>
      encodeStatement({
        kind: 'approval',
        proposal: { ...proposal, approvers: [acme, { ...globex, keyIds }, ...others] },
      }),
    );
  const [first = '', second = ''] = globex.keyIds;
  t.regex(said([...acme.keyIds, ...globex.keyIds].sort()) ?? '', /has one key under ACME and GLOBEX/);
  t.regex(said([first, first]) ?? '', /has a key twice/);
  t.regex(said([second, first]) ?? '', /not sorted/);
  t.regex(said([]) ?? '', /not 1 to 16/);
  t.regex(said(Array.from({ length: 17 }, (_, i) => sha256(String(i))).sort()) ?? '', /not 1 to 16/);
  t.regex(said([first.toUpperCase()]) ?? '', /not SHA-256 in lower-case/);
});

test('attack 7: only SHA-256 of exactly one subject is a digest', t => {
  const { sha256: digest } = proposal.artifact;
  const whole = `"digest":{"sha256":"${digest}"}`;
  const lies: readonly [string, string][] = [
    ['md5 only', '"digest":{"md5":"d41d8cd98f00b204e9800998ecf8427e"}'],
    ['sha1 only', '"digest":{"sha1":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}'],
    ['gitCommit only', '"digest":{"gitCommit":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}'],
    ['an algorithm nobody knows', `"digest":{"blake3":"${digest}"}`],
    ['two algorithms', `"digest":{"sha256":"${digest}","sha512":"${digest}${digest}"}`],
    ['two algorithms, the other first', `"digest":{"md5":"d41d8cd98f00b204e9800998ecf8427e","sha256":"${digest}"}`],
    ['upper case', `"digest":{"sha256":"${digest.toUpperCase()}"}`],
    ['too short', `"digest":{"sha256":"${digest.slice(2)}"}`],
    ['too long', `"digest":{"sha256":"${digest}00"}`],
    ['none', '"digest":{}'],
    ['no text', '"digest":{"sha256":7}'],
    ['a list', `"digest":["${digest}"]`],
  ];
  for (const [what, lie] of lies)
    t.regex(refusal(() => parseStatement(edited(whole, lie))) ?? 'accepted', /^STATEMENT_INVALID/, what);
  const subject = `{"name":"scanner.tar",${whole}}`;
  for (const list of ['[]', `[${subject},${subject}]`, `[${subject},{"name":"b",${whole}}]`, '{}', 'null']) {
    t.regex(refusal(() => parseStatement(edited(`[${subject}]`, list))) ?? 'accepted', /^STATEMENT_INVALID/, list);
  }
});

test('attack 17: what two readers of JSON could read in two ways is refused', t => {
  const lies: readonly [string, Buffer][] = [
    ['a key twice, the second is another', edited('"threshold":2', '"threshold":2,"threshold":1')],
    ['a key twice, the first is another', edited('"threshold":2', '"threshold":1,"threshold":2')],
    ['a key twice, one escaped', edited('"threshold":2', '"threshold":2,"thresh\\u006fld":1')],
    ['an escape that is not needed', edited('"scanner.tar"', '"sc\\u0061nner.tar"')],
    ['__proto__', edited('"threshold":2', '"threshold":2,"__proto__":{"threshold":1}')],
    ['constructor', edited('"threshold":2', '"threshold":2,"constructor":{}')],
    ['an unknown field', edited('"threshold":2', '"threshold":2,"optional":true')],
    [
      'fields in another order',
      edited(
        '"threshold":2,"createdAt":"2026-06-01T12:00:00.000Z"',
        '"createdAt":"2026-06-01T12:00:00.000Z","threshold":2',
      ),
    ],
    ['a space', edited('"threshold":2', '"threshold": 2')],
    ['a line end after it', Buffer.concat([bytes, Buffer.from('\n')])],
    ['another value after it', Buffer.concat([bytes, Buffer.from('{}')])],
    ['a byte order mark', Buffer.concat([Buffer.from('\ufeff'), bytes])],
    ['UTF-16', Buffer.from(bytes.toString(), 'utf16le')],
    ['bytes that are no UTF-8', Buffer.concat([bytes.subarray(0, 80), Buffer.from([0xc0, 0xaf]), bytes.subarray(80)])],
    ['half of a character', edited('please', '\\ud800')],
    ['a number with a fraction', edited('"sequence":7', '"sequence":7.0')],
    ['a number with an exponent', edited('"sequence":7', '"sequence":7e0')],
    ['a number that a double cannot hold', edited('"sequence":7', '"sequence":9007199254740993')],
    ['minus zero', edited('"size":21', '"size":-0')],
    [
      'an id that is a number',
      edited('"proposal":"00112233445566778899aabbccddeeff"', '"proposal":112233445566778899'),
    ],
    ['deep nesting', Buffer.from('['.repeat(60_000))],
    ['deep nesting of objects', Buffer.from('{"a":'.repeat(12_000))],
    ['a day that there is not', edited('2026-06-15', '2026-06-31')],
    ['a time in another form', edited('2026-06-15T12:00:00.000Z', '2026-06-15T12:00:00Z')],
    ['a time in another zone', edited('2026-06-15T12:00:00.000Z', '2026-06-15T12:00:00.000+00:00')],
    ['nothing', Buffer.alloc(0)],
    ['null', Buffer.from('null')],
    ['a list', Buffer.from('[]')],
    ['a comment', edited('"threshold":2', '/* */"threshold":2')],
    ['a comma too many', edited('"links":', ',"links":')],
  ];
  for (const [what, lie] of lies) t.regex(refusal(() => parseStatement(lie)) ?? 'accepted', /^STATEMENT_INVALID/, what);
});

test('attack 17: a statement that is too long is not even looked at', t => {
  const long = Buffer.alloc(MAX_STATEMENT_BYTES + 1, '[');
  t.regex(refusal(() => parseStatement(long)) ?? '', /longer than 65536 bytes/);
  const gibibyte = { length: 2 ** 30 } as Uint8Array;
  t.regex(refusal(() => parseStatement(gibibyte)) ?? '', /longer than 65536 bytes/);
});

test('attack 6: a statement of another type is none', t => {
  const lies = [
    edited('https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'),
    edited('https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v1/'),
    edited('https://fedgate.dev/approval/v1', 'https://slsa.dev/provenance/v1'),
    edited('https://fedgate.dev/approval/v1', 'https://fedgate.dev/approval/v2'),
    edited('https://fedgate.dev/approval/v1', 'https://FEDGATE.dev/approval/v1'),
    // The body of an approval under the type of a rejection, and of a withdrawal.
    edited('https://fedgate.dev/approval/v1', 'https://fedgate.dev/approval-rejection/v1'),
    edited('https://fedgate.dev/approval/v1', 'https://fedgate.dev/approval-withdrawal/v1'),
  ];
  for (const lie of lies) t.regex(refusal(() => parseStatement(lie)) ?? 'accepted', /^STATEMENT_INVALID/);
  const withdrawal = encodeStatement({
    kind: 'withdrawal',
    reply: replyTo(proposal, 'ACME' as OrgName),
    withdraws: 'approval',
  });
  const of = (to: string) => Buffer.from(withdrawal.toString().replace('"withdraws":"approval"', to));
  for (const to of ['"withdraws":"withdrawal"', '"withdraws":true', '"withdrawn":"approval"']) {
    t.regex(refusal(() => parseStatement(of(to))) ?? 'accepted', /^STATEMENT_INVALID/, to);
  }
});

test('statement: each fact keeps to its limits', t => {
  const said = (facts: Partial<ProposalFacts>) =>
    refusal(() => encodeStatement({ kind: 'approval', proposal: { ...proposal, ...facts } })) ?? 'accepted';
  const artifact = (facts: Partial<ProposalFacts['artifact']>) =>
    said({ artifact: { ...proposal.artifact, ...facts } });
  for (const id of ['', '00', 'g'.repeat(32), 'AA'.repeat(16), 'aa'.repeat(17)])
    t.regex(said({ id }), /proposal is not/);
  for (const project of ['', 'a b', 'ä', 'a/b', 'x'.repeat(65), 'a+b', 'a\n'])
    t.regex(said({ project }), /project is not/);
  for (const version of ['', 'a b', '1:2', 'x'.repeat(65)]) t.regex(said({ version }), /version is not/);
  for (const sequence of [0, -1, 0.5, 2 ** 53]) t.regex(said({ sequence }), /sequence is not/);
  for (const federation of ['', 'Fed.example', 'fed..example', 'fed.example.'])
    t.regex(said({ federation }), /federation/);
  for (const name of ['', '.', '..', 'a/b', 'a\\b', 'a\0', 'a\nb', 'a\tb', 'a\u202eb', 'ä'.repeat(128), '\ud800']) {
    t.regex(artifact({ name }), /subject.name is/, name);
  }
  for (const size of [-1, 0.5, 2 ** 53]) t.regex(artifact({ size }), /artifact.size is not/);
  t.regex(artifact({ kind: 'package', size: 16 * 1024 * 1024 + 1 }), /artifact.size is not/);
  t.regex(artifact({ kind: 'folder' as never }), /artifact.kind is/);
  t.regex(said({ note: 'ä'.repeat(2_049) }), /note is longer than 4096 bytes/);
  t.regex(said({ note: 'a\udc00' }), /note is not text/);
  t.regex(said({ links: Array(17).fill('https://a') }), /links are more than 16/);
  t.regex(said({ links: [`https://${'a'.repeat(1_020)}`] }), /links is longer than 1024 bytes/);
  for (const link of [
    '',
    'ftp://a',
    'javascript:alert(1)',
    'https://',
    'https:// a',
    'https://a b',
    'https://ä',
    'HTTPS://a',
    ' https://a',
    'https://a\n',
  ]) {
    t.regex(said({ links: [link] }), /links holds/, link);
  }
  t.regex(said({ notAfterMs: proposal.notBeforeMs }), /notAfter is not after notBefore/);
  t.regex(said({ createdMs: proposal.notAfterMs }), /notAfter is not after createdAt/);
  t.regex(said({ notAfterMs: START_MS + 366 * DAY_MS + 1 }), /more than 366 days/);
  for (const createdMs of [-1, 0.5, Number.NaN, 8.64e15]) t.regex(said({ createdMs }), /createdAt is not/);
  const reason = 'x'.repeat(1_025);
  t.regex(
    refusal(() => encodeStatement({ kind: 'rejection', reply: replyTo(proposal, 'ACME' as OrgName, { reason }) })) ??
      '',
    /reason is longer/,
  );
});

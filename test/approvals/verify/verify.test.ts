import { renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { mkdir, rename, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { makeBundles } from '../../../src/approvals/bundle.js';
import { encodeChecksumList } from '../../../src/approvals/checksum-list.js';
import { envelopeToJson, parseEnvelope } from '../../../src/approvals/statement/envelope.js';
import { pae } from '../../../src/approvals/statement/pae.js';
import { encodeStatement } from '../../../src/approvals/statement/statement.js';
import { type EnvelopeSignature, PAYLOAD_TYPE, type ProposalFacts } from '../../../src/approvals/types.js';
import { measureFile } from '../../../src/approvals/verify/measure.js';
import { Memory } from '../../../src/approvals/verify/memory.js';
import { parsePolicy } from '../../../src/approvals/verify/policy.js';
import { demandApproved, type Verdict, verifyContent, verifyFile } from '../../../src/approvals/verify/verify.js';
import { FedgateError, type Reason } from '../../../src/errors.js';
import type { OrgName } from '../../../src/identity/names.js';
import {
  ARTIFACT,
  counted,
  DAY_MS,
  policyText,
  proposalOf,
  replyTo,
  START_MS,
  sha256,
  type TestKey,
  testKey,
} from '../../support/approvals.js';
import { temporaryFolder } from '../../support/registry.js';

const acme = testKey('ACME');
const globex = testKey('GLOBEX', 'ed25519');
const initech = testKey('INITECH');
const keys = [acme, globex, initech];
const proposal = proposalOf(keys, { threshold: 2 });
const NOW_MS = START_MS + DAY_MS;
const content = { size: ARTIFACT.length, sha256: sha256(ARTIFACT) };

interface Given {
  readonly proposal?: ProposalFacts;
  readonly signers?: readonly TestKey[];
  readonly bundles?: readonly string[];
  readonly policy?: string;
  readonly memory?: Memory;
  readonly nowMs?: number;
  readonly content?: { readonly size: number; readonly sha256: string };
  readonly expected?: { readonly project?: string; readonly version?: string; readonly proposalId?: string };
}

const bundleOf = (facts: ProposalFacts, signers: readonly TestKey[]): string =>
  makeBundles(counted(facts, signers)).dsse;

const judge = (given: Given = {}): Promise<Verdict> =>
  verifyContent(given.content ?? content, {
    bundles: (given.bundles ?? [bundleOf(given.proposal ?? proposal, given.signers ?? [acme, globex])]).map(
      (text, i) => ({
        name: `bundle ${i}`,
        content: text,
      }),
    ),
    policy: parsePolicy(given.policy ?? policyText(keys, 'threshold: 2'), 'policy.yaml'),
    memory: given.memory,
    nowMs: given.nowMs ?? NOW_MS,
    ...(given.expected ? { expected: given.expected } : {}),
  });

const approved = async (t: ExecutionContext, given: Given, what?: string): Promise<Verdict> => {
  const verdict = await judge(given);
  t.deepEqual(verdict.problems, [], what);
  t.true(verdict.approved, what);
  return verdict;
};

const refused = async (t: ExecutionContext, given: Given, problem: RegExp, what?: string): Promise<Verdict> => {
  const verdict = await judge(given);
  t.false(verdict.approved, what);
  t.regex(verdict.problems.join('\n'), problem, what);
  return verdict;
};

const thrown = async (
  t: ExecutionContext,
  given: Given,
  reason: Reason,
  message: RegExp,
  what?: string,
): Promise<void> => {
  const error = await t.throwsAsync(judge(given), { instanceOf: FedgateError, message }, what);
  t.is(error?.reason, reason, what);
};

/** The envelope with other signatures. */
const withSignatures = (signatures: readonly EnvelopeSignature[], facts = proposal): string =>
  envelopeToJson({
    payloadType: PAYLOAD_TYPE,
    payload: encodeStatement({ kind: 'approval', proposal: facts }),
    signatures,
  });

const messageOf = (facts: ProposalFacts): Buffer =>
  pae(PAYLOAD_TYPE, encodeStatement({ kind: 'approval', proposal: facts }));
const signedBy = (key: TestKey, keyId = key.key.id, facts = proposal): EnvelopeSignature => ({
  keyId,
  signature: key.sign(messageOf(facts)),
});

const ORDER = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');

/** The other ECDSA signature that holds wherever this one does: s becomes n − s. */
function flipped(signature: Buffer): Buffer {
  const rLength = signature[3] ?? 0;
  const r = signature.subarray(4, 4 + rLength);
  const s = signature.subarray(6 + rLength);
  const other = ORDER - BigInt(`0x${s.toString('hex')}`);
  const integer = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([2, bytes.length]), bytes]);
  let bytes = Buffer.from(other.toString(16).padStart(64, '0'), 'hex');
  while (bytes[0] === 0 && (bytes[1] ?? 0) < 128) bytes = bytes.subarray(1);
  if ((bytes[0] ?? 0) >= 128) bytes = Buffer.concat([Buffer.from([0]), bytes]);
  const body = Buffer.concat([integer(r), integer(bytes)]);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
}

test('verify: approved by two of three, in each of the three forms and in all of them at once', async t => {
  const { dsse, sigstore, jsonl } = makeBundles(counted(proposal, [acme, globex]));
  const each = sigstore.map(({ bundle }) => bundle);
  for (const bundles of [[dsse], each, [jsonl], [jsonl, ...each, dsse], [JSON.stringify(JSON.parse(dsse), null, 2)]]) {
    const verdict = await approved(t, { bundles });
    t.is(verdict.counted, 2);
    t.is(verdict.signatures.length, 2);
    t.deepEqual(
      verdict.orgs.map(({ org, counts, why }) => [org, counts, why]),
      [
        ['ACME', true, undefined],
        ['GLOBEX', true, undefined],
        ['INITECH', false, 'no signature of it counts'],
      ],
    );
  }
  t.notThrows(() => demandApproved({ problems: [], approved: true } as never, 'it'));
  const verdict = await refused(
    t,
    { signers: [acme] },
    /^1 of the 2 organisations that the policy demands have approved it$/,
  );
  t.throws(() => demandApproved(verdict, 'scanner.tar'), { message: /^scanner.tar is not approved: 1 of the 2/ });
});

test('verify: whatever byte of a bundle is changed, nothing else is approved by it', async t => {
  const { dsse, sigstore, jsonl } = makeBundles(counted(proposal, [acme, globex]));
  const digest = sha256(encodeStatement({ kind: 'approval', proposal }));
  const whole = [dsse, jsonl, sigstore.map(({ bundle }) => bundle).join('')].map(text => Buffer.from(text));
  const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(), fc.integer({ min: 1, max: 255 }));
  await fc.assert(
    fc.asyncProperty(change, async ([which, at, difference]) => {
      const bytes = Buffer.from(whole[which] ?? []);
      bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ difference;
      try {
        const verdict = await judge({ bundles: [bytes.toString('latin1')] });
        t.true(!verdict.approved || verdict.statementSha256 === digest);
      } catch (error) {
        t.true(
          error instanceof FedgateError && ['BUNDLE_INVALID', 'STATEMENT_INVALID'].includes(error.reason),
          String(error),
        );
      }
    }),
    { numRuns: 500 },
  );
});

test('attack 1: an organisation counts once, whatever it signs with and how often', async t => {
  const second = testKey('ACME');
  const facts = proposalOf([...keys, second], { threshold: 2 });
  const policy = policyText([...keys, second], 'threshold: 2');
  const one = signedBy(acme, acme.key.id, facts);
  const cases: readonly [string, readonly EnvelopeSignature[], RegExp][] = [
    ['signed again', [one, signedBy(acme, acme.key.id, facts)], /already counted: the same key/],
    ['signed again under another key id', [one, signedBy(acme, globex.key.id, facts)], /already counted: the same key/],
    ['the flipped signature', [one, { keyId: '', signature: flipped(one.signature) }], /already counted: the same key/],
    ['another key of it', [one, signedBy(second, second.key.id, facts)], /^$/],
  ];
  for (const [what, signatures, why] of cases) {
    const verdict = await refused(
      t,
      { bundles: [withSignatures(signatures, facts)], policy },
      /1 of the 2 organisations/,
      what,
    );
    t.is(verdict.counted, 1, what);
    t.is(verdict.signatures.length, 2, what);
    t.regex(verdict.signatures[1]?.why ?? '', why, what);
  }
  const repeated = await refused(t, { bundles: [withSignatures([one, one, one], facts)], policy }, /1 of the 2/);
  t.is(repeated.signatures.length, 1);
  t.is(repeated.signatures[0]?.sources.length, 3);
  // Two keys that the policy has under one name are one approver.
  const demanding = policyText([...keys, second], 'threshold: 1', key =>
    (key.org as string) === 'ACME' ? ', name: alice' : '',
  );
  const verdict = await approved(t, {
    proposal: { ...facts, threshold: 1 },
    signers: [acme, second],
    policy: demanding,
  });
  t.deepEqual(verdict.signatures.map(({ counts }) => counts).sort(), [false, true]);
});

test('attack 2: a key that the policy has under one organisation and the proposal under another counts for neither', async t => {
  const stranger: TestKey = { ...globex, org: 'INITECH' as OrgName };
  const verdict = await refused(
    t,
    { proposal: proposalOf([acme, stranger], { threshold: 2 }), signers: [acme, stranger] },
    /1 of the 2 organisations/,
  );
  t.deepEqual(
    verdict.signatures.map(({ why }) => why).filter(why => why !== undefined),
    ['the proposal has this key under INITECH, the policy under GLOBEX'],
  );
});

test('attack 4: a key id that lies or is not there changes nothing', async t => {
  for (const [a, b] of [
    ['', ''],
    [globex.key.id, acme.key.id],
    [acme.key.id, acme.key.id],
    ['ACME', 'x'.repeat(1_000)],
    [acme.key.id.toUpperCase(), '__proto__'],
  ] as const) {
    const verdict = await approved(t, { bundles: [withSignatures([signedBy(acme, a), signedBy(globex, b)])] });
    t.deepEqual(
      verdict.signatures.map(({ keyId }) => keyId),
      [acme.key.id, globex.key.id],
    );
  }
  // The key id of somebody who is trusted does not make a signature his.
  const forged = await refused(
    t,
    {
      bundles: [
        withSignatures([
          signedBy(acme),
          { keyId: globex.key.id, signature: testKey('GLOBEX').sign(messageOf(proposal)) },
        ]),
      ],
    },
    /1 of the 2/,
  );
  t.regex(forged.signatures[1]?.why ?? '', /it is not what its key signs/);
});

test('attack 5: an approval is one of this artifact, project, version and proposal, and of no other', async t => {
  const other = Buffer.from('another file');
  await refused(
    t,
    { content: { size: other.length, sha256: sha256(other) } },
    /it has 12 bytes; approved is something of 21 bytes/,
  );
  await refused(t, { content: { ...content, sha256: sha256(other) } }, /its SHA-256 is/);
  await refused(t, { expected: { project: 'ACME/other' } }, /approved is the project ACME\/scanner, not "ACME\/other"/);
  await refused(t, { expected: { version: '1.5.0' } }, /approved is version 1.4.0, not "1.5.0"/);
  await refused(t, { expected: { proposalId: '00'.repeat(16) } }, /approved is the proposal/);
  await refused(
    t,
    { policy: policyText(keys, 'threshold: 2\nprojects: [GLOBEX/scanner]') },
    /the policy is not for the project ACME\/scanner/,
  );
  await refused(
    t,
    { policy: policyText(keys, 'threshold: 2\nfederation: other.example') },
    /something of the federation fed.example/,
  );
  await approved(t, {
    expected: { project: 'ACME/scanner', version: '1.4.0', proposalId: proposal.id },
    policy: policyText(keys, 'threshold: 2\nfederation: fed.example\nprojects: [ACME/scanner]'),
  });
  // Each fact is part of what is signed: an old signature under a changed statement is none.
  const { signatures } = parseEnvelope(bundleOf(proposal, [acme, globex]));
  const changes: readonly Partial<ProposalFacts>[] = [
    { id: 'ff'.repeat(16) },
    { project: 'other' },
    { version: '1.5.0' },
    { sequence: 8 },
    { artifact: { ...proposal.artifact, name: 'other' } },
    { artifact: { ...proposal.artifact, kind: 'package' } },
    { threshold: 1 },
    { proposer: 'GLOBEX' as OrgName },
    { notAfterMs: proposal.notAfterMs + DAY_MS },
    { note: 'urgent' },
  ];
  for (const change of changes) {
    const verdict = await refused(
      t,
      { bundles: [withSignatures(signatures, { ...proposal, ...change })] },
      /0 of the 2/,
      JSON.stringify(change),
    );
    t.true(verdict.signatures.every(({ why }) => why?.startsWith('it is not what its key signs')));
  }
});

test('attack 6: a payload of another type, or a signature made for something else, is no approval', async t => {
  const payload = encodeStatement({ kind: 'approval', proposal });
  for (const payloadType of ['application/vnd.in-toto+xml', 'application/json', 'application/vnd.in-toto+json ', '']) {
    const envelope = {
      payloadType,
      payload,
      signatures: [acme, globex].map(key => ({ keyId: '', signature: key.sign(pae(payloadType, payload)) })),
    };
    await thrown(t, { bundles: [envelopeToJson(envelope)] }, 'BUNDLE_INVALID', /payload is not of type/, payloadType);
  }
  // Signatures over the bare statement, over another purpose's bytes, and over the encoding of another type.
  const messages = [
    payload,
    Buffer.concat([Buffer.from('fedgate/approval-receipt/v1\n'), payload]),
    pae('application/json', payload),
  ];
  for (const message of messages) {
    await refused(
      t,
      { bundles: [withSignatures([acme, globex].map(key => ({ keyId: key.key.id, signature: key.sign(message) })))] },
      /0 of the 2/,
    );
  }
  // A rejection and a withdrawal are statements too, and no approvals.
  for (const statement of [
    { kind: 'rejection', reply: replyTo(proposal, acme.org) },
    { kind: 'withdrawal', reply: replyTo(proposal, acme.org), withdraws: 'approval' },
  ] as const) {
    const bytes = encodeStatement(statement);
    const envelope = {
      payloadType: PAYLOAD_TYPE,
      payload: bytes,
      signatures: [acme, globex].map(key => ({ keyId: '', signature: key.sign(pae(PAYLOAD_TYPE, bytes)) })),
    };
    await thrown(
      t,
      { bundles: [envelopeToJson(envelope)] },
      'BUNDLE_INVALID',
      new RegExp(`it holds a ${statement.kind}, not an approval`),
    );
  }
});

test('attack 7: a statement with another digest beside SHA-256, or more subjects, is refused though it is well signed', async t => {
  const text = encodeStatement({ kind: 'approval', proposal }).toString();
  const lies = [
    text.replace('"digest":{', '"digest":{"md5":"d41d8cd98f00b204e9800998ecf8427e",'),
    text.replace(/"digest":\{.*?\}/, '"digest":{"sha1":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}'),
    text.replace(content.sha256, content.sha256.toUpperCase()),
    text.replace('"subject":[', `"subject":[{"name":"x","digest":{"sha256":"${'0'.repeat(64)}"}},`),
    text.replace(/"subject":\[.*?\]/, '"subject":[]'),
  ];
  for (const lie of lies) {
    t.not(lie, text);
    const payload = Buffer.from(lie);
    const envelope = {
      payloadType: PAYLOAD_TYPE,
      payload,
      signatures: [acme, globex].map(key => ({ keyId: '', signature: key.sign(pae(PAYLOAD_TYPE, payload)) })),
    };
    await thrown(
      t,
      { bundles: [envelopeToJson(envelope)] },
      'STATEMENT_INVALID',
      /bundle 0: |the statement is not accepted/,
      lie.slice(0, 200),
    );
  }
});

test('attack 8: what a proposal demands is a claim: the policy decides how many, and who must be among them', async t => {
  const friends = [testKey('EVIL-ONE'), testKey('EVIL-TWO'), acme];
  const friendly = proposalOf(friends, { threshold: 1 });
  const verdict = await refused(
    t,
    { proposal: friendly, signers: friends },
    /1 of the 2 organisations that the policy demands/,
  );
  t.deepEqual(
    verdict.signatures.filter(({ counts }) => counts).map(({ org }) => org),
    ['ACME'],
  );
  t.deepEqual(verdict.orgs.find(({ org }) => org === 'EVIL-ONE')?.why, 'the policy does not name it');
  await refused(
    t,
    { proposal: { ...proposal, threshold: 1 }, signers: [acme] },
    /1 of the 2 organisations that the policy demands/,
  );
  await refused(
    t,
    { policy: policyText(keys, 'threshold: 2\nrequire: [INITECH]') },
    /the policy demands INITECH, which does not count/,
  );
  await approved(t, { policy: policyText(keys, 'threshold: 2\nrequire: [INITECH]'), signers: [globex, initech] });
  // And the other way round: the policy alone would be content with one.
  await refused(
    t,
    { policy: policyText(keys, 'threshold: 1'), signers: [acme] },
    /1 of the 2 organisations that the proposal demands/,
  );
  // Of an organisation, the proposal demands two of its approvers, or the policy does.
  const second = testKey('ACME');
  const all = [...keys, second];
  const two = proposalOf(all, { threshold: 2 });
  const strict = { ...two, approvers: two.approvers.map(each => ({ ...each, required: each.keyIds.length })) };
  const lax = policyText(all, 'threshold: 2');
  const demanding = lax.replace('org: ACME\n', 'org: ACME\n    required: 2\n');
  for (const given of [
    { proposal: strict, policy: lax },
    { proposal: two, policy: demanding },
  ]) {
    const one = await refused(t, { ...given, signers: [acme, globex] }, /1 of the 2/);
    t.is(one.orgs[0]?.why, '1 of 2 approvers that it needs');
    await approved(t, { ...given, signers: [acme, second, globex] });
  }
});

test('attack 10: offline, an approval whose time is over or has not begun is refused, with a minute of grace', async t => {
  const { notBeforeMs, notAfterMs } = proposal;
  await approved(t, { nowMs: notAfterMs + 60_000 });
  await refused(t, { nowMs: notAfterMs + 60_001 }, /its time was over at 2026-06-15T12:00:00.000Z/);
  await approved(t, { nowMs: notBeforeMs - 60_000 });
  const later = { ...proposal, notBeforeMs: notBeforeMs + DAY_MS };
  await refused(t, { proposal: later, nowMs: notBeforeMs }, /it is approved from 2026-06-02T12:00:00.000Z on/);
  const accepting = policyText(keys, 'threshold: 2\nexpired: accept');
  await approved(t, { nowMs: notAfterMs + 100 * DAY_MS, policy: accepting });
  const young = policyText(keys, 'threshold: 2\nexpired: accept\nmaxAge: 90d');
  await approved(t, { nowMs: START_MS + 90 * DAY_MS, policy: young });
  await refused(t, { nowMs: START_MS + 90 * DAY_MS + 1, policy: young }, /longer ago than the policy allows/);
});

test('attack 11: a compromised key counts for nothing offline; the key of somebody who left counts for what was proposed before', async t => {
  const revoked = (reason: string, at: number) =>
    policyText(keys, 'threshold: 2', key =>
      key === acme ? `, revoked: { reason: ${reason}, at: "${new Date(at).toISOString()}" }` : '',
    );
  for (const at of [START_MS - DAY_MS, START_MS + 300 * DAY_MS]) {
    const verdict = await refused(t, { policy: revoked('compromised', at) }, /1 of the 2/);
    t.is(verdict.signatures.find(({ org }) => org === 'ACME')?.why, 'the key is compromised');
  }
  await approved(t, { policy: revoked('departed', START_MS + 1) });
  const gone = await refused(t, { policy: revoked('departed', START_MS) }, /1 of the 2/);
  t.regex(gone.signatures.find(({ org }) => org === 'ACME')?.why ?? '', /had left/);
});

test('attack 12: an organisation or key that was removed from the policy after the release does not count any more', async t => {
  await approved(t, { policy: policyText(keys, 'version: 1\nthreshold: 2') });
  const verdict = await refused(t, { policy: policyText([acme, initech], 'version: 2\nthreshold: 2') }, /1 of the 2/);
  t.is(verdict.orgs.find(({ org }) => org === 'GLOBEX')?.why, 'the policy does not name it');
  await refused(
    t,
    { policy: policyText([acme, testKey('GLOBEX'), initech], 'version: 2\nthreshold: 2') },
    /1 of the 2/,
  );
});

test('attack 13: an organisation that the policy has and the proposal has not cannot approve', async t => {
  const late = testKey('LATE');
  const facts = proposalOf(keys, { threshold: 2 });
  const verdict = await refused(
    t,
    {
      bundles: [withSignatures([signedBy(acme), signedBy(late)], facts)],
      policy: policyText([...keys, late], 'threshold: 2'),
    },
    /1 of the 2/,
  );
  t.is(verdict.signatures[1]?.why, 'the proposal does not name this key of LATE');
  t.is(verdict.orgs.find(({ org }) => org === 'LATE')?.why, 'the proposal does not name it');
});

test('attack 14: an older policy, another one of the same version, an older release and one that expired are refused', async t => {
  const path = join(await temporaryFolder(t), 'state', 'verify.json');
  const memory = () => Memory.open(path);
  const policy = (version: number, more = '') => policyText(keys, `version: ${version}\nthreshold: 2${more}`);
  await approved(t, { memory: await memory(), policy: policy(2) });
  await thrown(
    t,
    { memory: await memory(), policy: policy(1) },
    'POLICY_INVALID',
    /has version 1, and version 2 was used before/,
  );
  await thrown(
    t,
    { memory: await memory(), policy: policy(2, '\nmaxAge: 90d') },
    'POLICY_INVALID',
    /says something else than before/,
  );
  await approved(t, { memory: await memory(), policy: policy(3) });
  await thrown(t, { memory: await memory(), policy: policy(2) }, 'POLICY_INVALID', /version 3 was used before/);
  await thrown(
    t,
    { policy: policy(3, '\nexpires: 2026-06-02') },
    'POLICY_INVALID',
    /expired at 2026-06-02T00:00:00.000Z/,
  );

  // Rollback: an older release of the project, well signed as it is.
  const older = { ...proposal, sequence: 6, id: '11'.repeat(16) };
  await refused(
    t,
    { memory: await memory(), policy: policy(3), proposal: older },
    /it is number 6 of ACME\/scanner; number 7 was verified before/,
  );
  await approved(t, { memory: await memory(), policy: policy(3), proposal: { ...older, project: 'other' } });
  await approved(t, { proposal: older });
  await refused(
    t,
    { policy: policy(3, '\nminSequence: { ACME/scanner: 8 }') },
    /it is number 7 of ACME\/scanner; the policy takes 8 and later ones/,
  );
  // What was not approved is not remembered: nobody can lock a consumer out with a high number.
  const high = { ...proposal, sequence: 1_000 };
  await refused(t, { memory: await memory(), policy: policy(3), proposal: high, signers: [acme] }, /1 of the 2/);
  await approved(t, { memory: await memory(), policy: policy(3) });
});

test('attack 18: an approval is known by what it says, however its envelope is written; sloppy base64 is refused', async t => {
  const { dsse } = makeBundles(counted(proposal, [acme, globex]));
  const envelope = JSON.parse(dsse);
  const urlSafe = (text: string): string => Buffer.from(text, 'base64').toString('base64url');
  const other = {
    signatures: envelope.signatures.map(({ keyid, sig }: Record<string, string>) => ({
      sig: urlSafe(sig ?? ''),
      keyid,
    })),
    payload: urlSafe(envelope.payload),
    more: [1, { a: null }],
    payloadType: envelope.payloadType,
  };
  const first = await approved(t, { bundles: [dsse] });
  const second = await approved(t, { bundles: [JSON.stringify(other, null, 4)] });
  t.is(first.statementSha256, second.statementSha256);
  t.is((await approved(t, { bundles: [dsse, JSON.stringify(other)] })).signatures.length, 2);
  const path = join(await temporaryFolder(t), 'verify.json');
  await approved(t, { memory: await Memory.open(path), bundles: [dsse] });
  await approved(t, { memory: await Memory.open(path), bundles: [JSON.stringify(other)] });
  const { payload } = envelope;
  for (const sloppy of [
    `${payload}\n`,
    ` ${payload}`,
    `${payload}=`,
    `${payload.slice(0, 8)}!${payload.slice(8)}`,
    payload.replace(/.{4}$/, ''),
  ]) {
    const lie = JSON.stringify({ ...envelope, payload: sloppy });
    const error = await t.throwsAsync(judge({ bundles: [lie] }), { instanceOf: FedgateError }, sloppy.slice(-9));
    t.true(error?.reason === 'BUNDLE_INVALID' || error?.reason === 'STATEMENT_INVALID', error?.reason);
  }
});

test('attack 19: two proposals under one number of a project are told', async t => {
  const path = join(await temporaryFolder(t), 'verify.json');
  await approved(t, { memory: await Memory.open(path) });
  await approved(t, { memory: await Memory.open(path) });
  await refused(
    t,
    { memory: await Memory.open(path), proposal: { ...proposal, note: 'another' } },
    /another proposal was verified before as number 7/,
  );
});

test('attack 23: junk signatures end at a limit, with a clear error', async t => {
  const junk = Array.from({ length: 1_000 }, (_, i) => ({
    keyId: '',
    signature: Buffer.from(sha256(String(i)), 'hex'),
  }));
  await thrown(
    t,
    { bundles: [withSignatures([signedBy(acme), ...junk])] },
    'BUNDLE_INVALID',
    /it has 1001 signatures; for the keys that the proposal names 6 are read/,
  );
  const lines = [signedBy(acme), ...junk].map(signature => withSignatures([signature])).join('\n');
  await thrown(t, { bundles: [lines] }, 'BUNDLE_INVALID', /it has 1001 signatures/);
  const few = await refused(t, { bundles: [withSignatures([signedBy(acme), ...junk.slice(0, 5)])] }, /1 of the 2/);
  t.is(few.signatures.filter(({ why }) => why === 'no key of the policy verifies it').length, 5);

  // As many as may be read, none of which anybody's key verifies: bounded work.
  const many = Array.from({ length: 120 }, (_, i) => testKey(`ORG-${Math.floor(i / 2)}`, 'ed25519'));
  const facts = proposalOf(many, { threshold: 2 });
  const start = process.hrtime.bigint();
  const verdict = await refused(
    t,
    { bundles: [withSignatures(junk.slice(0, 240), facts)], policy: policyText(many, 'threshold: 2') },
    /0 of the 2/,
  );
  t.true(verdict.signatures.some(({ why }) => why?.startsWith('not looked at')));
  t.true(Number(process.hrtime.bigint() - start) < 20e9);
});

test('attack 25: parts of different proposals are not one approval', async t => {
  const other = { ...proposal, id: 'ee'.repeat(16) };
  const mine = makeBundles(counted(proposal, [acme]));
  const theirs = makeBundles(counted(other, [globex]));
  await thrown(t, { bundles: [mine.dsse, theirs.dsse] }, 'BUNDLE_INVALID', /bundle 1: it is about something else/);
  await thrown(t, { bundles: [mine.jsonl + theirs.jsonl] }, 'BUNDLE_INVALID', /parts of different proposals/);
  await thrown(
    t,
    { bundles: [mine.dsse, theirs.sigstore[0]?.bundle ?? ''] },
    'BUNDLE_INVALID',
    /parts of different proposals/,
  );
  // A signature moved into the envelope of another statement.
  const [moved] = parseEnvelope(theirs.dsse).signatures;
  if (!moved) return t.fail();
  await refused(t, { bundles: [withSignatures([signedBy(acme), moved])] }, /1 of the 2/);
});

test('attack 25: a Sigstore bundle that is not exactly one is refused', async t => {
  const [bundle = { bundle: '' }] = makeBundles(counted(proposal, [acme])).sigstore;
  const whole = JSON.parse(bundle.bundle);
  const lies: readonly [object, RegExp][] = [
    [{ ...whole, mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1' }, /another version/],
    [{ ...whole, mediaType: undefined }, /another version/],
    [{ ...whole, verificationMaterial: {} }, /not signed with a key/],
    [{ ...whole, verificationMaterial: { certificate: { rawBytes: 'AA==' } } }, /not signed with a key/],
    [{ ...whole, dsseEnvelope: undefined, messageSignature: {} }, /no DSSE envelope/],
    [
      {
        ...whole,
        dsseEnvelope: {
          ...whole.dsseEnvelope,
          signatures: [1, 2].map(i => ({ ...whole.dsseEnvelope.signatures[0], keyid: String(i) })),
        },
      },
      /more than one signature/,
    ],
  ];
  for (const [lie, message] of lies) await thrown(t, { bundles: [JSON.stringify(lie)] }, 'BUNDLE_INVALID', message);
  await thrown(t, { bundles: [] }, 'BUNDLE_INVALID', /there is none/);
  await thrown(t, { bundles: [''] }, 'BUNDLE_INVALID', /bundle 0: /);
  // The hint stands in for a missing key id, and is believed as little.
  const hinted = { ...whole, verificationMaterial: { publicKey: { hint: globex.key.id } } };
  const verdict = await judge({ bundles: [JSON.stringify(hinted)] });
  t.is(verdict.counted, 1);
});

test('attack 26: nothing is judged by a clock that is behind what is known', async t => {
  await refused(
    t,
    { nowMs: 0 },
    /the clock says 1970-01-01T00:00:00.000Z, and it was 2026-06-01T12:00:00.000Z already: nothing can be judged/,
  );
  await refused(t, { nowMs: START_MS - 60_001 }, /nothing can be judged/);
  await refused(t, { nowMs: Date.UTC(2100, 0, 1) }, /its time was over/);
  const created = policyText(keys, 'threshold: 2\ncreated: 2026-06-10');
  await refused(t, { policy: created, nowMs: NOW_MS }, /and it was 2026-06-10T00:00:00.000Z already/);

  const path = join(await temporaryFolder(t), 'verify.json');
  await approved(t, { memory: await Memory.open(path), nowMs: START_MS + 5 * DAY_MS });
  await refused(t, { memory: await Memory.open(path), nowMs: START_MS + 4 * DAY_MS }, /nothing can be judged/);
  await approved(t, { memory: await Memory.open(path), nowMs: START_MS + 6 * DAY_MS });
  // One run with a clock far ahead does not spoil the memory for all that come after it.
  const accepting = policyText(keys, 'version: 2\nthreshold: 2\nexpired: accept');
  await approved(t, { memory: await Memory.open(path), policy: accepting, nowMs: Date.UTC(2100, 0, 1) });
  await approved(t, { memory: await Memory.open(path), policy: accepting, nowMs: START_MS + 7 * DAY_MS });
});

test('verify: a memory that cannot be read or written is an error, not a first time', async t => {
  const folder = await temporaryFolder(t);
  for (const text of ['', '{}', 'junk', '{"format":2,"policies":{}}', '{"format":1,"policies":{"a":{"version":0}}}']) {
    await writeFile(join(folder, 'bad.json'), text);
    const error = await t.throwsAsync(Memory.open(join(folder, 'bad.json')), { instanceOf: FedgateError });
    t.is(error?.reason, 'FILE_UNUSABLE', text);
  }
  await writeFile(join(folder, 'file'), '');
  await t.throwsAsync(Memory.open(join(folder, 'file', 'verify.json')), { instanceOf: FedgateError });
});

const options = () => ({
  bundles: [{ name: 'bundle', content: bundleOf(proposal, [acme, globex]) }],
  policy: parsePolicy(policyText(keys, 'threshold: 2'), 'policy.yaml'),
  memory: undefined,
  nowMs: NOW_MS,
});

test('attack 16: a file that is cut, longer, or packed in another way is not what was approved', async t => {
  const path = join(await temporaryFolder(t), 'scanner.tar');
  await writeFile(path, ARTIFACT);
  t.deepEqual((await verifyFile(path, options())).problems, []);
  await writeFile(path, Buffer.concat([ARTIFACT, Buffer.from('\n')]));
  t.regex((await verifyFile(path, options())).problems.join(), /it has 22 bytes; approved is something of 21 bytes/);
  await truncate(path, ARTIFACT.length - 1);
  t.regex((await verifyFile(path, options())).problems.join(), /it has 20 bytes/);
  await writeFile(path, Buffer.from(ARTIFACT.toString().replace('hello', 'HELLO')));
  t.regex((await verifyFile(path, options())).problems.join(), /its SHA-256 is/);
  await writeFile(path, '');
  t.regex((await verifyFile(path, options())).problems.join(), /it has 0 bytes/);
});

test('attack 15: what is no regular file is refused, and one that is changed or swapped while it is read too', async t => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'scanner.tar');
  await writeFile(path, ARTIFACT);
  await symlink(path, join(folder, 'link'));
  t.true((await verifyFile(join(folder, 'link'), options())).approved);
  for (const name of ['missing', '/dev/null']) {
    const error = await t.throwsAsync(verifyFile(name.startsWith('/') ? name : join(folder, name), options()), {
      instanceOf: FedgateError,
    });
    t.is(error?.reason, 'FILE_UNUSABLE', name);
  }
  await symlink(join(folder, 'nowhere'), join(folder, 'dangling'));
  await t.throwsAsync(verifyFile(join(folder, 'dangling'), options()), { instanceOf: FedgateError });

  const read = join(folder, 'read');
  for (const [what, meddle] of [
    ['swapped', () => renameSync(join(folder, 'other'), read)],
    ['written to', () => writeFileSync(read, 'x', { flag: 'r+' })],
    ['longer', () => writeFileSync(read, 'x', { flag: 'a' })],
    ['cut', () => truncateSync(read, 1_000)],
    ['removed', () => rmSync(read)],
  ] as const) {
    await writeFile(read, Buffer.alloc(3 * 1024 * 1024, what));
    await writeFile(join(folder, 'other'), 'other');
    let meddled = false;
    const onProgress = () => {
      if (!meddled) meddle();
      meddled = true;
    };
    const error = await t.throwsAsync(measureFile(read, undefined, { onProgress }), { instanceOf: FedgateError }, what);
    t.is(error?.reason, 'FILE_CHANGED', what);
  }
});

test('verify: the folder of a package is its list, no file more and none fewer', async t => {
  const folder = await temporaryFolder(t);
  const package_ = join(folder, 'app');
  await mkdir(join(package_, 'lib'), { recursive: true });
  await writeFile(join(package_, 'main.js'), 'main');
  await writeFile(join(package_, 'lib', 'util.js'), 'util');
  const list = encodeChecksumList([
    { path: 'main.js', sha256: sha256('main') },
    { path: 'lib/util.js', sha256: sha256('util') },
  ]);
  await writeFile(join(folder, 'app.sha256'), list);
  const facts = proposalOf(keys, {
    threshold: 2,
    artifact: { name: 'app.sha256', kind: 'package', size: list.length, sha256: sha256(list) },
  });
  const given = { ...options(), bundles: [{ name: 'bundle', content: bundleOf(facts, [acme, globex]) }] };
  const problems = async (more: object = {}): Promise<string> =>
    (await verifyFile(package_, { ...given, ...more })).problems.join('\n');

  t.is(await problems(), '');
  t.is(await problems({ list: join(folder, 'app.sha256') }), '');
  // The list alone is a file like any other.
  t.true((await verifyFile(join(folder, 'app.sha256'), given)).approved);
  t.regex((await verifyFile(package_, options())).problems.join(), /is a folder; approved is a file/);

  await writeFile(join(package_, 'more.js'), 'more');
  t.is(await problems(), '"more.js" is not on the list');
  await rename(join(package_, 'more.js'), join(package_, 'main.js'));
  t.is(await problems(), '"main.js" is another file than the one on the list');
  await rename(join(package_, 'main.js'), join(folder, 'main.js'));
  t.is(await problems(), '"main.js" is missing');
  await symlink(join(folder, 'main.js'), join(package_, 'main.js'));
  t.is(await problems(), '"main.js" is not a regular file');

  await writeFile(join(folder, 'app.sha256'), encodeChecksumList([{ path: 'main.js', sha256: sha256('more') }]));
  t.regex(await problems(), /the list .*app.sha256: it has \d+ bytes/);
  const error = await t.throwsAsync(problems({ list: join(folder, 'none') }), { instanceOf: FedgateError });
  t.is(error?.reason, 'FILE_UNUSABLE');
});

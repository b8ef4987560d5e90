import { envelopeObject, envelopeToJson } from './statement/envelope.js';
import { type CountedApproval, type Envelope, PAYLOAD_TYPE } from './types.js';

/**
 * An approval as files that verify offline, with fedgate and without it: the same signatures in three forms, because each of the verifiers that
 * are there reads another one.
 */
export interface Bundles {
  /** The name of the artifact: the files are called after it. */
  readonly artifactName: string;
  /** One DSSE envelope with all signatures, JSON. For in-toto and python's securesystemslib. */
  readonly dsse: string;
  /** A Sigstore bundle v0.3 for each signature. For cosign and sigstore. */
  readonly sigstore: readonly SigstoreBundle[];
  /** Envelopes with one signature each, one per line. For whatever reads attestations in a stream. */
  readonly jsonl: string;
}

export interface SigstoreBundle {
  readonly org: string;
  readonly keyId: string;
  /** JSON. */
  readonly bundle: string;
}

export const SIGSTORE_BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

/** Sorted by organisation and key; no key signs twice, which other readers refuse. */
export function makeBundles({ proposal, statement, signatures }: CountedApproval): Bundles {
  const byKey = new Map(signatures.map(each => [each.key.id, each]));
  const sorted = [...byKey.values()].sort((a, b) => compare(a.org, b.org) || compare(a.key.id, b.key.id));
  const envelopeOf = (signed: typeof sorted): Envelope => ({
    payloadType: PAYLOAD_TYPE,
    payload: statement,
    signatures: signed.map(({ key, signature }) => ({ keyId: key.id, signature })),
  });
  return {
    artifactName: proposal.artifact.name,
    dsse: `${envelopeToJson(envelopeOf(sorted))}\n`,
    sigstore: sorted.map(({ org, key, signature }) => ({
      org,
      keyId: key.id,
      bundle: sigstoreBundle(statement, key.id, signature),
    })),
    jsonl: sorted.map(each => `${envelopeToJson(envelopeOf([each]))}\n`).join(''),
  };
}

/**
 * No transparency log and no certificate: whoever verifies has the key, and the hint says which one. The key id stands in no other place: cosign
 * has another way to work one out, and leaves every signature alone whose id is not that.
 */
function sigstoreBundle(statement: Buffer, keyId: string, signature: Buffer): string {
  const envelope = { payloadType: PAYLOAD_TYPE, payload: statement, signatures: [{ keyId: '', signature }] };
  const bundle = {
    mediaType: SIGSTORE_BUNDLE_TYPE,
    verificationMaterial: { publicKey: { hint: keyId } },
    dsseEnvelope: envelopeObject(envelope),
  };
  return `${JSON.stringify(bundle)}\n`;
}

/** So that with what stands behind it a name has at most 255 bytes. */
const MAX_STEM_BYTES = 190;

/** The files of an approval, with their names: `<artifact>.approvals.dsse.json`, `<artifact>.<org>.sigstore.json` and `<artifact>.approvals.intoto.jsonl`. */
export function bundleFiles(bundles: Bundles): readonly { readonly name: string; readonly text: string }[] {
  const stem = cut(bundles.artifactName);
  const ofOrg = (org: string): number => bundles.sigstore.filter(each => each.org === org).length;
  return [
    { name: `${stem}.approvals.dsse.json`, text: bundles.dsse },
    ...bundles.sigstore.map(({ org, keyId, bundle }) => ({
      // An organisation that demands several of its approvers has a bundle for each.
      name: `${stem}.${org}${ofOrg(org) > 1 ? `.${keyId.slice(0, 8)}` : ''}.sigstore.json`,
      text: bundle,
    })),
    { name: `${stem}.approvals.intoto.jsonl`, text: bundles.jsonl },
  ];
}

/** Whole characters only. */
function cut(name: string): string {
  let stem = '';
  for (const character of name) {
    if (Buffer.byteLength(stem + character) > MAX_STEM_BYTES) return stem;
    stem += character;
  }
  return stem;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

import type { SignedSnapshot } from '../../../gen/ts/fedgate/registry/v1/record.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import type { CertificateVerifier, Identity } from '../../identity/verify.js';
import type { Federation } from './federation.js';

export const MAX_WATCHES_PER_ORG = 8;

/** The watches that are open. */
export class Watches {
  readonly #federation: Federation;
  readonly #perOrg = new Map<OrgName, number>();
  readonly #closed = new AbortController();

  constructor(federation: Federation) {
    this.#federation = federation;
  }

  /**
   * Sends the newest snapshot unless the caller has it, then each newer one; a slow reader gets only the newest. Ends when the signal
   * fires or the registry stops. Throws LIMIT_REACHED, and as soon as the caller is cut off ORG_INACTIVE or CERTIFICATE_REVOKED.
   */
  async run(
    caller: Identity,
    knownVersion: bigint,
    send: (snapshot: SignedSnapshot) => Promise<void>,
    signal: AbortSignal,
    verifier: CertificateVerifier,
  ): Promise<void> {
    const { org } = caller;
    this.#enter(org);
    let known = knownVersion;
    try {
      while (!signal.aborted && !this.#closed.signal.aborted) {
        this.#federation.requireActive(org);
        const complaint = verifier.complaint(caller);
        if (complaint) throw complaint;
        const { version, signed } = this.#federation.snapshot;
        if (version === known) {
          await this.#nextSnapshot(signal);
        } else {
          await send(signed);
          known = version;
        }
      }
    } finally {
      this.#leave(org);
    }
  }

  /** Ends all watches. */
  close(): void {
    this.#closed.abort();
  }

  #enter(org: OrgName): void {
    const open = this.#perOrg.get(org) ?? 0;
    if (open >= MAX_WATCHES_PER_ORG) {
      throw new FedgateError('LIMIT_REACHED', `${org} has ${open} watches open`, {
        metadata: { limit: 'watches', org },
      });
    }
    this.#perOrg.set(org, open + 1);
  }

  #leave(org: OrgName): void {
    const open = (this.#perOrg.get(org) ?? 1) - 1;
    if (open === 0) this.#perOrg.delete(org);
    else this.#perOrg.set(org, open);
  }

  /** Resolves at the next snapshot, or when the call or the registry ends. Leaves nothing behind. */
  #nextSnapshot(signal: AbortSignal): Promise<void> {
    const ends = [signal, this.#closed.signal];
    return new Promise(resolve => {
      const done = (): void => {
        stopListening();
        for (const end of ends) end.removeEventListener('abort', done);
        resolve();
      };
      const stopListening = this.#federation.onSnapshot(done);
      for (const end of ends) end.addEventListener('abort', done);
    });
  }
}

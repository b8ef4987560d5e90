/**
 * The one interface by which an operator's own module says who a program is.
 *
 *     // authenticator.mjs, named by `authentication.module` in gateway.yaml
 *     /** @type {import('fedgate/authenticator').Authenticator} *\/
 *     export default {
 *       async authenticate({ token }) {
 *         const session = await sessions.find(token);
 *         return session && { node: session.program, expiresAtMs: session.endsAtMs };
 *       },
 *     };
 *
 * The module runs inside the gateway, with all that the gateway may do. See docs/authentication.md.
 */

/** A call of a program whose identity is asked for. */
export interface AuthenticationCall {
  /** `/package.Service/Method`. */
  readonly method: string;
  /** `ip:port` of the caller's socket. */
  readonly remoteAddress: string;
  /** What stands behind `Bearer` in the header `authorization`, up to 8 KiB; undefined: the header is missing or of another kind. */
  readonly token: string | undefined;
  /** All headers of the call, names in lower case, up to 16 KiB together. */
  readonly headers: ReadonlyMap<string, string>;
  /** Fires when nobody waits for the answer any more: the deadline is over. */
  readonly signal: AbortSignal;
}

/** Who calls. */
export interface AuthenticatedNode {
  /** The name of the node, 1 to 63 of `a-z 0-9 -`, as in the grants of `access.nodes`. */
  readonly node: string;
  /** When that ends, milliseconds since 1970. Streams end then, with TOKEN_EXPIRED. Undefined: with the call. */
  readonly expiresAtMs?: number | undefined;
  /**
   * For how long the same header `authorization` may be answered with this from memory, milliseconds; at most 300000, and never beyond
   * `expiresAtMs`. 0: the module is asked for every call.
   * @default 0
   */
  readonly cacheMs?: number | undefined;
}

export interface Authenticator {
  /**
   * Says who calls, or undefined: the caller is refused with TOKEN_INVALID. So it is when this throws or rejects; the error is logged and not
   * told to the caller. An answer that takes longer than `authentication.moduleTimeoutMs` refuses the call with AUTHENTICATOR_UNAVAILABLE.
   */
  authenticate(call: AuthenticationCall): AuthenticatedNode | undefined | Promise<AuthenticatedNode | undefined>;
}

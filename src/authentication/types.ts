/** A program that was identified by something else than its certificate. */
export interface TokenNode {
  readonly node: string;
  /** When its credential ends, milliseconds since 1970; Infinity: it does not end by itself. */
  readonly endsMs: number;
  /** The key that vouches for it; undefined: the operator's module does. */
  readonly key: IssuerKey | undefined;
}

/** A key of an issuer. */
export interface IssuerKey {
  readonly issuer: string;
  /** RFC 7638 thumbprint. */
  readonly thumbprint: string;
}

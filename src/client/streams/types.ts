/** How a stream is opened. */
export interface OpenStreamOptions {
  /** Bytes of the other end that may wait here for whoever reads: the writer stops when so many do. From 1 to 16 MiB. @default 1 MiB */
  readonly window?: number | undefined;
  /** How long either end, or the way between them, may be away before the stream is over, milliseconds. At most 600000. @default 30000 */
  readonly resumeMs?: number | undefined;
  /** How long it may take until somebody has accepted, milliseconds. At most 60000. @default 15000 */
  readonly timeoutMs?: number | undefined;
  /** Breaks it off, also once it is open. */
  readonly signal?: AbortSignal | undefined;
}

/** How streams are accepted. */
export interface AcceptStreamsOptions {
  /** How many may be open at once. At most 1000. @default 16 */
  readonly capacity?: number | undefined;
  /** Whether the patterns are enabled from the start. @default true */
  readonly enabled?: boolean | undefined;
  /** As in OpenStreamOptions. */
  readonly window?: number | undefined;
  /** Ends the accepting, as `close` does. */
  readonly signal?: AbortSignal | undefined;
  /** Hears what a handler threw: the stream is broken off then. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

export const DEFAULT_WINDOW_BYTES = 1024 * 1024;
export const MAX_WINDOW_BYTES = 16 * 1024 * 1024;

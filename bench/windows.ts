/** Flow-control windows of the bare relay, bytes: those of a gateway's listeners. */
export const WINDOWS = { stream: 1024 * 1024, connection: 4 * 1024 * 1024 } as const;

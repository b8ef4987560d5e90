/** Flow-control windows of one side, bytes. */
export interface OpenWindows {
  readonly stream: number;
  readonly connection: number;
}

/** Those of the bare relay for messages: those of a gateway's listeners when they were chosen. */
export const WINDOWS: OpenWindows = { stream: 1024 * 1024, connection: 4 * 1024 * 1024 };

/** Those of the bare relay for files: those of a gateway's listener for peers, so that neither system waits for the other end more often. */
export const FILE_WINDOWS: OpenWindows = { stream: 16 * 1024 * 1024, connection: 32 * 1024 * 1024 };

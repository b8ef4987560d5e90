import type { Share } from '../../gen/ts/fedgate/files/v1/file_service.js';
import type { Groups } from '../files/audience.js';
import type { Contents } from '../files/content/types.js';
import type { Fetcher } from '../files/fetch/fetcher.js';
import type { Shares } from '../files/shares.js';
import type { Transfers } from '../files/transfers.js';
import type { ShareFacts } from '../files/types.js';
import type { OrgName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import type { Policy } from '../policy/types.js';
import type { ProgressRule } from './progress-guard.js';

/** What FileService is made of. */
export interface FileHost {
  readonly org: OrgName;
  readonly access: Access;
  readonly policy: Policy;
  readonly groups: Groups;
  readonly shares: Shares;
  readonly contents: Contents;
  readonly fetcher: Fetcher;
  readonly transfers: Transfers;
  readonly progress: ProgressRule;
  readonly now: () => number;
  /** Fires when the gateway is about to stop. */
  readonly draining: AbortSignal;
  /** What a node of the own organisation is told of a share. */
  readonly shareFor: (share: ShareFacts) => Share;
}

import { existsSync } from 'node:fs';
import { writeFileAtomically } from '../identity/files.js';
import { orgFolder } from '../identity/org-folder.js';

export interface ConfigTemplate {
  readonly gateway: string;
  readonly listenNodes: string;
  readonly listenPeers: string;
}

/** Writes the first configuration of a gateway into an organisation's folder, unless one is there. Returns its path. */
export async function writeConfigTemplate(folder: string, template: ConfigTemplate): Promise<string> {
  const path = orgFolder(folder).gatewayConfig;
  if (!existsSync(path)) await writeFileAtomically(path, configTemplate(template));
  return path;
}

export const configTemplate = ({
  gateway,
  listenNodes,
  listenPeers,
}: ConfigTemplate): string => `# A fedgate gateway. docs/configuration.md explains every key; what is not granted below is refused.
gateway: ${gateway}

listen:
  nodes: ${listenNodes}   # for programs of your own organisation
  peers: ${listenPeers}   # for gateways of other organisations

access:
  # Programs ("nodes") of your own organisation. "*" is every one of them.
  nodes:
    - node: "*"
      publish: ["**"]         # own channels; other organisations: ["pubsub://GLOBEX/orders/*"]
      subscribe: ["**"]
      request: ["**"]         # own channels it may ask; other organisations: ["pubsub://GLOBEX/quotes/*"]
      respond: ["**"]         # own channels it may answer on
      openStreams: ["**"]     # own channels it may open byte streams to; other organisations: ["pubsub://GLOBEX/db"]
      acceptStreams: ["**"]   # own channels it may accept them on
      share: []               # organisations it may share files with: ["GLOBEX"], or ["*"]
      fetch: ["*"]            # organisations whose files it may fetch
      status: true
      admin: true             # may see and change what is stored: \`fedgate outbox\`, \`dead\`, \`evidence\`, \`store stats\`
  # What other organisations may publish, ask and open here. They can never subscribe.
  peers: []
  #  - org: GLOBEX
  #    publish: ["orders/*"]
  #    request: ["quotes/*"]
  #    streams: ["db"]
  # Topics that are shared with other organisations, and whose records of them are taken.
  topics: []
  #  - { topic: "prices/**", publish: ["*"], subscribe: ["*"], authors: ["*"], peers: [GLOBEX] }
`;

import { join } from 'node:path';
import { orgFolder } from '../identity/org-folder.js';
import { gatewayDnsName } from '../identity/subject.js';
import type { ApprovedPackage } from './approval-story.js';
import { DEMO_FEDERATION, type DemoOrg, type DemoWorld } from './world.js';

/** A command to try in another terminal, and what it shows. */
export interface Exploration {
  readonly what: string;
  readonly command: string;
}

/** Commands that work as they are, from the folder of the checkout, while the demo runs. */
export function explorations(
  { acme, globex, initech, registryFolder, folder }: DemoWorld,
  { proposal, contents, policy }: ApprovedPackage,
): Exploration[] {
  const grpc = (org: DemoOrg): string => {
    const node = orgFolder(org.folder).node(org.node);
    return `--cacert ${join(node, 'ca.crt')} --cert ${join(node, 'tls.crt')} --key ${join(node, 'tls.key')}`;
  };
  const server = gatewayDnsName(DEMO_FEDERATION, globex.name, 'gw1');
  return [
    { what: 'hear what arrives at GLOBEX', command: `npx fedgate sub '**' --context ${globex.context}` },
    {
      what: 'the same, and miss nothing while you are away: try it twice',
      command: `npx fedgate sub 'ledger/*' --durable mine --from earliest --context ${globex.context}`,
    },
    { what: 'see what waits for whom, as ACME', command: `npx fedgate outbox list --context ${acme.context}` },
    {
      what: 'publish to GLOBEX as ACME',
      command: `npx fedgate pub pubsub://GLOBEX/orders/created hello --context ${acme.context}`,
    },
    {
      what: 'be refused, as INITECH',
      command: `npx fedgate pub pubsub://GLOBEX/orders/created hello --context ${initech.context}`,
    },
    {
      what: 'answer as GLOBEX what ACME asks',
      command: `sh -c 'npx fedgate respond "quotes/*" --exec "tr a-z A-Z" --count 1 --context ${globex.context} & until npx fedgate request pubsub://GLOBEX/quotes/steel "two tons" --context ${acme.context}; do sleep 1; done; wait'`,
    },
    {
      what: 'share a file as ACME, and fetch it as GLOBEX',
      command: `npx fedgate fetch "$(npx fedgate share README.md --to GLOBEX --context ${acme.context})" -o - --context ${globex.context}`,
    },
    {
      what: 'see who approved the code, as INITECH',
      command: `npx fedgate proposals show ${proposal} --context ${initech.context}`,
    },
    {
      what: 'fetch it only if it is approved, by a policy of your own',
      command: `npx fedgate fetch ${contents} -o ${join(folder, 'widget')} --require-approved --policy ${policy} --state ${join(folder, 'verified.json')} --context ${initech.context}`,
    },
    {
      what: 'propose something yourself, as ACME',
      command: `npx fedgate propose README.md --project readme --version 1 --orgs ACME,GLOBEX --threshold 2 --context ${acme.context}`,
    },
    {
      what: 'review it as GLOBEX',
      command: `npx fedgate review "$(npx fedgate proposals list --project readme --json --context ${globex.context} | grep -oE '[0-9a-f]{32}' | head -1)" -o ${join(folder, 'review')} --context ${globex.context}`,
    },
    {
      what: 'and approve it',
      command: `npx fedgate approve "$(npx fedgate proposals list --project readme --json --context ${globex.context} | grep -oE '[0-9a-f]{32}' | head -1)" --reviewed ${join(folder, 'review')} --key ${globex.approver.keyFile} --yes --context ${globex.context}`,
    },
    {
      what: "see GLOBEX's gateway, its links and subscriptions",
      command: `npx fedgate status --context ${globex.context}`,
    },
    { what: 'test the way from ACME to GLOBEX', command: `npx fedgate doctor GLOBEX --context ${acme.context}` },
    { what: 'list the members', command: `npx fedgate registry list --dir ${registryFolder}` },
    {
      what: 'call it without any of our code',
      command: `npx buf curl --protocol grpc ${grpc(globex)} --servername ${server} -d '{}' https://${globex.nodeAddress}/fedgate.gateway.v1.GatewayService/GetStatus`,
    },
    {
      what: 'the same with grpcurl',
      command: `grpcurl ${grpc(globex).replaceAll('--', '-')} -authority ${server} ${globex.nodeAddress} list`,
    },
    {
      what: "kill GLOBEX's gateway and watch it come back; no order is lost",
      command: `kill -9 ${globex.gateway.pid}`,
    },
    { what: 'read its log', command: `tail -f ${join(folder, 'logs', 'globex.log')}` },
  ];
}

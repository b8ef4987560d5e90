import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { fieldError } from '../errors.js';
import { checkStatic } from '../finding/static.js';
import { parseFederationDomain, parseHostPort, parseOrgName } from '../identity/names.js';
import { checked } from '../yaml-file.js';

const orgName = checked(text => parseOrgName(text, 'org'));
const ipv4 = checked(text => {
  if (text !== '' && !isIPv4(text)) throw fieldError('interface', 'expected an IPv4 address of this machine');
});
const server = checked(text => parseHostPort(text, 'server'));

/** Addresses of one organisation in the configuration. */
export const MAX_STATIC_ADDRESSES = 8;

/** The part of the configuration that says where other gateways are looked for. */
export const FINDING_SCHEMA = z
  .strictObject({
    static: z.record(orgName, z.array(checked(checkStatic)).min(1).max(MAX_STATIC_ADDRESSES)).default({}),
    dns: z
      .strictObject({
        enabled: z.boolean().default(false),
        domains: z
          .record(
            orgName,
            checked(text => parseFederationDomain(text, 'domain')),
          )
          .default({}),
        servers: z.array(server).max(8).default([]),
      })
      .prefault({}),
    mdns: z
      .strictObject({
        enabled: z.boolean().default(false),
        interface: ipv4.default(''),
        port: z.int().min(1).max(65_535).default(5353),
      })
      .prefault({}),
    acquaintance: z
      .strictObject({
        snapshots: z.boolean().default(true),
        addresses: z.boolean().default(false),
      })
      .prefault({}),
    localPlaces: z.boolean().default(false),
    lifetimeMs: z.int().min(0).max(86_400_000).default(60_000),
  })
  .prefault({});

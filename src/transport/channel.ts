import { type ChannelOptions, Client } from '@grpc/grpc-js';
import { KEEPALIVE } from './server.js';
import { type ClientTlsOptions, clientCredentials } from './tls.js';

export interface ChannelSettings extends ClientTlsOptions {
  /** `host:port`. */
  readonly address: string;
  /** The DNS name the certificate must carry, whatever the address. Undefined: the address's host. */
  readonly serverName?: string;
  /** Bytes that may be on the way on one call towards us. */
  readonly window: number;
  /** Largest message read, bytes. */
  readonly maxReceiveBytes: number;
  /** Longest wait between dials of the channel itself, milliseconds. */
  readonly maxBackoffMs?: number;
}

/** Opens an HTTP/2 connection of its own: no two channels share one, so no traffic waits behind another's. */
export function openChannel(settings: ChannelSettings): Client {
  const maxBackoff = settings.maxBackoffMs ?? 1_000;
  const options: ChannelOptions = {
    ...KEEPALIVE,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.enable_channelz': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_http_proxy': 0,
    'grpc.initial_reconnect_backoff_ms': Math.min(100, maxBackoff),
    'grpc.max_reconnect_backoff_ms': maxBackoff,
    'grpc.max_receive_message_length': settings.maxReceiveBytes,
    'grpc.max_send_message_length': -1,
    'grpc-node.flow_control_window': settings.window,
    ...(settings.serverName === undefined
      ? {}
      : { 'grpc.ssl_target_name_override': settings.serverName, 'grpc.default_authority': settings.serverName }),
  };
  return new Client(settings.address, clientCredentials(settings), options);
}

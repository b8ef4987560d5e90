import type { ServerHttp2Stream } from 'node:http2';

/**
 * Lets the other side of a call to a listener have no more than so many bytes on the way to us, from now on. For a call that has its
 * connection for itself. grpc-js keeps the HTTP/2 stream of a call private and has no option for this; the version is pinned and a test
 * measures the effect.
 */
export function narrowWindow(call: object, bytes: number): void {
  const { stream } = (call as { readonly call: { readonly stream: ServerHttp2Stream } }).call;
  const { session } = stream;
  if (session && !session.destroyed) session.settings({ initialWindowSize: bytes });
}

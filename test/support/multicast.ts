import { createSocket } from 'node:dgram';

const GROUP = '224.0.0.251';
const LOOPBACK = '127.0.0.1';

/** A UDP port that nobody uses at this moment. */
export async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>(resolve => socket.bind(0, LOOPBACK, resolve));
  const { port } = socket.address();
  await new Promise<void>(resolve => socket.close(() => resolve()));
  return port;
}

/** Why multicast does not work here. Undefined: it does. */
export async function whyNoMulticast(port: number): Promise<string | undefined> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  try {
    await new Promise<void>((resolve, reject) => socket.once('error', reject).bind(port, '0.0.0.0', resolve));
    socket.addMembership(GROUP, LOOPBACK);
    socket.setMulticastInterface(LOOPBACK);
    socket.setMulticastLoopback(true);
    const heard = new Promise<string | undefined>(resolve => {
      const timer = setTimeout(() => resolve('nothing that was sent came back'), 1_000);
      socket.once('message', () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    });
    await new Promise<void>((resolve, reject) =>
      socket.send('?', port, GROUP, error => (error ? reject(error) : resolve())),
    );
    return await heard;
  } catch (error) {
    return (error as Error).message;
  } finally {
    socket.close();
  }
}

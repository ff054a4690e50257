import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** A body has moved no byte at so many looks in a row. */
const LOOKS = 3;
const ANSWER = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

/** The last request with a body on a connection. */
interface Receiving {
  request: IncomingMessage;
  bytesRead: number;
  looks: number;
}

/**
 * Ends connections whose request bodies stand still for one and a half to two times as long as this. Node.js limits
 * only how long a whole request may take, which a large file may; a client that sends half of a small one and then
 * nothing would be waited for without end. Where this server has stopped to read, nobody stalls, and whoever reads
 * piece by piece looks after that alone.
 */
export function cutOffStalledBodies(app: FastifyInstance, idleMs: number): void {
  const receiving = new Map<Socket, Receiving>();
  app.server.on('connection', (socket: Socket) => socket.once('close', () => receiving.delete(socket)));
  app.server.on('request', (request: IncomingMessage) => {
    const { headers, socket } = request;
    const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
    if (hasBody) receiving.set(socket, { request, bytesRead: socket.bytesRead, looks: 0 });
  });
  const look = setInterval(() => {
    for (const [socket, seen] of receiving) {
      const { complete, readableFlowing } = seen.request;
      if (complete) receiving.delete(socket);
      else if (!readableFlowing || socket.bytesRead !== seen.bytesRead) {
        seen.bytesRead = socket.bytesRead;
        seen.looks = 0;
      } else if (++seen.looks === LOOKS) {
        receiving.delete(socket);
        socket.write(ANSWER);
        socket.destroySoon();
      }
    }
  }, idleMs / 2);
  app.addHook('onClose', async () => clearInterval(look));
}

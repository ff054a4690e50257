import { once } from 'node:events';
import { createConnection } from 'node:net';

/** One connection that is kept alive. It costs little, since it runs on the processors of the server under load. */
export interface Connection {
  /** Sends a request and waits for the whole answer. @throws Error where that is not 200 */
  send(method: 'GET' | 'POST', path: string, body?: string): Promise<void>;
  close(): void;
}

export async function openConnection(url: string): Promise<Connection> {
  const { host, hostname, port } = new URL(url);
  const socket = createConnection({ host: hostname, port: Number(port), noDelay: true }).setEncoding('latin1');
  await once(socket, 'connect');
  let waiting = Promise.withResolvers<void>();
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
    if (!isWhole(answer)) return;
    if (answer.startsWith('HTTP/1.1 200 ')) waiting.resolve();
    else waiting.reject(new Error(`the answer was ${answer}`));
    answer = '';
  });
  socket.once('close', () => waiting.reject(new Error('the connection was closed')));
  return {
    send(method, path, body = '') {
      waiting = Promise.withResolvers();
      const about = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}`;
      socket.write(`${method} ${path} HTTP/1.1\r\nhost: ${host}\r\n${body && about}${body && '\r\n'}\r\n${body}`);
      return waiting.promise;
    },
    close: () => {
      waiting.promise.catch(() => {});
      socket.destroy();
    },
  };
}

/** All that this server answers has a length. */
function isWhole(answer: string): boolean {
  const [, length] = /\r\ncontent-length: (\d+)/.exec(answer) ?? [];
  const head = answer.indexOf('\r\n\r\n');
  return length !== undefined && head >= 0 && answer.length >= head + 4 + Number(length);
}

import type { FastifyInstance } from 'fastify';
import { StartupError } from '#platform/errors.ts';

/**
 * Starts to accept connections.
 * @throws StartupError when the port cannot be had; the app is closed then
 */
export async function listen(app: FastifyInstance, { host, port }: { host: string; port: number }): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    await app.close();
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'EADDRINUSE') {
      throw new StartupError(
        `Port ${port} is taken. Stop what listens there, or choose another: PORT=${port + 1} npm start`,
      );
    }
    if (code === 'EACCES')
      throw new StartupError(`This user may not listen on port ${port}. Choose one above 1023 with PORT.`);
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      throw new StartupError(`HOST=${host} is no address of this machine.`);
    throw cause;
  }
}

import { Client, type ClientConfig } from 'pg';
import type { Logger } from '#platform/log.ts';

/** Notifications from PostgreSQL, over one connection that is opened again whenever it breaks. */
export interface Listener {
  /**
   * Calls `heard` for each NOTIFY on the channel, and once after every reconnection with the payload
   * undefined: what was sent in between is lost, so the listener must look for itself.
   */
  on(channel: string, heard: (payload: string | undefined) => void): void;
  /** Opens the connection; to be called after the channels are known. */
  start(): Promise<void>;
  close(): Promise<void>;
}

const RETRY_MS = 500;

/** Creates a listener for the login `connection`. */
export function createListener(connection: ClientConfig, log: Logger): Listener {
  const channels = new Map<string, ((payload: string | undefined) => void)[]>();
  let client: Client | undefined;
  let retry: NodeJS.Timeout | undefined;
  let closed = false;

  const announce = (channel: string, payload: string | undefined) => {
    for (const heard of channels.get(channel) ?? []) heard(payload);
  };

  const connect = async () => {
    const opened = new Client({ ...connection, keepAlive: true });
    opened.on('error', () => {});
    opened.on('end', reconnect);
    opened.on('notification', ({ channel, payload }) => announce(channel, payload));
    await opened.connect();
    for (const channel of channels.keys()) await opened.query(`listen ${opened.escapeIdentifier(channel)}`);
    client = opened;
  };

  const reconnect = () => {
    client = undefined;
    if (closed || retry) return;
    retry = setTimeout(() => {
      retry = undefined;
      connect().then(
        () => {
          for (const channel of channels.keys()) announce(channel, undefined);
        },
        (error: Error) => {
          log.warn({ reason: error.message }, 'listener.reconnect_failed');
          reconnect();
        },
      );
    }, RETRY_MS);
  };

  return {
    on(channel, heard) {
      channels.set(channel, [...(channels.get(channel) ?? []), heard]);
    },
    start: connect,
    async close() {
      closed = true;
      clearTimeout(retry);
      await client?.end();
    },
  };
}

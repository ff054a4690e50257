import { isIP } from 'node:net';
import { isPublicAddress, lookupPublic, PrivateAddressError } from './addresses.ts';

export type OutgoingFetch = typeof globalThis.fetch;

interface OutgoingOptions {
  /** For servers of the developer's own machine or network: true for all, or the hosts. */
  allowPrivate: boolean | readonly string[];
  timeoutMs: number;
  /** A longer answer fails: whoever was named must not fill our memory. */
  maxBytes: number;
}

/**
 * `fetch` for addresses that somebody else named. Every connection, also that of a redirect, goes to a public
 * address or fails with PrivateAddressError as its cause. `close` ends idle connections.
 */
export function createOutgoingFetch(options: OutgoingOptions): { fetch: OutgoingFetch; close: () => Promise<void> } {
  // Loaded with the first call, because most servers start without ever making one.
  let loading: ReturnType<typeof load> | undefined;
  return {
    async fetch(input, init) {
      loading ??= load(options);
      const { fetch, dispatcher } = await loading;
      const timeout = AbortSignal.timeout(options.timeoutMs);
      const signal = init?.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
      // The types of undici and of Node describe the same objects.
      const request = { ...init, signal, dispatcher } as Parameters<typeof fetch>[1];
      const response = (await fetch(input as Parameters<typeof fetch>[0], request)) as unknown as Response;
      if (!response.body) return response;
      return new Response(response.body.pipeThrough(upTo(options.maxBytes)), response);
    },
    async close() {
      if (loading) await (await loading).dispatcher.destroy();
    },
  };
}

async function load({ allowPrivate, timeoutMs }: OutgoingOptions) {
  const { Agent, buildConnector, fetch } = await import('undici');
  const connectAnywhere = buildConnector({ timeout: timeoutMs });
  const connectPublic = buildConnector({ timeout: timeoutMs, lookup: lookupPublic });
  const dispatcher = new Agent({
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connect(target, callback) {
      // A literal address is connected to without a lookup. URLs have it in normal form, whatever was written.
      const host = target.hostname.replace(/^\[|\]$/g, '');
      if (Array.isArray(allowPrivate) ? allowPrivate.includes(host) : allowPrivate) connectAnywhere(target, callback);
      else if (isIP(host) && !isPublicAddress(host)) callback(new PrivateAddressError(host, host), null);
      else connectPublic(target, callback);
    },
  });
  return { fetch, dispatcher };
}

/** Counts what is unpacked: a small answer can be a large one in disguise. */
function upTo(maxBytes: number): TransformStream<Uint8Array, Uint8Array> {
  let bytes = 0;
  return new TransformStream({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) controller.error(new Error(`the answer has more than ${maxBytes} bytes`));
      else controller.enqueue(chunk);
    },
  });
}

/** The refusal behind a failed `fetch`, if that is why it failed. */
export function privateAddressBehind(error: unknown): PrivateAddressError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof PrivateAddressError) return cause;
  }
  return undefined;
}

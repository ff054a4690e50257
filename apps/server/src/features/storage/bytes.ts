import { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { AppError } from '#platform/errors.ts';

/**
 * The bytes of a request, as long as they keep coming. Unlike the iterator of a stream this never destroys it, so
 * that whoever stops reading, for whatever reason, can still answer. A generator, and to wait for the event behind the
 * last byte, would each cost a small file as much as its hash.
 * @throws AppError STORAGE_INVALID_PARAMETER: 408 when nothing arrives for `idleMs`, else when the upload breaks off
 */
export function bytesOf(source: Readable, idleMs: number): AsyncIterableIterator<Uint8Array, undefined> {
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      for (;;) {
        const chunk: Uint8Array | null = source.read();
        if (chunk !== null) return { done: false, value: chunk };
        if (hasEnded(source)) return { done: true, value: undefined };
        if (source.errored || source.destroyed) throw brokenOff(source.errored);
        await movement(source, idleMs);
      }
    },
  };
}

/** A message is complete when its last byte has come, a while before its stream says that it has ended. */
const hasEnded = (source: Readable): boolean =>
  source.readableEnded || (source instanceof IncomingMessage && source.complete && source.readableLength === 0);

const EVENTS = ['readable', 'end', 'error', 'close'] as const;

/** Waits until there is something new to know about a stream. */
function movement(source: Readable, idleMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      for (const event of EVENTS) source.off(event, settle);
      resolve();
    };
    const timer = setTimeout(() => {
      for (const event of EVENTS) source.off(event, settle);
      reject(stalled(idleMs));
    }, idleMs);
    for (const event of EVENTS) source.on(event, settle);
  });
}

function brokenOff(cause: unknown): AppError {
  return new AppError('STORAGE_INVALID_PARAMETER', 'The upload broke off before it was complete', {
    cause,
    nextActions:
      'Send it again. Over a poor connection the tus protocol at /storage/v1/upload/resumable goes on where it was.',
  });
}

export function stalled(idleMs: number): AppError {
  return new AppError('STORAGE_INVALID_PARAMETER', `No byte of the upload arrived for ${idleMs / 1000} seconds`, {
    status: 408,
    nextActions:
      'Send it again. Over a poor connection the tus protocol at /storage/v1/upload/resumable goes on where it was.',
  });
}

/** All bytes of something small. */
export async function readAll(body: Buffer | Readable): Promise<Buffer> {
  if (Buffer.isBuffer(body)) return body;
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

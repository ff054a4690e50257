import type { Readable } from 'node:stream';
import { AppError } from '#platform/errors.ts';

/**
 * The bytes of a request, as long as they keep coming. Whoever stops reading early leaves the rest in the socket,
 * so that an answer can still be sent.
 * @throws AppError 408 when nothing arrives for `idleMs`, and STORAGE_INVALID_PARAMETER when the client goes away
 */
export async function* bytesOf(source: Readable, idleMs: number): AsyncGenerator<Uint8Array> {
  const stalled = () =>
    source.destroy(
      new AppError('STORAGE_INVALID_PARAMETER', `No byte of the upload arrived for ${idleMs / 1000} seconds`, {
        status: 408,
        nextActions: 'Send it again, or in pieces with the tus protocol at /storage/v1/upload/resumable.',
      }),
    );
  const timer = setTimeout(stalled, idleMs);
  try {
    for await (const chunk of source.iterator({ destroyOnReturn: false })) {
      timer.refresh();
      yield chunk;
    }
  } catch (error) {
    throw isAborted(error)
      ? new AppError('STORAGE_INVALID_PARAMETER', 'The upload ended before it was complete', { cause: error })
      : error;
  } finally {
    clearTimeout(timer);
  }
}

function isAborted(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ECONNRESET' ||
      error.code === 'ERR_STREAM_PREMATURE_CLOSE' ||
      error.code === 'FST_MP_PREMATURE_CLOSE')
  );
}

/** All bytes of something small. */
export async function readAll(body: Buffer | Readable): Promise<Buffer> {
  if (Buffer.isBuffer(body)) return body;
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

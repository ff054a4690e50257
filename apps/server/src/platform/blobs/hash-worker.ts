import { parentPort } from 'node:worker_threads';
import { createDigests, type Digests } from './digests.ts';

/** What a thread that hashes is told. It answers each with the digests, which only the last one asks for. */
export type HashRequest =
  | { upload: number; names: readonly string[] }
  | { upload: number; bytes: Uint8Array }
  | { upload: number; isOver: true };

const uploads = new Map<number, ReturnType<typeof createDigests>>();

parentPort?.on('message', (request: HashRequest) => parentPort?.postMessage(answer(request)));

function answer(request: HashRequest): Digests | undefined {
  const { upload } = request;
  if ('names' in request) uploads.set(upload, createDigests(request.names));
  else if ('bytes' in request) uploads.get(upload)?.update(request.bytes);
  else {
    const digests = uploads.get(upload)?.digests();
    uploads.delete(upload);
    return digests;
  }
  return undefined;
}

import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Digests } from './digests.ts';
import type { HashRequest } from './hash-worker.ts';

/** Hashes bytes piece by piece, on a thread of its own: MD5 takes as long as all else that is done to a byte. */
export interface Hashing {
  /** Resolves when the bytes, which must lie in shared memory, may be overwritten. */
  update(bytes: Uint8Array): Promise<void>;
  /** The digests in hex by name. To be called once, also by whoever has no use for them. */
  finish(): Promise<Digests>;
}

export interface Hashers {
  begin(names: readonly string[]): Hashing;
  close(): Promise<void>;
}

const MAX_THREADS = 4;

/** The threads are started when they are first needed. */
export function createHashers(): Hashers {
  const threads: Thread[] = [];
  let uploads = 0;
  const chooseThread = (): Thread => {
    const idlest = threads.toSorted((a, b) => a.uploads - b.uploads)[0];
    const mayGrow = threads.length < Math.max(1, Math.min(MAX_THREADS, availableParallelism() - 1));
    if (idlest && (idlest.uploads === 0 || !mayGrow)) return idlest;
    const thread = startThread(() => threads.splice(threads.indexOf(thread), 1));
    threads.push(thread);
    return thread;
  };
  return {
    begin(names) {
      const thread = chooseThread();
      const upload = uploads++;
      thread.uploads++;
      // Should it fail, so will what is asked next.
      thread.ask({ upload, names }).catch(() => {});
      return {
        update: async (bytes) => void (await thread.ask({ upload, bytes })),
        finish: async () => {
          thread.uploads--;
          return (await thread.ask({ upload, isOver: true })) ?? {};
        },
      };
    },
    async close() {
      await Promise.all(threads.map((thread) => thread.end()));
    },
  };
}

interface Thread {
  /** How many it is working for. */
  uploads: number;
  ask(request: HashRequest): Promise<Digests | undefined>;
  end(): Promise<unknown>;
}

function startThread(onExit: () => void): Thread {
  const worker = new Worker(new URL('./hash-worker.ts', import.meta.url), {
    // It keeps nothing.
    resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 },
  });
  worker.unref();
  /** Whoever waits for an answer. They come in the order of the questions. */
  const waiting: PromiseWithResolvers<Digests | undefined>[] = [];
  let reason: unknown;
  worker.on('message', (digests) => waiting.shift()?.resolve(digests));
  worker.on('error', (error) => {
    reason = error;
  });
  worker.on('exit', () => {
    reason ??= new Error('the thread that hashes has ended');
    for (const { reject } of waiting.splice(0)) reject(reason);
    onExit();
  });
  return {
    uploads: 0,
    ask(request) {
      if (reason) return Promise.reject(reason);
      const answer = Promise.withResolvers<Digests | undefined>();
      waiting.push(answer);
      worker.postMessage(request);
      return answer.promise;
    },
    end: () => worker.terminate(),
  };
}

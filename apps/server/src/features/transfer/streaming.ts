import { PassThrough, type Readable } from 'node:stream';

/**
 * Lets work write to a stream. Resolves when the first piece is there, so that an error before it can still
 * be an answer of its own; one after it breaks the stream off.
 */
export async function startStream(
  work: (write: (piece: string | Buffer) => Promise<void>) => Promise<void>,
): Promise<Readable> {
  const stream = new PassThrough({ highWaterMark: 256 * 1024 });
  // Whoever reads it listens for errors too; until then one must not end the process.
  stream.on('error', () => {});
  const write = async (piece: string | Buffer) => {
    if (stream.destroyed) throw new Error('nobody reads any more');
    if (!stream.write(piece)) {
      await new Promise<void>((resolve) => {
        const done = () => {
          stream.off('drain', done).off('close', done);
          resolve();
        };
        stream.on('drain', done).on('close', done);
      });
    }
  };
  await new Promise<void>((resolve, reject) => {
    stream.once('readable', resolve);
    work(write).then(
      () => {
        stream.end();
        resolve();
      },
      (error: Error) => {
        // Without a reader yet it is the answer; with one, all that is left is to break off.
        reject(error);
        stream.destroy(error);
      },
    );
  });
  return stream;
}
